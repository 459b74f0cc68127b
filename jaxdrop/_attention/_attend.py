"""Attention with dropout on its weights, and its derivative, tile by tile.

In the forward pass the weights of a tile are summed over its keys and discarded. Only
three results are kept for differentiation: for each query the output, the sum of the
weights and the largest logit. The derivative (:func:`change`, a JVP) computes the
weights again from these, tile by tile, and is linear in the changes of the inputs. The
backward pass (:func:`pull`, a VJP) is its transpose. As the derivative is written in
plain operations, it can be differentiated again, in either mode, any number of times.

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

from jaxdrop._attention import _groups, _loops, _tiles
from jaxdrop._attention._call import Call, Operands, wide_dtype
from jaxdrop._attention._loops import Group
from jaxdrop._attention._plan import Plan
from jaxdrop._attention._tiles import MASKED, Changes, Drop
from jaxdrop._typing import Array


def attend(plan: Plan, call: Call, operands: Operands) -> tuple[Array, Array, Array]:
    """Attends, group by group; returns the results that :data:`_call.OUTPUTS` names."""
    drop = _drop(call, operands)

    def group(operands: Group) -> tuple[Array, Array, Array]:
        narrow = operands["query"].dtype
        operands = _scaled(_widened(operands))
        visit = partial(_tiles.sums, plan, drop)
        sums = _loops.over_keys(plan, visit, _tiles.merge, operands)
        if _may_be_fully_masked(plan, operands):
            fully_masked = sums.top <= MASKED
            found = _over_unattended(plan, drop, fully_masked, operands)
            sums = sums._replace(
                values=jnp.where(fully_masked[..., None], found.values, sums.values),
                weights=jnp.where(fully_masked, found.weights, sums.weights),
                top=jnp.where(fully_masked, MASKED, sums.top),
            )
        # The softmax is dropped after it was normalized: its denominator is the sum of
        # all weights, of those that are dropped as well.
        output = sums.values / (sums.weights * _divisor(drop))[..., None]
        return output.astype(narrow), sums.weights, sums.top

    output, weights, top = _loops.over_groups(group, _in_groups(plan, operands))
    return (
        _groups.join_outputs(plan, output),
        _groups.join_sums(plan, weights),
        _groups.join_sums(plan, top),
    )


def change(plan: Plan, call: Call, operands: Operands) -> tuple[Array, Array]:
    """The changes of the output and of the sums of weights (a JVP).

    They are linear in the changes of the inputs: the operands whose names begin with
    ``d_``.
    """
    drop = _drop(call, operands)
    narrow = operands["query"].dtype

    @partial(jax.checkpoint, prevent_cse=False)
    def group(operands: Group) -> tuple[Array, Array]:
        output, weights = operands.pop("output"), operands.pop("weights")
        operands = _scaled(_widened(operands))
        visit = partial(_tiles.changes, plan, drop)
        changes = _loops.over_keys(plan, visit, _tiles.add, operands)
        if _may_be_fully_masked(plan, operands):
            fully_masked = operands["top"] <= MASKED
            found = _over_unattended(plan, drop, fully_masked, operands, "d_value")
            values = jnp.where(fully_masked[..., None], found.values, changes.values)
            changes = changes._replace(values=values)
        # output = values / (keep * weights), and so by the quotient rule
        # d_output = (d_values / keep - output * d_weights) / weights.
        values = changes.values / _divisor(drop)
        output = output.astype(weights.dtype)
        change = (values - output * changes.weights[..., None]) / weights[..., None]
        return change, changes.weights

    split = _in_groups(plan, operands)
    for name in ("d_key", "d_value"):
        if name in split:
            split[name] = jnp.swapaxes(split[name], -1, -2)
    of_output, of_weights = _loops.over_groups(group, split)
    return (
        _groups.join_outputs(plan, of_output).astype(narrow),
        _groups.join_sums(plan, of_weights),
    )


def pull(
    plan: Plan, call: Call, operands: Operands, wanted: tuple[str, ...]
) -> tuple[Array, ...]:
    """Gradients of the wanted operands, from ``d_output`` and ``d_weights`` (a VJP)."""
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


_SPLIT = {
    "query": _groups.split_queries,
    "output": _groups.split_queries,
    "key": _groups.split_keys,
    "value": _groups.split_keys,
    "bias": _groups.split_weights,
    "mask": _groups.split_weights,
    "weights": _groups.split_sums,
    "top": _groups.split_sums,
    "lengths": _groups.split_lengths,
    "scale": _groups.split_number,
}


def _in_groups(plan: Plan, operands: Operands) -> Group:
    """The operands that differ between groups, split into groups."""
    found = {"first_row": _groups.first_rows(plan)}
    for name, x in operands.items():
        if name == "lengths":
            x = jnp.maximum(x, 0).astype(jnp.uint32)
        if name not in ("words", "keep"):
            found[name] = _SPLIT[name.removeprefix("d_")](plan, x)
    return found


def _scaled(operands: Group) -> Group:
    """Multiplies the query, and its change, by the scale of the logits.

    A change of the scale becomes a change of the query.
    """
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


def _widened(operands: Group) -> Group:
    """Operands in at least single precision, in which everything is computed."""
    wide = wide_dtype(operands["query"].dtype)
    return {
        name: x.astype(wide) if jnp.issubdtype(x.dtype, jnp.floating) else x
        for name, x in operands.items()
    }


def _divisor(drop: Drop) -> Array:
    """The probability of keeping; 1 where nothing is kept, and sums are 0."""
    return jnp.where(drop.keep == 0, 1, drop.keep)


def _may_be_fully_masked(plan: Plan, operands: Group) -> bool:
    """Whether all keys that the plan compares a query with may be masked."""
    return plan.skips and bool({"mask", "lengths", "bias"} & operands.keys())


def _over_unattended(
    plan: Plan,
    drop: Drop,
    fully_masked: Array,
    operands: Group,
    value: str = "value",
) -> Changes:
    """Sums over all keys that a query may not attend to, if any query is fully masked.

    By the definition of softmax, a query that may not attend to any key attends to all
    of them equally, including those that the plan skips.
    """
    visit = partial(_tiles.over_unattended, plan, drop, value)

    def find(operands: Group) -> Changes:
        return _loops.over_keys(plan.dense(), visit, _tiles.add, operands)

    def find_nothing(operands: Group) -> Changes:
        nothing = jnp.zeros_like(operands["query"])
        return Changes(nothing, nothing[..., 0])

    if value not in operands:
        return find_nothing(operands)
    return lax.cond(_any(fully_masked), find, find_nothing, operands)


@custom_vmap
def _any(fully_masked: Array) -> Array:
    """Whether any query is fully masked; under vmap, any query of any mapped call.

    Under vmap, ``lax.cond`` with a mapped condition computes both branches. With one
    condition for all calls it computes one branch, and the sums over all keys are
    correct for every query, as they are used for fully masked queries only.
    """
    return fully_masked.any()


@_any.def_vmap
def _any_of_batch(
    size: int, batched: list[bool], fully_masked: Array
) -> tuple[Array, bool]:
    del size, batched
    return _any(fully_masked), False
