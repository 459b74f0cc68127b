"""Flash attention with dropout for Hopper GPUs (NVIDIA): Pallas' Mosaic GPU.

A program has one warpgroup and one block of queries, and loops over the blocks of keys
that it sees; or one block of keys, and loops over the queries that see it, of all query
heads that share its head (:mod:`_flash_hopper_pull`). The next blocks are copied to
shared memory while one is computed. Tiles of bias and mask go from main memory into
registers.

References:
  Dao, `FlashAttention-2: faster attention with better parallelism and work partitioning
  <https://arxiv.org/abs/2307.08691>`_, ICLR 2024.
  Shah, Bikshandi, Zhang, Thakkar, Ramani, Dao, `FlashAttention-3: fast and accurate
  attention with asynchrony and low-precision <https://arxiv.org/abs/2407.08608>`_,
  NeurIPS 2024.
"""

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from jaxdrop._attention import _flash_tile as tile
from jaxdrop._attention import _flash_warpgroup as unit
from jaxdrop._attention._flash_hopper_bias import bias_gradient as bias_gradient
from jaxdrop._attention._flash_hopper_pull import backward as backward
from jaxdrop._attention._flash_tile import Kernel, Numbers
from jaxdrop._typing import Array

_FEATURES = 64  # of which heads have a multiple
_HOPPER = re.compile(r"\bG?H\d+")  # in names of devices, such as H100 and GH200


def forward(
    kernel: Kernel,
    numbers: Numbers,
    query: Array,
    key: Array,
    value: Array,
    extra: dict[str, Array],
    *,
    interpret: bool,
) -> tuple[Array, Array, Array]:
    """The output, and for each query the sum of its weights and its largest logit."""
    batch, length, heads, features = query.shape
    kernel = unit.narrowed(kernel, features, 1)
    row = tile.like(query, (batch, heads, length), jnp.float32)
    size, width = kernel.block
    steps = length // size
    memory = unit.Memory(kernel, query.dtype)
    output, weights, top = unit.call(
        partial(_forward, kernel, (heads, steps), tuple(extra)),
        batch * heads * steps,
        [*numbers, query, key, value, *extra.values()],
        [query, row, row],
        [
            memory.blocks(query, size),
            *(memory.blocks(x, width, unit.SLOTS) for x in (key, value)),
            memory.matrix(size, width),
            *(unit.row(size) for _ in range(2)),
            plgpu.Barrier(),
            plgpu.Barrier(num_arrivals=2, num_barriers=unit.SLOTS),
        ],
        interpret,
    )
    return output, weights, top


def _forward(
    kernel: Kernel, sizes: tuple[int, int], names: tuple[str, ...], *references: Any
) -> None:
    """One block of queries: sums over the blocks of keys that it sees."""
    numbers, inputs, extra, references = unit.parts_of(references, 3, names)
    query_at, key_at, value_at = inputs
    output_at, weights_at, top_at, *inside = references
    query_in, key_in, value_in, tile_in, *rows_in, arrived, filled = inside
    size, width = kernel.block
    example, head, block = unit.ids(*sizes)
    key_head = lax.div(head, np.int32(kernel.group))
    scalars = tile.scalars_of(numbers, example, head)
    first_query = block * np.int32(size)
    queries = pl.ds(first_query, size)
    plgpu.copy_gmem_to_smem(query_at.at[example, queries, head], query_in, arrived)
    plgpu.barrier_wait(arrived)

    def step(index: Array, slot: Array, sums: Any) -> Any:
        values, weights, top = sums
        firsts = first_query, index * np.int32(width)
        tiles = unit.extra_of(extra, (example, head), firsts, kernel.block)
        places = unit.places(*firsts, kernel.block, keys_axis=1)
        product = unit.product(query_in, unit.transposed(key_in.at[slot]))
        logits, _ = tile.logits_of(kernel, scalars, places, product, tiles)
        higher = jnp.maximum(top, logits.max(1))
        relative = jnp.exp(top - higher)
        own = jnp.exp(logits - unit.spread(higher, logits.shape, 0))
        survives = tile.survives(kernel, scalars, places)
        kept = unit.staged(jnp.where(survives, own, 0), tile_in)
        values = values * unit.spread(relative, values.shape, 0)
        values = values + unit.product(kept, value_in.at[slot])
        return values, weights * relative + own.sum(1), higher

    start = (
        jnp.full(query_in.shape, 0, jnp.float32),
        jnp.full((size,), 0.0, jnp.float32),
        jnp.full((size,), tile.LOWEST, jnp.float32),
    )
    first, last = tile.keys_seen(kernel, scalars, first_query)
    pairs = (key_at, key_in), (value_at, value_in)
    fetch = unit.fetcher(width, (example, key_head), pairs, filled)
    values, weights, top = unit.pipelined(first, last, fetch, filled, step, start)
    output = values * unit.spread(scalars.inverse / weights, values.shape, 0)
    query_in[...] = output.astype(query_in.dtype)
    rows_in[0][...], rows_in[1][...] = weights, top
    rows = example, head, queries
    unit.copied_back(
        (query_in, output_at.at[example, queries, head]),
        *zip(rows_in, (weights_at.at[rows], top_at.at[rows]), strict=True),
    )


def available() -> bool | None:
    """Whether kernels can be compiled here: for a Hopper GPU, and no later one.

    Later GPUs have no products of warpgroups. The GPU is that of the abstract mesh in
    use, or that of this machine; where there is neither, as on a machine that compiles
    for another one, it is not known: None. Where JAX does not have an interpreter for
    these kernels, they could not be tested.
    """
    if not hasattr(plgpu, "InterpretGPUParams"):
        return False
    target: Any = jax.sharding.get_abstract_mesh().abstract_device
    if target is not None and target.device_kind.startswith("NVIDIA"):
        return bool(_HOPPER.search(target.device_kind))
    try:
        gpus = jax.devices("cuda")
    except RuntimeError:
        return None
    found: bool = gpus[0].compute_capability == "9.0"
    return found


# Layouts.


def laid_out(kernel: Kernel, x: Array, name: str) -> Array:
    """Pads an array to whole blocks, and to a multiple of 64 features."""
    length, width = kernel.block
    if name in ("bias", "mask"):
        if name == "bias" and x.dtype.itemsize != 2:
            x = x.astype(jnp.float32)
        return tile.padded_weights(x, kernel.block)
    size = length if name == "query" else width
    return tile.padded(x, {1: size, 3: _FEATURES})


def laid_back(kernel: Kernel, x: Array, like: Array) -> Array:
    """Undoes :func:`laid_out`, for a result with the shape of ``like``."""
    del kernel
    return x[:, : like.shape[1], :, : like.shape[3]]


def row(kernel: Kernel, x: Array, beyond: float) -> Array:
    """Pads one number for each query to whole blocks, with the number ``beyond``."""
    return tile.padded(x, {2: kernel.block[0]}, beyond)
