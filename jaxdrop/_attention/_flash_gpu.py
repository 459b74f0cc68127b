"""Flash attention with dropout for NVIDIA GPUs: Pallas kernels on the Triton backend.

A program of the grid has one block of queries and loops over the keys that it sees, or
has one block of keys and loops over the queries that see it; arrays stay in the layouts
of ``jax.nn``. In the second kind tiles are (keys, queries), so that no product
contracts the first axis of a tile: the compiler would transpose the tile, and the hash
that it is computed from.

References:
  Dao, `FlashAttention-2: faster attention with better parallelism and work partitioning
  <https://arxiv.org/abs/2307.08691>`_, ICLR 2024.
"""

import math
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from jaxdrop._attention import _flash_blocks as see
from jaxdrop._attention import _flash_tile as tile
from jaxdrop._attention._flash_tile import Kernel, Numbers
from jaxdrop._typing import Array

_QUERIES, _KEYS = 0, 1
_WARPS = {"forward": 4, "backward": 8}  # with fewer the hash spills registers


Extra = dict[str, Array]
"""``bias`` and ``mask``, if given; each of their four axes is whole or of length 1."""


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
    """The output, and for each query the sum of its weights and its largest logit."""
    batch, length, heads, _ = query.shape
    row = tile.like(query, (batch, heads, length), jnp.float32)
    group, size = kernel.group, kernel.block[0]
    found: tuple[Array, Array, Array] = _call(
        partial(_forward, kernel, tuple(extra)),
        (batch, heads, length // size),
        [*numbers, query, key, value, *extra.values()],
        [
            *map(see.whole, numbers),
            see.block(query, size),
            *(see.head(x, group) for x in (key, value)),
            *map(see.whole, extra.values()),
        ],
        [query, row, row],
        [see.block(query, size), see.row_block(size), see.row_block(size)],
        "forward",
        interpret,
    )
    return found


def _forward(kernel: Kernel, names: tuple[str, ...], *references: Any) -> None:
    """One block of queries: sums over the blocks of keys that it sees."""
    numbers, references = references[:4], references[4:]
    query_at, key_at, value_at, *extra_at = references[: 3 + len(names)]
    output_at, weights_at, top_at = references[3 + len(names) :]
    head = see.head_of(numbers, names, extra_at, pl.program_id(0), pl.program_id(1))
    query, width = query_at[...], kernel.block[1]
    first_query = pl.program_id(2) * np.int32(kernel.block[0])

    def step(index: Array, sums: tuple[Array, Array, Array]) -> tuple[Array, ...]:
        values, weights, top = sums
        first_key = index * np.int32(width)
        key, value = (see.part(at, first_key, width) for at in (key_at, value_at))
        places = tile.places(first_query, first_key, kernel.block, keys_axis=1)
        extra = see.extra_of(kernel, head, first_query, first_key)
        product = tile.product(query, key, (1, 1))
        logits, _ = tile.logits_of(kernel, head.scalars, places, product, extra)
        higher = jnp.maximum(top, logits.max(1))
        relative, own = jnp.exp(top - higher), jnp.exp(logits - higher[:, None])
        survives = tile.survives(kernel, head.scalars, places)
        kept = jnp.where(survives, own, 0).astype(value.dtype)
        values = values * relative[:, None] + tile.product(kept, value, (1, 0))
        return values, weights * relative + own.sum(1), higher

    nothing = jnp.zeros(query.shape[:1], jnp.float32)
    start = (
        jnp.zeros(query.shape, jnp.float32),
        nothing,
        jnp.full_like(nothing, tile.LOWEST),
    )
    first, last = tile.keys_seen(kernel, head.scalars, first_query)
    values, weights, top = lax.fori_loop(first, last, step, start)
    output = values * (head.scalars.inverse / weights)[:, None]
    output_at[...] = output.astype(output_at.dtype)
    weights_at[...], top_at[...] = weights, top


def backward(
    kernel: Kernel,
    numbers: Numbers,
    arrays: tuple[Array, ...],
    extra: Extra,
    *,
    interpret: bool,
) -> tuple[Array, Array, Array]:
    """Gradients of queries, keys and values; see :func:`_flash_tpu.backward`."""
    query, key, value, change, *rows = arrays
    batch, length, heads, _ = query.shape
    group, (size, width) = kernel.group, kernel.block
    operands = [*numbers, *arrays, *extra.values()]
    whole = [*map(see.whole, extra.values())]
    (of_query,) = _call(
        partial(_to_queries, kernel, tuple(extra)),
        (batch, heads, length // size),
        operands,
        [
            *map(see.whole, numbers),
            see.block(query, size),
            *(see.head(x, group) for x in (key, value)),
            see.block(change, size),
            *(see.row_block(size) for _ in rows),
            *whole,
        ],
        [query],
        [see.block(query, size)],
        "backward",
        interpret,
    )
    of_key, of_value = _call(
        partial(_to_keys, kernel, tuple(extra)),
        (batch, key.shape[2], key.shape[1] // width),
        operands,
        [
            *map(see.whole, numbers),
            see.heads(query, group),
            *(see.block(x, width) for x in (key, value)),
            see.heads(change, group),
            *(see.row_heads(x, group) for x in rows),
            *whole,
        ],
        [key, value],
        [see.block(key, width), see.block(key, width)],
        "backward",
        interpret,
    )
    return of_query, of_key, of_value


def _to_queries(kernel: Kernel, names: tuple[str, ...], *references: Any) -> None:
    """The gradient of one block of queries, over the keys that it sees."""
    numbers, inputs, of_query_at = references[:4], references[4:-1], references[-1]
    query_at, key_at, value_at, change_at, inverse_at, top_at, share_at = inputs[:7]
    head = see.head_of(numbers, names, inputs[7:], pl.program_id(0), pl.program_id(1))
    query, change, width = query_at[...], change_at[...], kernel.block[1]
    rows = [at[...] for at in (inverse_at, top_at, share_at)]
    first_query = pl.program_id(2) * np.int32(kernel.block[0])

    def step(index: Array, gradient: Array) -> Array:
        first_key = index * np.int32(width)
        key, value = (see.part(at, first_key, width) for at in (key_at, value_at))
        firsts = (first_query, first_key)
        arrays = (query, key, value, change)
        _, of_logits = _changes(kernel, head, firsts, arrays, rows, keys_axis=1)
        return gradient + tile.product(of_logits.astype(key.dtype), key, (1, 0))

    first, last = tile.keys_seen(kernel, head.scalars, first_query)
    start = jnp.zeros(query.shape, jnp.float32)
    gradient = lax.fori_loop(first, last, step, start) * head.scalars.factor
    of_query_at[...] = gradient.astype(of_query_at.dtype)


def _to_keys(kernel: Kernel, names: tuple[str, ...], *references: Any) -> None:
    """The gradients of one block of keys, over heads and queries that see it."""
    numbers, inputs, outputs = references[:4], references[4:-2], references[-2:]
    query_at, key_at, value_at, change_at, *rows_at = inputs[:7]
    key, value, size = key_at[...], value_at[...], kernel.block[0]
    first_key = pl.program_id(2) * np.int32(kernel.block[1])
    gradients = jnp.zeros(key.shape, jnp.float32), jnp.zeros(key.shape, jnp.float32)
    for number in range(kernel.group):
        own = pl.program_id(1) * np.int32(kernel.group) + np.int32(number)
        head = see.head_of(numbers, names, inputs[7:], pl.program_id(0), own)

        def step(
            index: Array, sums: Any, head: see.Head = head, number: int = number
        ) -> tuple[Array, Array]:
            first_query = index * np.int32(size)
            place = pl.ds(first_query, size)
            query, change = query_at[place, number], change_at[place, number]
            rows = [at[number, place] for at in rows_at]
            firsts = (first_query, first_key)
            arrays = (query, key, value, change)
            kept, of_logits = _changes(kernel, head, firsts, arrays, rows, keys_axis=0)
            kept, of_logits = kept.astype(key.dtype), of_logits.astype(key.dtype)
            return (
                sums[0] + tile.product(of_logits, query, (1, 0)),
                sums[1] + tile.product(kept, change, (1, 0)),
            )

        first, last = tile.queries_seeing(kernel, head.scalars, first_key)
        gradients = lax.fori_loop(first, last, step, gradients)
    scalars = head.scalars
    of_key, of_value = gradients[0] * scalars.factor, gradients[1] * scalars.inverse
    outputs[0][...] = of_key.astype(outputs[0].dtype)
    outputs[1][...] = of_value.astype(outputs[1].dtype)


def _changes(
    kernel: Kernel,
    head: see.Head,
    firsts: tuple[Array, Array],
    arrays: tuple[Array, ...],
    rows: list[Array],
    *,
    keys_axis: int,
) -> tuple[Array, Array]:
    """The weights of a tile that survive, and the gradient of its logits.

    Both lack the factor ``scalars.inverse``.
    """
    query, key, value, change = arrays
    keys_first = keys_axis == 0
    inverse, top, share = (x[None] if keys_first else x[:, None] for x in rows)
    places = tile.places(*firsts, kernel.block, keys_axis=keys_axis)
    extra = see.extra_of(kernel, head, *firsts)
    if keys_first:
        extra = {name: x.T for name, x in extra.items()}
        product = tile.product(key, query, (1, 1))
        of_weights = tile.product(value, change, (1, 1))
    else:
        product = tile.product(query, key, (1, 1))
        of_weights = tile.product(change, value, (1, 1))
    logits, attended = tile.logits_of(kernel, head.scalars, places, product, extra)
    weights = jnp.exp(logits - top) * inverse
    survives = tile.survives(kernel, head.scalars, places)
    of_logits = weights * (jnp.where(survives, of_weights, 0) - share)
    if attended is not None:
        of_logits = jnp.where(attended, of_logits, 0)
    return jnp.where(survives, weights, 0), of_logits


def bias_gradient(
    kernel: Kernel,
    numbers: Numbers,
    arrays: tuple[Array, ...],
    extra: Extra,
    *,
    interpret: bool,
) -> Array:
    """The gradient of the bias, summed over the axes along which it has length 1.

    A program has one tile of the bias, and loops over all tiles of weights to which it
    is added: the sum needs neither atomics nor a second pass.
    """
    query, key = arrays[:2]
    shape = extra["bias"].shape
    steps = (query.shape[1] // kernel.block[0], key.shape[1] // kernel.block[1])
    sizes = (query.shape[0], query.shape[2], *steps)
    kept = [axis for axis in range(4) if shape[axis] > 1]
    own = tuple(
        size if whole > 1 else 1
        for size, whole in zip(kernel.block, shape[2:], strict=True)
    )

    def index(*ids: Any) -> tuple[Any, ...]:
        at = dict(zip(kept, ids, strict=False))
        return tuple(at.get(axis, 0) for axis in range(4))

    operands = [*numbers, *arrays, *extra.values()]
    (gradient,) = _call(
        partial(_bias_gradient, kernel, tuple(extra), sizes, tuple(kept)),
        tuple(sizes[axis] for axis in kept) or (1,),
        operands,
        [*map(see.whole, operands)],
        [tile.like(extra["bias"], shape, jnp.float32)],
        [pl.BlockSpec((None, None, *own), index)],
        "backward",
        interpret,
    )
    found: Array = gradient
    return found


def _bias_gradient(
    kernel: Kernel,
    names: tuple[str, ...],
    sizes: tuple[int, ...],
    kept: tuple[int, ...],
    *references: Any,
) -> None:
    """The gradient of one block of a bias, summed over the axes that it shares."""
    numbers, inputs, of_bias = references[:4], references[4:-1], references[-1]
    query_at, key_at, value_at, change_at, *rows_at = inputs[:7]
    summed = [axis for axis in range(4) if axis not in kept]
    own = {axis: pl.program_id(number) for number, axis in enumerate(kept)}
    size, width = kernel.block

    def step(index: Array, total: Array) -> Array:
        at = dict(own)
        for axis in reversed(summed):
            at[axis] = lax.rem(index, np.int32(sizes[axis]))
            index = lax.div(index, np.int32(sizes[axis]))
        head = see.head_of(numbers, names, inputs[7:], at[0], at[1])
        key_head = lax.div(at[1], np.int32(kernel.group))
        firsts = at[2] * np.int32(size), at[3] * np.int32(width)
        places = pl.ds(firsts[0], size), pl.ds(firsts[1], width)
        arrays = (
            query_at[at[0], places[0], at[1]],
            key_at[at[0], places[1], key_head],
            value_at[at[0], places[1], key_head],
            change_at[at[0], places[0], at[1]],
        )
        rows = [ref[at[0], at[1], places[0]] for ref in rows_at]
        _, change = _changes(kernel, head, firsts, arrays, rows, keys_axis=1)
        if of_bias.shape[0] == 1:
            change = change.sum(0, keepdims=True)
        if of_bias.shape[1] == 1:
            change = change.sum(1, keepdims=True)
        return total + change * head.scalars.inverse

    start = jnp.zeros(of_bias.shape, jnp.float32)
    count = np.int32(math.prod(sizes[axis] for axis in summed))
    of_bias[...] = lax.fori_loop(np.int32(0), count, step, start)


def available() -> bool:
    """Whether kernels can be compiled here.

    Newer versions of JAX need to know the GPU, which is that of this machine or of the
    abstract mesh in use.
    """
    describe = getattr(triton, "get_gpu_info", None)
    if describe is None:
        return True
    try:
        describe()
    except (ValueError, RuntimeError):
        return False
    return True


# Layouts.


def laid_out(kernel: Kernel, x: Array, name: str) -> Array:
    """Pads an array to whole blocks, and to a power of two of features."""
    length, width = kernel.block
    if name in ("bias", "mask"):
        return tile.padded_weights(x, kernel.block)
    features = max(16, 1 << (x.shape[3] - 1).bit_length())
    return tile.padded(x, {1: length if name == "query" else width, 3: features})


def laid_back(kernel: Kernel, x: Array, like: Array) -> Array:
    """Undoes :func:`laid_out`, for a result with the shape of ``like``."""
    del kernel
    return x[:, : like.shape[1], :, : like.shape[3]]


def row(kernel: Kernel, x: Array, beyond: float) -> Array:
    """Pads one number for each query to whole blocks, with the number ``beyond``."""
    return tile.padded(x, {2: kernel.block[0]}, beyond)


def _call(
    body: Any,
    grid: tuple[int, ...],
    inputs: list[Array],
    specs: list[pl.BlockSpec],
    outputs: list[Any],
    output_specs: list[pl.BlockSpec],
    kind: str,
    interpret: bool,
) -> Any:
    return pl.pallas_call(
        body,
        grid=grid,
        in_specs=specs,
        out_specs=output_specs,
        out_shape=[tile.like(x, x.shape, x.dtype) for x in outputs],
        interpret=interpret,
        compiler_params=triton.CompilerParams(num_warps=_WARPS[kind]),
    )(*inputs)
