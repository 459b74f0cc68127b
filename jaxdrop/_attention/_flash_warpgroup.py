"""What a warpgroup of a Hopper GPU does: products, copies, and its registers.

A warpgroup is four warps, which compute a product of matrices together. Blocks are
copied between main and shared memory by a unit of its own, and barriers say when they
have arrived.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from jaxdrop._attention import _flash_tile as tile
from jaxdrop._attention._flash_tile import Places
from jaxdrop._typing import Array

SLOTS = 2  # blocks in shared memory: one that is computed, and the next
SWIZZLE = 128  # bytes, the rows of 64 features that products on matrix units read
_PROGRAM = "jaxdrop attention program"


def pipelined(
    first: Any,
    last: Array,
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


def loaded(at: Any, summed: int) -> Array:
    """A row in shared memory, as if a tile had been summed over an axis."""
    layout = plgpu.Layout.WGMMA.reduce(summed)
    load: Any = plgpu.load  # older versions have another signature
    found: Array = load(at, layout=layout)
    return found


def transposed(at: Any) -> Any:
    return at.transpose((1, 0))


def copied_back(*pairs: tuple[Any, Any]) -> None:
    plgpu.commit_smem()
    for inside, at in pairs:
        plgpu.copy_smem_to_gmem(inside, at)
    plgpu.wait_smem_to_gmem(0)


def blocks(x: Any, size: int, slots: int | None = None) -> Any:
    """Shared memory for blocks of an array."""
    lead = () if slots is None else (slots,)
    return matrix(x, (*lead, size, x.shape[3]))


def matrix(x: Any, shape: tuple[int, ...]) -> Any:
    """Shared memory for matrices of the dtype of ``x``, as matrix units read them."""
    transforms = (
        plgpu.TilingTransform((8, SWIZZLE // x.dtype.itemsize)),
        plgpu.SwizzleTransform(SWIZZLE),
    )
    return plgpu.SMEM(shape, x.dtype, transforms=transforms)


def row(size: int, slots: int | None = None) -> Any:
    lead = () if slots is None else (slots,)
    return plgpu.SMEM((*lead, size), jnp.float32)


def ids(heads: int, steps: int) -> tuple[Array, Array, Array]:
    """The example, the head and the block of a program."""
    program = lax.axis_index(_PROGRAM)
    rest, block = lax.div(program, np.int32(steps)), lax.rem(program, np.int32(steps))
    return lax.div(rest, np.int32(heads)), lax.rem(rest, np.int32(heads)), block


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
