"""Flash attention with dropout for TPUs: Pallas kernels on the Mosaic backend.

Tiles are (keys, queries): sums over keys are then additions of whole registers, and the
sums of the queries are rows. A step of the grid computes one tile. In the forward pass
the innermost steps are over keys, and add to an output in fast memory. The backward
pass is one kernel, so that the mask of each tile is drawn once: fast memory holds the
gradient of a block of queries during its steps over keys, and the gradients of all keys
and values of a head during all steps of that head, in single precision.
:func:`_flash.can_compute` is False for sequences of keys that are too long for this.

References:
  Dao, `FlashAttention-2: faster attention with better parallelism and work partitioning
  <https://arxiv.org/abs/2307.08691>`_, ICLR 2024.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxdrop._attention import _flash_tile as tile
from jaxdrop._attention._flash_grid import Grid
from jaxdrop._attention._flash_tile import Kernel, Numbers, Scalars
from jaxdrop._typing import Array

_CHUNK = 64  # keys of a tile whose weights are computed together, in registers


Extra = dict[str, Array]
"""``bias`` and ``mask`` (int8), if given; their four axes are whole or of length 1."""


def forward(
    kernel: Kernel,
    numbers: Numbers,
    query: Array,
    key: Array,
    value: Array,
    extra: Extra,
    *,
    interpret: bool,
) -> tuple[Array, Array, Array]:
    """Attends; arrays are ``(batch, heads, length, features)``, in whole blocks.

    Returns:
      The output, and for each query the sum of its weights and its largest logit,
      ``(batch, heads, 1, queries)``.
    """
    batch, heads, _, features = query.shape
    length = kernel.block[0]
    grid = Grid("bhqk", {"b": batch, "h": heads, "q": kernel.steps[0]}, kernel)
    row = tile.like(query, (batch, heads, 1, query.shape[2]), jnp.float32)
    single = lambda *shape: pltpu.VMEM(shape, jnp.float32)
    outputs: tuple[Array, Array, Array] = grid.call(
        partial(_forward, kernel, grid, tuple(extra)),
        numbers,
        [query, key, value, *extra.values()],
        ["q", "k", "k", *("w" for _ in extra)],
        [query, row, row],
        ["q", "r", "r"],
        [single(features, length), single(1, length), single(1, length)],  # type: ignore[no-untyped-call]
        interpret,
    )
    return outputs


def _forward(
    kernel: Kernel, grid: "Grid", names: tuple[str, ...], *references: Any
) -> None:
    """One tile: adds it to sums that stay in memory over a block's steps."""
    numbers, references = references[:4], references[4:]
    query_at, key_at, value_at, *extra_at = references[: 3 + len(names)]
    output_at, weights_at, top_at, sums, weights, top = references[3 + len(names) :]
    at, step = grid.ids(), grid.ids()["k"]
    scalars = tile.scalars_of(numbers, at["b"], grid.head(at))

    @pl.when(step == 0)
    def start() -> None:
        sums[...] = jnp.zeros_like(sums)
        weights[...] = jnp.zeros_like(weights)
        top[...] = jnp.full_like(top, tile.LOWEST)

    @_when(tile.visible(kernel, scalars, *grid.firsts(at)))
    def add() -> None:
        places = tile.places(*grid.firsts(at), kernel.block, keys_axis=0)
        product = tile.product(key_at[...], query_at[...], (1, 1))
        extra = _extra(names, extra_at)
        logits, _ = tile.logits_of(kernel, scalars, places, product, extra)
        higher = jnp.maximum(top[...], logits.max(0, keepdims=True))
        relative = jnp.exp(top[...] - higher)
        kept, total = [], jnp.zeros_like(higher)
        for part, part_places in _chunks(places):
            own = jnp.exp(logits[part] - higher)
            total = total + own.sum(0, keepdims=True)
            survives = tile.survives(kernel, scalars, part_places)
            kept.append(jnp.where(survives, own, 0).astype(value_at.dtype))
        values = tile.product(value_at[...], jnp.concatenate(kept, 0), (0, 0))
        sums[...] = sums[...] * relative + values
        weights[...] = weights[...] * relative + total
        top[...] = higher

    @pl.when(step == grid.sizes["k"] - 1)
    def finish() -> None:
        output = sums[...] * (scalars.inverse / weights[...])
        output_at[...] = output.T.astype(output_at.dtype)
        weights_at[...] = weights[...]
        top_at[...] = top[...]


def backward(
    kernel: Kernel,
    numbers: Numbers,
    arrays: tuple[Array, ...],
    extra: Extra,
    *,
    interpret: bool,
) -> tuple[Array, Array, Array]:
    """The gradients of queries, keys and values.

    Args:
      kernel: the static facts about the call.
      numbers: the scalars of examples and heads.
      arrays: query, key, value, the gradient of the output, and the three numbers of
        each query from :func:`_flash._rows`.
      extra: bias and mask, if given.
      interpret: whether to interpret the kernel.
    """
    query, key, _, *_ = arrays
    batch, heads, keys, features = key.shape
    sizes = {"b": batch, "h": heads, "g": kernel.group, "q": kernel.steps[0]}
    grid = Grid("bhgqk", sizes, kernel)
    outputs: tuple[Array, Array, Array] = grid.call(
        partial(_backward, kernel, grid, tuple(extra)),
        numbers,
        [*arrays, *extra.values()],
        ["q", "k", "k", "q", "r", "r", "r", *("w" for _ in extra)],
        [query, key, key],
        ["q", "last k", "last k"],
        [
            pltpu.VMEM((features, kernel.block[0]), jnp.float32),
            pltpu.VMEM((keys, features), jnp.float32),
            pltpu.VMEM((keys, features), jnp.float32),
        ],
        interpret,
    )
    return outputs


def _backward(
    kernel: Kernel, grid: "Grid", names: tuple[str, ...], *references: Any
) -> None:
    """One tile: adds it to the gradients of its queries, and of all keys of a head."""
    numbers, references = references[:4], references[4:]
    inputs, references = references[: 7 + len(names)], references[7 + len(names) :]
    of_query_at, of_key_at, of_value_at, of_query, of_key, of_value = references
    query_at, key_at, _, change_at = inputs[:4]
    at = grid.ids()
    scalars = tile.scalars_of(numbers, at["b"], grid.head(at))
    first_query, first_key = grid.firsts(at)
    rows = pl.ds(pl.multiple_of(first_key, kernel.block[1]), kernel.block[1])

    @pl.when(at["k"] == 0)
    def start_queries() -> None:
        of_query[...] = jnp.zeros_like(of_query)

    @pl.when((at["g"] == 0) & (at["q"] == 0))
    def start_keys() -> None:
        of_key[rows, :] = jnp.zeros(key_at.shape, jnp.float32)
        of_value[rows, :] = jnp.zeros(key_at.shape, jnp.float32)

    @_when(tile.visible(kernel, scalars, first_query, first_key))
    def add() -> None:
        kept, of_logits = _changes(
            kernel, grid, names, scalars, at, inputs, query_at.dtype
        )
        of_value[rows, :] += tile.product(kept, change_at[...], (1, 0))
        of_key[rows, :] += tile.product(of_logits, query_at[...], (1, 0))
        of_query[...] += tile.product(key_at[...], of_logits, (0, 0))

    @pl.when(at["k"] == grid.sizes["k"] - 1)
    def finish_queries() -> None:
        gradient = of_query[...] * scalars.factor
        of_query_at[...] = gradient.T.astype(of_query_at.dtype)

    @pl.when((at["g"] == grid.sizes["g"] - 1) & (at["q"] == grid.sizes["q"] - 1))
    def finish_keys() -> None:
        gradient = of_key[rows, :] * scalars.factor
        of_key_at[...] = gradient.astype(of_key_at.dtype)
        of_value_at[...] = (of_value[rows, :] * scalars.inverse).astype(
            of_value_at.dtype
        )


def _changes(
    kernel: Kernel,
    grid: "Grid",
    names: tuple[str, ...],
    scalars: Scalars,
    at: dict[str, Array],
    inputs: Any,
    dtype: jnp.dtype,
) -> tuple[Array, Array]:
    """The weights of a tile that survive, and the gradient of its logits.

    Both lack the factor ``scalars.inverse``, and are narrowed to ``dtype`` part by
    part: narrowed as a whole, the registers do not hold them.
    """
    query_at, key_at, value_at, change_at, inverse_at, top_at, share_at = inputs[:7]
    places = tile.places(*grid.firsts(at), kernel.block, keys_axis=0)
    product = tile.product(key_at[...], query_at[...], (1, 1))
    extra = _extra(names, inputs[7:])
    logits, attended = tile.logits_of(kernel, scalars, places, product, extra)
    change = tile.product(value_at[...], change_at[...], (1, 1))
    top, inverse, share = top_at[...], inverse_at[...], share_at[...]
    kept, of_logits = [], []
    for part, part_places in _chunks(places):
        weights = jnp.exp(logits[part] - top) * inverse
        survives = tile.survives(kernel, scalars, part_places)
        kept.append(jnp.where(survives, weights, 0).astype(dtype))
        own = weights * (jnp.where(survives, change[part], 0) - share)
        if attended is not None:
            whole = jnp.broadcast_to(attended, logits.shape)
            own = jnp.where(whole[part], own, 0)
        of_logits.append(own.astype(dtype))
    return jnp.concatenate(kept, 0), jnp.concatenate(of_logits, 0)


def bias_gradient(
    kernel: Kernel,
    numbers: Numbers,
    arrays: tuple[Array, ...],
    extra: Extra,
    *,
    interpret: bool,
) -> Array:
    """The gradient of the bias, summed over the axes along which it has length 1."""
    shape = extra["bias"].shape
    heads = arrays[0].shape[1]
    sizes = {"b": arrays[0].shape[0], "h": heads, "q": kernel.steps[0]}
    whole = [name for name, size in zip("bhqk", shape, strict=True) if size > 1]
    summed = [name for name in "bhqk" if name not in whole]
    grid = Grid("".join(whole + summed), sizes, kernel)
    (gradient,) = grid.call(
        partial(_bias_gradient, kernel, grid, tuple(extra), tuple(summed)),
        numbers,
        [*arrays, *extra.values()],
        ["q", "k", "k", "q", "r", "r", "r", *("w" for _ in extra)],
        [tile.like(extra["bias"], shape, jnp.float32)],
        ["w"],
        [],
        interpret,
    )
    found: Array = gradient
    return found


def _bias_gradient(
    kernel: Kernel,
    grid: "Grid",
    names: tuple[str, ...],
    summed: tuple[str, ...],
    *references: Any,
) -> None:
    """One tile: adds it to the gradient of its part of a bias."""
    numbers, inputs, of_bias = references[:4], references[4:-1], references[-1]
    at = grid.ids()
    scalars = tile.scalars_of(numbers, at["b"], grid.head(at))
    first = jnp.asarray(True)
    for name in summed:
        first &= at[name] == 0

    @pl.when(first)
    def start() -> None:
        of_bias[...] = jnp.zeros_like(of_bias)

    @_when(tile.visible(kernel, scalars, *grid.firsts(at)))
    def add() -> None:
        single = jnp.dtype("float32")
        _, change = _changes(kernel, grid, names, scalars, at, inputs, single)
        if of_bias.shape[0] == 1:
            change = change.sum(1, keepdims=True)
        if of_bias.shape[1] == 1:
            change = change.sum(0, keepdims=True)
        of_bias[...] += change.T * scalars.inverse


def _extra(names: tuple[str, ...], references: Any) -> dict[str, Array]:
    """Tiles of bias and mask, transposed to (keys, queries)."""
    return {
        name: at[...].astype(jnp.float32).T
        for name, at in zip(names, references, strict=True)
    }


def _chunks(places: tile.Places) -> list[tuple[slice, tile.Places]]:
    """The parts of a tile along its keys, small enough for registers."""
    keys = places.key.shape[0]
    parts = [slice(i, min(i + _CHUNK, keys)) for i in range(0, keys, _CHUNK)]
    return [(part, places.of_keys(part)) for part in parts]


def available() -> bool:
    """Whether kernels can be compiled here: kernels for TPUs can, anywhere."""
    return True


def laid_out(kernel: Kernel, x: Array, name: str) -> Array:
    """Moves heads to the front of an array, and pads it to whole blocks."""
    length, width = kernel.block
    if name in ("bias", "mask"):
        return tile.padded_weights(x, kernel.block)
    x = x.swapaxes(1, 2)
    return tile.padded(x, {2: length if name == "query" else width})


def laid_back(kernel: Kernel, x: Array, like: Array) -> Array:
    """Undoes :func:`laid_out`, for a result with the shape of ``like``."""
    del kernel
    return x[:, :, : like.shape[1]].swapaxes(1, 2)


def row(kernel: Kernel, x: Array, beyond: float) -> Array:
    """Pads one number for each query to whole blocks, with the number ``beyond``."""
    return tile.padded(x[:, :, None], {3: kernel.block[0]}, beyond)


def _when(condition: Array | None) -> Callable[[Callable[[], None]], Any]:
    """``pl.when``, or unconditional for a condition of None."""
    if condition is None:
        return lambda body: body()
    return pl.when(condition)
