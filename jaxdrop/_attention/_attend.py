"""Attention with dropout on its weights, and how it changes with its inputs.

Forward, a tile of weights becomes sums over its keys and is forgotten. What is kept for
differentiation is, of each query, the output, the sum of the weights and the largest
logit. From these follows the change of the output for a change of the inputs, again
tile by tile; its transpose is the backward pass. As the change is written in plain
operations, it can be differentiated again, in either direction, any number of times.

References:
  Rabe, Staats, `Self-attention does not need O(n²) memory
  <https://arxiv.org/abs/2112.05682>`_, 2021.
  Dao, Fu, Ermon, Rudra, Ré, `FlashAttention: fast and memory-efficient exact attention
  with IO-awareness <https://arxiv.org/abs/2205.14135>`_, NeurIPS 2022.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from jaxdrop._attention import _loops, _rows, _tiles
from jaxdrop._attention._call import Call, wide_dtype
from jaxdrop._attention._plan import Plan
from jaxdrop._attention._tiles import MASKED, Changes, Drop, Operands
from jaxdrop._typing import Array


def attend(plan: Plan, call: Call, operands: Operands) -> tuple[Array, Array, Array]:
    """Attends, each row on its own; gives what :data:`_call.OUTPUTS` names."""
    drop = _drop(call, operands)

    def row(operands: Operands) -> tuple[Array, Array, Array]:
        narrow = operands["query"].dtype
        operands = _scaled(_widened(operands))
        visit = partial(_tiles.sums, plan, drop)
        sums = _loops.over_keys(plan, visit, _tiles.merge, operands)
        if _may_lose_queries(plan, operands):
            lost = sums.top <= MASKED
            found = _over_unattended(plan, drop, lost, operands)
            sums = sums._replace(
                values=jnp.where(lost[..., None], found.values, sums.values),
                weights=jnp.where(lost, found.weights, sums.weights),
                top=jnp.where(lost, MASKED, sums.top),
            )
        output = sums.values / (sums.weights * _divisor(drop))[..., None]
        return output.astype(narrow), sums.weights, sums.top

    output, weights, top = _loops.over_rows(row, _in_rows(plan, operands))
    return (
        _rows.outputs(plan, output),
        _rows.sums(plan, weights),
        _rows.sums(plan, top),
    )


def change(plan: Plan, call: Call, operands: Operands) -> tuple[Array, Array]:
    """How the output and the sums of weights change with what has a change.

    Linear in the operands whose names begin with ``d_``.
    """
    drop = _drop(call, operands)
    narrow = operands["query"].dtype

    @partial(jax.checkpoint, prevent_cse=False)
    def row(operands: Operands) -> tuple[Array, Array]:
        output, weights = operands.pop("output"), operands.pop("weights")
        operands = _scaled(_widened(operands))
        visit = partial(_tiles.changes, plan, drop)
        changes = _loops.over_keys(plan, visit, _tiles.add, operands)
        if _may_lose_queries(plan, operands):
            lost = operands["top"] <= MASKED
            found = _over_unattended(plan, drop, lost, operands, "d_value")
            values = jnp.where(lost[..., None], found.values, changes.values)
            changes = changes._replace(values=values)
        values = changes.values / _divisor(drop)
        output = output.astype(weights.dtype)
        change = (values - output * changes.weights[..., None]) / weights[..., None]
        return change, changes.weights

    in_rows = _in_rows(plan, operands)
    for name in ("d_key", "d_value"):
        if name in in_rows:
            in_rows[name] = jnp.swapaxes(in_rows[name], -1, -2)
    of_output, of_weights = _loops.over_rows(row, in_rows)
    return (
        _rows.outputs(plan, of_output).astype(narrow),
        _rows.sums(plan, of_weights),
    )


def pull(
    plan: Plan, call: Call, operands: Operands, wanted: tuple[str, ...]
) -> tuple[Array, ...]:
    """Gradients of what is wanted, from ``d_output`` and ``d_weights``."""
    residual = dict(operands)
    cotangents = residual.pop("d_output"), residual.pop("d_weights")

    def linear(*changes: Array) -> tuple[Array, Array]:
        named = {f"d_{name}": x for name, x in zip(wanted, changes, strict=True)}
        return change(plan, call, residual | named)

    inputs = [jnp.zeros_like(residual[name]) for name in wanted]
    gradients: tuple[Array, ...]
    gradients = jax.linear_transpose(linear, *inputs)(cotangents)
    return gradients


def _drop(call: Call, operands: Operands) -> Drop:
    return Drop(operands["words"], operands["keep"], call.hash)


_TO_ROWS = {
    "query": _rows.query_rows,
    "output": _rows.query_rows,
    "key": _rows.key_rows,
    "value": _rows.key_rows,
    "bias": _rows.weight_rows,
    "mask": _rows.weight_rows,
    "weights": _rows.sum_rows,
    "top": _rows.sum_rows,
    "lengths": _rows.example_rows,
    "scale": _rows.number_rows,
}


def _in_rows(plan: Plan, operands: Operands) -> Operands:
    """Everything that rows differ in."""
    found = {"first_row": _rows.first_rows(plan)}
    for name, x in operands.items():
        if name == "lengths":
            x = jnp.maximum(x, 0).astype(jnp.uint32)
        if name not in ("words", "keep"):
            found[name] = _TO_ROWS[name.removeprefix("d_")](plan, x)
    return found


def _scaled(operands: Operands) -> Operands:
    """Scales the query; a change of the scale is one of the query."""
    query, scale = operands["query"], operands.pop("scale")
    operands["query"] = query * scale
    terms = []
    if "d_query" in operands:
        terms.append(operands["d_query"] * scale)
    if "d_scale" in operands:
        terms.append(query * operands.pop("d_scale"))
    if terms:
        operands["d_query"] = sum(terms[1:], terms[0])
    return operands


def _widened(operands: Operands) -> Operands:
    """A row in at least single precision, in which everything is computed."""
    wide = wide_dtype(operands["query"].dtype)
    return {
        name: x.astype(wide) if jnp.issubdtype(x.dtype, jnp.floating) else x
        for name, x in operands.items()
    }


def _divisor(drop: Drop) -> Array:
    return jnp.where(drop.keep == 0, 1, drop.keep)


def _may_lose_queries(plan: Plan, operands: Operands) -> bool:
    """Whether a query may find no key among those that the plan compares it with."""
    return plan.skips and bool({"mask", "lengths", "bias"} & operands.keys())


def _over_unattended(
    plan: Plan, drop: Drop, lost: Array, operands: Operands, value: str = "value"
) -> Changes:
    """Sums over all keys that a query may not attend to, if any query is lost.

    A query that finds nothing to attend to among the keys it is compared with attends
    to all others alike, to those that the plan skips as well.
    """
    visit = partial(_tiles.over_unattended, plan, drop, value)

    def find(operands: Operands) -> Changes:
        return _loops.over_keys(plan.dense(), visit, _tiles.add, operands)

    def find_nothing(operands: Operands) -> Changes:
        nothing = jnp.zeros_like(operands["query"])
        return Changes(nothing, nothing[..., 0])

    if value not in operands:
        return find_nothing(operands)
    return lax.cond(_any(lost), find, find_nothing, operands)


@custom_vmap
def _any(lost: Array) -> Array:
    """Whether any query is lost: under vmap, any at all.

    Under vmap a condition that differs from example to example computes both sides. One
    that holds for all does not, and the side taken is right for every query anyway.
    """
    return lost.any()


@_any.def_vmap
def _any_of_batch(size: int, batched: list[bool], lost: Array) -> tuple[Array, bool]:
    del size, batched
    return _any(lost), False
