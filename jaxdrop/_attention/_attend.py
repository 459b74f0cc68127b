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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero

from jaxdrop._attention import _loops, _rows, _tiles
from jaxdrop._attention._plan import Plan
from jaxdrop._attention._tiles import MASKED, Changes, Drop, Operands
from jaxdrop._typing import Array


class Inputs(NamedTuple):
    """What the output is differentiated by, in rows.

    Attributes:
      query: ``(steps, steps, examples, key heads, query heads, queries, features)``,
        where the steps are those of the loops over examples and key heads.
      key: ``(steps, steps, examples, key heads, keys, features)``.
      value: as ``key``.
      scale: of the logits.
      bias: as ``query``, with keys in place of features, or None. Axes may be 1.
    """

    query: Array
    key: Array
    value: Array
    scale: Array
    bias: Array | None


class Masking(NamedTuple):
    """What is attended to: a boolean mask in rows, and the number of keys, or None."""

    mask: Array | None
    lengths: Array | None


class Attended(NamedTuple):
    """The output in rows, and of each query the sum of weights and the top logit."""

    output: Array
    weights: Array
    top: Array


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def attend(plan: Plan, inputs: Inputs, masking: Masking, drop: Drop) -> Attended:
    """Attends, each row on its own."""

    def row(operands: Operands) -> Attended:
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
        return Attended(output, sums.weights, sums.top)

    return _loops.over_rows(row, _operands(plan, inputs, masking))


@partial(attend.defjvp, symbolic_zeros=True)
def _attend_jvp(
    plan: Plan, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Attended, Attended]:
    inputs, masking, drop = primals
    attended = attend(plan, inputs, masking, drop)

    @partial(jax.checkpoint, prevent_cse=False)
    def row(operands: Operands) -> Attended:
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
        change = (values - output * changes.weights[..., None]) / weights[..., None]
        return Attended(change, changes.weights, jnp.zeros_like(operands["top"]))

    operands = _operands(plan, inputs, masking) | attended._asdict()
    operands |= _changes(inputs, tangents[0])
    return attended, _loops.over_rows(row, operands)


def _operands(plan: Plan, inputs: Inputs, masking: Masking) -> Operands:
    """Everything that rows differ in, by name, without what is not there."""
    named = {
        "query": inputs.query,
        "key": inputs.key,
        "value": inputs.value,
        "scale": inputs.scale.reshape(1, 1),
        "bias": inputs.bias,
        "mask": masking.mask,
        "lengths": masking.lengths,
        "first_row": _rows.first_rows(plan),
    }
    return {name: x for name, x in named.items() if x is not None}


def _changes(inputs: Inputs, tangents: Inputs) -> Operands:
    """What changes, by name."""
    changes = {
        f"d_{name}": change
        for name, change in tangents._asdict().items()
        if change is not None and not isinstance(change, SymbolicZero)
    }
    if "d_scale" in changes:
        changes["d_scale"] = changes["d_scale"].reshape(1, 1)
    for name in ("d_key", "d_value"):
        if name in changes:
            changes[name] = jnp.swapaxes(changes[name], -1, -2)
    return changes


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


def wide_dtype(dtype: Any) -> Any:
    """What is computed in: single precision, or double for double."""
    return jnp.float64 if dtype == jnp.float64 else jnp.float32


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
