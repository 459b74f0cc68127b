"""What a warpgroup of a Hopper GPU does: products, copies, and its registers.

A warpgroup is four warps, which compute a product of matrices together. Blocks are
copied between main and shared memory by a unit of its own, and barriers say when they
have arrived.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from jaxdrop._attention import _flash_tile as tile
from jaxdrop._attention._flash_tile import Kernel, Places
from jaxdrop._typing import Array

SLOTS = 2  # blocks in shared memory: one that is computed, and the next
_SWIZZLE = 128  # bytes, the most of a row that products on matrix units read
_MOST_SUMS = 128  # features of a tile's sums, for which 64 rows fit into registers
_PROGRAM = "jaxdrop attention program"


def pipelined(
    first: Any,
    last: Any,
    fetch: Callable[[Array, Any], None],
    filled: Any,
    step: Callable[[Array, Array, Any], Any],
    start: Any,
) -> Any:
    """Runs steps, and copies the blocks of later ones in the meantime.

    Args:
      first: the first step.
      last: the end of the steps.
      fetch: starts the copies of a step into a slot.
      filled: a barrier for each slot.
      step: computes a step from a slot.
      start: the state before the first step.
    """

    def ahead(index: Array, slot: Any) -> None:
        pl.when(index < last)(lambda: fetch(index, slot))

    def body(index: Array, state: Any) -> Any:
        slot = lax.rem(index - first, np.int32(SLOTS))
        plgpu.barrier_wait(filled.at[slot])
        state = step(index, slot, state)
        plgpu.commit_smem()  # wait for all warps, which may still read the slot
        ahead(index + np.int32(SLOTS), slot)
        return state

    for slot in range(SLOTS):
        ahead(first + np.int32(slot), slot)
    return lax.fori_loop(first, last, body, start)


def places(
    first_query: Array, first_key: Array, shape: tuple[int, int], *, keys_axis: int
) -> Places:
    """The positions of each entry of a tile, see :func:`_flash_tile.places`.

    Arrays in registers have both axes. Layouts are left to the compiler, which would
    search for thousands of times as long with those of some arrays given.
    """
    if keys_axis == 0:
        shape = shape[::-1]
    query, key = (
        lax.broadcasted_iota(jnp.int32, shape, axis)
        for axis in (1 - keys_axis, keys_axis)
    )
    return Places(query + first_query, key + first_key)


def fetcher(
    width: int, place: tuple[Array, Array], pairs: Any, filled: Any
) -> Callable[[Array, Any], None]:
    """Starts the copies of a block of arrays of one head into a slot.

    Args:
      width: the length of a block.
      place: the example and the head.
      pairs: arrays in main memory, each with its slots in shared memory.
      filled: the barriers of the slots.
    """
    example, head = place

    def fetch(index: Array, slot: Any) -> None:
        places = pl.ds(index * np.int32(width), width)
        for at, inside in pairs:
            part = at.at[example, places, head]
            plgpu.copy_gmem_to_smem(part, inside.at[slot], filled.at[slot])

    return fetch


def parts_of(
    references: tuple[Any, ...], inputs: int, names: tuple[str, ...]
) -> tuple[Any, Any, dict[str, Any], Any]:
    """The scalars, the inputs, the bias and mask of given names, and all that follows.

    Args:
      references: the arguments of a kernel.
      inputs: the number of inputs.
      names: ``"bias"`` and ``"mask"``, if given.
    """
    numbers, references = references[:4], references[4:]
    extra = dict(zip(names, references[inputs:], strict=False))
    return numbers, references[:inputs], extra, references[inputs + len(names) :]


def extra_of(
    extra: dict[str, Any],
    place: tuple[Any, Any],
    firsts: tuple[Array, Array],
    shape: tuple[int, int],
) -> dict[str, Array]:
    """Tiles of bias and mask, read from main memory into registers.

    Args:
      extra: by name, arrays in main memory with four axes, the last two in the order
        of the tile; each is whole or of length 1.
      place: the example and the head.
      firsts: the positions of the first row and the first column of the tile.
      shape: the shape of the tile.
    """
    tiles = {}
    for name, at in extra.items():
        whole = [size > 1 for size in at.shape]
        lead = [i if own else np.int32(0) for i, own in zip(place, whole, strict=False)]
        rest = [
            pl.ds(first, size) if own else np.int32(0)
            for first, size, own in zip(firsts, shape, whole[2:], strict=True)
        ]
        part = at.at[(*lead, *rest)]
        if all(whole[2:]):
            tiles[name] = loaded(part, narrow=True).astype(jnp.float32)
        elif any(whole[2:]):
            axis = whole[2:].index(True)
            row = loaded(part, 1 - axis, narrow=True).astype(jnp.float32)
            tiles[name] = spread(row, shape, axis)
        else:
            tiles[name] = jnp.broadcast_to(part[...].astype(jnp.float32), shape)
    return tiles


def product(left: Any, right: Any) -> Array:
    """A product of matrices in shared memory."""

    def run(sums: Any) -> Array:
        plgpu.wgmma(sums, left, right)
        found: Array = sums[...]
        return found

    shape = left.shape[0], right.shape[1]
    found: Array = pl.run_scoped(run, plgpu.WGMMAAccumulatorRef(shape, jnp.float32))
    return found


def staged(x: Array, inside: Any) -> Any:
    """A tile of weights, moved to shared memory for a product.

    Matrix units can read the left operand from registers too, but JAX's interpreter
    does not support it.
    """
    inside[...] = x.astype(inside.dtype)
    plgpu.commit_smem()
    return inside


def spread(x: Array, shape: tuple[int, ...], axis: int) -> Array:
    """One number for each index along an axis, along the other one as well."""
    return lax.broadcast_in_dim(x, shape, (axis,))


def loaded(at: Any, summed: int | None = None, *, narrow: bool = False) -> Array:
    """A tile in memory; or a row, as if a tile had been summed over an axis.

    Args:
      at: shared or main memory.
      summed: the axis, for a row.
      narrow: whether a thread may read less than four bytes at once, or threads next
        to each other less than 32.
    """
    layout = None if summed is None else plgpu.Layout.WGMMA.reduce(summed)
    load: Any = plgpu.load  # older versions have another signature
    found: Array = load(at, layout=layout, optimized=not narrow)
    return found


def transposed(at: Any) -> Any:
    return at.transpose((1, 0))


def copied_back(*pairs: tuple[Any, Any]) -> None:
    plgpu.commit_smem()
    for inside, at in pairs:
        plgpu.copy_smem_to_gmem(inside, at)
    plgpu.wait_smem_to_gmem(0)


def narrowed(kernel: Kernel, features: int, axis: int) -> Kernel:
    """The kernel with smaller blocks along an axis of its tiles, for wide heads.

    The sums of 64 queries or keys with more than 128 features fill half of the
    registers. The other axis of a tile is then halved, and what is computed for each
    entry, and the blocks in shared memory, with it.
    """
    if features <= _MOST_SUMS:
        return kernel
    sizes = [size // 2 if a == axis else size for a, size in enumerate(kernel.block)]
    return dataclasses.replace(kernel, block=(sizes[0], sizes[1]))


class Memory:
    """Shared memory for matrices, as matrix units read them.

    Both operands of a product have rows of the same number of bytes, which is that of
    the narrowest of them, at most ``_SWIZZLE``.

    Args:
      kernel: the facts about the kernel, of which the narrowest operand is a tile.
      dtype: the dtype of operands.
    """

    def __init__(self, kernel: Kernel, dtype: Any) -> None:
        self.dtype = dtype
        self.swizzle = min(_SWIZZLE, min(kernel.block) * dtype.itemsize)

    def blocks(self, x: Any, size: int, slots: int | None = None) -> Any:
        """Blocks of an array."""
        lead = () if slots is None else (slots,)
        return self.matrix(*lead, size, x.shape[3])

    def matrix(self, *shape: int) -> Any:
        """One matrix, or several."""
        transforms = (
            plgpu.TilingTransform((8, self.swizzle // self.dtype.itemsize)),
            plgpu.SwizzleTransform(self.swizzle),
        )
        return plgpu.SMEM(shape, self.dtype, transforms=transforms)


def row(size: int, slots: int | None = None) -> Any:
    lead = () if slots is None else (slots,)
    return plgpu.SMEM((*lead, size), jnp.float32)


def ids(heads: int, steps: int) -> tuple[Array, Array, Array]:
    """The example, the head and the block of a program."""
    example, head, block = unravelled(program(), (1, heads, steps))
    return example, head, block


def program() -> Array:
    """The number of a program."""
    found: Array = lax.axis_index(_PROGRAM)
    return found


def unravelled(index: Array, sizes: tuple[int, ...]) -> list[Array]:
    """The places along axes of given sizes, of which the last changes fastest."""
    found: list[Array] = []
    for size in reversed(sizes[1:]):
        found.append(lax.rem(index, np.int32(size)))
        index = lax.div(index, np.int32(size))
    return [index, *reversed(found)] if sizes else []


def call(
    body: Any,
    programs: int,
    inputs: list[Array],
    outputs: list[Any],
    scratch: list[Any],
    interpret: Any,
) -> Any:
    """Runs a kernel.

    Args:
      body: its body, a function of references to inputs, outputs and scratch memory.
      programs: the number of its programs, see :func:`ids`.
      inputs: its inputs.
      outputs: arrays with the shapes and dtypes of its outputs.
      scratch: the types of its scratch memory.
      interpret: False, or the parameters of the interpreter for Mosaic GPU.
    """
    return plgpu.kernel(
        body,
        out_type=[tile.like(x, x.shape, x.dtype) for x in outputs],
        scratch_types=scratch,
        grid=(programs,),
        grid_names=(_PROGRAM,),
        interpret=interpret or None,
        compiler_params=plgpu.CompilerParams(
            approx_math=True, lowering_semantics=plgpu.LoweringSemantics.Warpgroup
        ),
    )(*inputs)
