"""Flash attention kernels: when they apply, their operands and their results."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop import _masks
from jaxdrop._attention import _flash_spread
from jaxdrop._attention._arguments import MOST_FEATURES
from jaxdrop._attention._call import Call, Operands, Shapes
from jaxdrop._attention._flash_tile import Kernel, Numbers
from jaxdrop._attention._tiles import MASKED
from jaxdrop._typing import Array

_MOST_KEPT = 32 << 20  # bytes of gradients of a head in the fast memory of a TPU
_LEAST = 128  # the least number of queries and keys for which kernels are the default
_DTYPES = {
    "tpu": ("float32", "bfloat16"),
    "gpu": ("float32", "bfloat16", "float16"),
    "hopper": ("bfloat16", "float16"),
}
_BLOCKS = {"tpu": (512, 512), "gpu": (64, 64), "hopper": (64, 64)}
_LEAST_BLOCKS = {"tpu": (128, 128), "gpu": (16, 16), "hopper": (64, 64)}
_FIXED_BLOCKS = ("hopper",)  # a warpgroup computes products of 64 rows
KINDS = {"tpu": ("tpu",), "cuda": ("gpu", "hopper")}
"""The kernels of each platform of JAX.

For GPUs ``"gpu"`` are those of Pallas' Triton backend, where JAX still has it, and
``"hopper"`` those of Mosaic GPU, on request or where the former cannot be compiled.
"""


def kind_of(
    call: Call, operands: Operands, platform: str, interpreted: str
) -> str | None:
    """The kernels that a call uses on a platform of JAX, or None if there are none.

    Other platforms than those of :data:`KINDS` use those that are ``interpreted``.
    """
    if platform not in KINDS:
        return interpreted if _applies(call, operands, interpreted) else None
    kinds = KINDS[platform]
    for kind in reversed(kinds) if call.mosaic_gpu else kinds:
        if _applies(call, operands, kind):
            here = available(kind)
            if here or (here is None and call.mosaic_gpu):
                return kind
    return None


def can_compute(operands: Operands, kind: str) -> bool:
    """Whether kernels of a kind can compute attention for these operands."""
    query = operands["query"]
    symbolic = jax.export.is_symbolic_dim
    if any(symbolic(n) for x in operands.values() for n in x.shape):
        return False
    if query.dtype.name not in _DTYPES[kind] or query.shape[3] > MOST_FEATURES:
        return False
    kept = 8 * operands["key"].shape[1] * max(128, query.shape[3])
    return kind != "tpu" or kept <= _MOST_KEPT


def available(kind: str) -> bool | None:
    """Whether the installed JAX can compile kernels of a kind here.

    None where that depends on the device, which is not known; the caller may know it.
    """
    try:
        module = _backend(kind)
    except ImportError:  # this JAX does not have the backend
        return False
    found: bool | None = module.available()
    return found


def _applies(call: Call, operands: Operands, kind: str) -> bool:
    """Whether kernels are used: by default for long sequences, or on request."""
    if not can_compute(operands, kind):
        return False
    lengths = operands["query"].shape[1], operands["key"].shape[1]
    return call.in_kernels or min(lengths) >= _LEAST


def attend(
    call: Call,
    kind: str,
    shapes: Shapes,
    operands: Operands,
    *,
    spread: bool,
    interpret: bool,
) -> Operands:
    """Computes the results that :data:`_call.OUTPUTS` names in kernels.

    Args:
      call: the static facts about the call.
      kind: the kernels, ``"tpu"``, ``"gpu"`` or ``"hopper"``.
      shapes: the shapes of the arrays of one call, by name.
      operands: its arrays. Those of several mapped calls have the examples of all calls
        along the batch axis, and a ``scale``, ``keep`` and ``words`` for each call.
      spread: whether the compiler may shard the arrays over devices.
      interpret: whether to interpret the kernels.
    """
    kernel = _kernel(call, kind, shapes, interpret)
    run = partial(_attend, kernel, kind, interpret)
    prepared = _prepared(call, shapes, operands)
    name = f"{kind}, {call.precision}, {kernel.name}"
    return _flash_spread.over_devices(
        run, prepared, _RESULTS, spread=spread, kernel=name
    )


_RESULTS = {"output": "query", "weights": "row", "top": "row"}


def pull(
    call: Call,
    kind: str,
    shapes: Shapes,
    operands: Operands,
    wanted: tuple[str, ...],
    *,
    spread: bool,
    interpret: bool,
) -> Operands:
    """Gradients of the wanted operands, by name, from those of the results (a VJP).

    Args:
      call: the static facts about the call.
      kind: the kernels, ``"tpu"``, ``"gpu"`` or ``"hopper"``.
      shapes: the shapes of the arrays of one call, by name.
      operands: its arrays, the results of :func:`attend`, and ``d_output`` and
        ``d_weights``.
      wanted: the names of operands.
      spread: whether the compiler may shard the arrays over devices.
      interpret: whether to interpret the kernels.
    """
    kernel = _kernel(call, kind, shapes, interpret)
    prepared = _prepared(call, shapes, operands) | {
        name: operands[name]
        for name in ("output", "weights", "top", "d_output", "d_weights")
    }
    run = partial(_pull, kernel, kind, interpret, wanted)
    results = {name: name for name in ("query", "key", "value")}
    if "bias" in wanted:
        results["bias"] = "bias"
    if "scale" in wanted:
        results["scale"] = "sum"
    name = f"{kind}, {call.precision}, {kernel.name}, {', '.join(wanted)}"
    found = _flash_spread.over_devices(
        run, prepared, results, spread=spread, kernel=name
    )
    if "scale" in wanted:
        found["scale"] = found["scale"].sum(1).astype(operands["scale"].dtype)
    return found


def _kernel(call: Call, kind: str, shapes: Shapes, interpret: bool) -> Kernel:
    """The static facts for the kernels of a call."""
    _, heads, queries, keys = call.weights(shapes)
    drawn = call.drawn(shapes)
    lengths = (queries, keys)
    blocks = [
        given
        if given and interpret  # on request alone, for which sizes are checked
        # Where loops take any size, compiled kernels take one that they can.
        else _power_of_two(min(given or most, length), least)
        for given, most, least, length in zip(
            (None, None) if kind in _FIXED_BLOCKS else call.block,
            _BLOCKS[kind],
            _LEAST_BLOCKS[kind],
            lengths,
            strict=True,
        )
    ]
    window = call.window
    if window is not None:
        window = min(window[0], max(lengths)), min(window[1], max(lengths))
    return Kernel(
        queries=queries,
        keys=keys,
        group=heads // shapes["key"][2],
        block=(blocks[0], blocks[1]),
        is_causal=call.is_causal,
        window=window,
        has_lengths="lengths" in shapes,
        hash=call.hash,
        drawn=(drawn[2] > 1, drawn[3] > 1),
        wide=int(np.prod([int(size) for size in drawn], dtype=object)) > 1 << 32,
        skips=True,
    )


def _prepared(call: Call, shapes: Shapes, operands: Operands) -> Operands:
    """The operands of the kernels; numbers of examples and heads are stacked.

    ``whole`` and ``real`` have one row for each example, see
    :class:`_flash_tile.Numbers`; all arrays so keep an axis of examples or heads along
    which they can be sharded.
    """
    each, heads, _, keys = call.weights(shapes)
    drawn = call.drawn(shapes)
    words, keep, scale = (operands[name] for name in ("words", "keep", "scale"))
    calls = words.size // 2
    keep = keep.reshape(-1).astype(jnp.float32)
    lengths = jnp.full(each * calls, keys, jnp.int32)
    if "lengths" in operands:
        lengths = jnp.clip(operands["lengths"], 0, keys)
    whole = [*words.reshape(-1, 2).T, _masks.threshold_of(keep)]
    whole = [jnp.repeat(x.astype(jnp.uint32), each) for x in whole]
    inverse = jnp.where(keep == 0, 0, 1 / jnp.where(keep == 0, 1, keep))
    scale = jnp.broadcast_to(scale.reshape(-1).astype(jnp.float32), keep.shape)
    real = [scale, inverse, keep]
    example = jnp.arange(each, dtype=jnp.uint32) * np.uint32(drawn[1] * drawn[2])
    head = jnp.arange(heads, dtype=jnp.uint32) * np.uint32(drawn[2])
    prepared = {
        "whole": jnp.stack([*whole, lengths.astype(jnp.uint32)], 1),
        "real": jnp.stack([jnp.repeat(x, each) for x in real], 1),
        "examples": jnp.tile(example, calls) * np.uint32(drawn[0] > 1),
        "heads": head * np.uint32(drawn[1] > 1),
    }
    for name in ("query", "key", "value", "bias"):
        if name in operands:
            prepared[name] = operands[name]
    if "mask" in operands:
        prepared["mask"] = operands["mask"].astype(jnp.int8)
    return prepared


def _attend(kernel: Kernel, kind: str, interpret: bool, operands: Operands) -> Operands:
    """Attends on one device, to its examples and heads."""
    module, kernel = _backend(kind), _local(kernel, operands)
    arrays = [module.laid_out(kernel, operands[name], name) for name in _INPUTS]
    extra, numbers = _extra(module, kernel, operands), _numbers(operands)

    def run(kernel: Kernel) -> tuple[Array, Array, Array]:
        found: tuple[Array, Array, Array]
        found = module.forward(kernel, numbers, *arrays, extra, interpret=interpret)
        return found

    output, weights, top = run(kernel)
    if _may_be_fully_masked(kernel, operands):
        # A query whose keys are all masked attends to all of them equally, including
        # those in tiles that were skipped; so nothing is skipped then.
        fully_masked = (top[..., : kernel.queries] <= MASKED).any()
        dense = dataclasses.replace(kernel, skips=False)
        output, weights, top = lax.cond(
            fully_masked, lambda: run(dense), lambda: (output, weights, top)
        )
    rows = (top.shape[0], top.shape[1], -1)
    return {
        "output": module.laid_back(kernel, output, operands["query"]),
        "weights": weights.reshape(rows)[..., : kernel.queries],
        "top": top.reshape(rows)[..., : kernel.queries],
    }


def _pull(
    kernel: Kernel,
    kind: str,
    interpret: bool,
    wanted: tuple[str, ...],
    operands: Operands,
) -> Operands:
    """Gradients on one device, for its examples and heads."""
    module, kernel = _backend(kind), _local(kernel, operands)
    arrays = [module.laid_out(kernel, operands[name], name) for name in _INPUTS]
    narrow = operands["query"].dtype
    change = operands["d_output"].astype(narrow)
    arrays.append(module.laid_out(kernel, change, "query"))
    # Padding: with a largest logit of infinity, the weights of queries beyond the last
    # one are 0, for any bias.
    beyond = (0.0, np.inf, 0.0)
    rows = zip(_rows(operands), beyond, strict=True)
    arrays += [module.row(kernel, x, number) for x, number in rows]
    extra = _extra(module, kernel, operands)
    numbers = _numbers(operands, unscaled="scale" in wanted)

    def run(kernel: Kernel) -> tuple[Array, ...]:
        found: tuple[Array, ...] = module.backward(
            kernel, numbers, tuple(arrays), extra, interpret=interpret
        )
        if "bias" in wanted:
            found += (
                module.bias_gradient(
                    kernel, numbers, tuple(arrays), extra, interpret=interpret
                ),
            )
        return found

    if _may_be_fully_masked(kernel, operands):
        fully_masked = (operands["top"] <= MASKED).any()
        dense = dataclasses.replace(kernel, skips=False)
        found = lax.cond(fully_masked, lambda: run(dense), lambda: run(kernel))
    else:
        found = run(kernel)
    gradients = {
        name: module.laid_back(kernel, x, operands[name])
        for name, x in zip(_INPUTS, found, strict=False)
    }
    if "bias" in wanted:
        bias = operands["bias"]
        cut = tuple(slice(size) for size in bias.shape)
        gradients["bias"] = found[3][cut].astype(bias.dtype)
    if "scale" in wanted:
        scale = operands["real"][:, 0]
        total = gradients["query"].astype(jnp.float32)
        total = (total * operands["query"].astype(jnp.float32)).sum((1, 3))
        gradients["scale"] = total
        for name in ("query", "key"):
            scaled = gradients[name] * scale[:, None, None, None]
            gradients[name] = scaled.astype(gradients[name].dtype)
    return gradients


_INPUTS = ("query", "key", "value")


def _rows(operands: Operands) -> list[Array]:
    """For each query: the inverse sum of weights, the largest logit, and the share.

    The gradient of a logit is ``weight * (gradient of the dropped weight - share)``,
    where the share is the same for all keys: the product of ``output`` and ``d_output``
    over features, less ``weights * d_weights``, which is 0 except in higher
    derivatives. It is multiplied by the probability of keeping here, since the kernels
    divide the whole gradient by it at the end.
    """
    output, change, weights, of_weights = (
        operands[name].astype(jnp.float32)
        for name in ("output", "d_output", "weights", "d_weights")
    )
    share = (output * change).sum(3).swapaxes(1, 2) - weights * of_weights
    keep = operands["real"][:, 2]
    return [1 / weights, operands["top"], share * keep[:, None, None]]


def _local(kernel: Kernel, operands: Operands) -> Kernel:
    """The kernel for the heads of one device, which may have another group size."""
    group = operands["query"].shape[2] // operands["key"].shape[2]
    return dataclasses.replace(kernel, group=group)


def _extra(module: Any, kernel: Kernel, operands: Operands) -> Operands:
    """Bias and mask, if given, in the layout of the kernels."""
    return {
        name: module.laid_out(kernel, operands[name], name)
        for name in ("bias", "mask")
        if name in operands
    }


def _numbers(operands: Operands, *, unscaled: bool = False) -> Any:
    """The scalars of the kernels.

    Args:
      operands: the operands of the kernels.
      unscaled: whether gradients are not multiplied by the scale of the logits. The
        gradient of the scale is computed from such gradients.
    """
    names = ("whole", "real", "examples", "heads")
    whole, real, examples, heads = (operands[name] for name in names)
    scale, inverse = real[:, 0], real[:, 1]
    factor = jnp.ones_like(scale) if unscaled else scale
    real = jnp.stack([scale, inverse, factor * inverse], 1)
    return Numbers(whole.reshape(-1), real.reshape(-1), examples, heads)


def _may_be_fully_masked(kernel: Kernel, operands: Operands) -> bool:
    """Whether all keys in the tiles that are not skipped may be masked for a query."""
    if not kernel.masks:
        return False
    beyond = kernel.window is not None and (
        kernel.queries - 1 - kernel.window[0] > kernel.keys - 1
    )
    return beyond or kernel.has_lengths or bool({"mask", "bias"} & operands.keys())


def _backend(kind: str) -> Any:
    """The module with the kernels of a kind, imported on first use with Pallas."""
    if kind == "tpu":
        from jaxdrop._attention import _flash_tpu

        return _flash_tpu
    if kind == "hopper":
        from jaxdrop._attention import _flash_hopper

        return _flash_hopper
    from jaxdrop._attention import _flash_gpu

    return _flash_gpu


def _power_of_two(length: int, least: int) -> int:
    return max(least, 1 << (length - 1).bit_length())
