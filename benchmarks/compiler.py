"""Compiling for an accelerator that is not there, and reading what a program costs.

XLA compiles for TPUs and NVIDIA GPUs without one, from a description of the device. The
compiled program says which kernels run, which arrays each of them reads and writes,
and, for TPUs, how many cycles the compiler expects. Nothing is run: all figures are the
compiler's, good for comparing programs, not for saying how long one takes.
"""

import dataclasses
import importlib.util
import math
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from hlo import Instruction, Module, elements, in_memory, parse, size, tuple_parts

TPUS = {"v4": "v4:2x2x1", "v5e": "v5e:2x2", "v5p": "v5p:2x2x1", "v6e": "v6e:2x2"}
"""Topologies of the smallest usual slices, by name."""

_GPU = """
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: {shared} shared_memory_per_block_optin: {optin}
  threads_per_core_limit: 2048 core_count: {cores} fpus_per_core: {units}
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  memory_bandwidth: {bandwidth} l2_cache_size: {cache} clock_rate_ghz: {clock}
  device_memory_size: {memory} device_address_bits: 64
  cuda_compute_capability {{ major: {major} feature_extension: {features} }}
  device_vendor: "NVIDIA Corporation" name: "{name}" ecc_enabled: true
  driver_version: "13.0.0" runtime_version: "12.9.0"
  compile_time_toolkit_version: "12.9.0" dnn_version: "9.10.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{name}"
"""
GPUS: dict[str, dict[str, Any]] = {
    "h100": {
        "name": "NVIDIA H100 80GB HBM3",
        "major": 9,
        "features": "ACCELERATED_FEATURES",
        "cores": 132,
        "units": 128,
        "shared": 233472,
        "optin": 232448,
        "bandwidth": 3352320000000,
        "cache": 52428800,
        "clock": 1.98,
        "memory": 84942979072,
    },
    "a100": {
        "name": "NVIDIA A100-SXM4-40GB",
        "major": 8,
        "features": "NONE",
        "cores": 108,
        "units": 64,
        "shared": 167936,
        "optin": 166912,
        "bandwidth": 1555200000000,
        "cache": 41943040,
        "clock": 1.41,
        "memory": 42331013120,
    },
}
"""What the makers' data sheets and CUDA's queries say of the devices, by name."""

TARGETS = (*TPUS, *GPUS)

LARGE = 2**16
"""The number of entries from which on shifts count as a hash of an array."""

_MIN_SHIFTS = 3  # a threshold takes one, a hash at least six
_FREE = frozenset(
    [
        "parameter",
        "constant",
        "tuple",
        "get-tuple-element",
        "bitcast",
        "after-all",
        "partition-id",
        "replica-id",
        "optimization-barrier",
    ]
)
_SLICES = frozenset(["slice", "dynamic-slice", "gather"])
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


class Unavailable(RuntimeError):
    """What is needed to compile for a target is not installed."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What the compiler says of a program.

    Attributes:
      kernels: how many kernels the program has; those of a loop count once. Copies
        beside kernels and a TPU's arithmetic on scalars are not among them.
      moved: bytes that kernels read from and write to the device's memory, each array
        once a kernel, times the iterations of its loop.
      temporary: bytes that the program holds besides its arguments and results.
      cycles: what the compiler expects, or None where it does not say.
      hash_cycles: those of ``cycles`` that kernels with hashes take.
      unestimated: kernels that are not in ``cycles``: those of Pallas.
      hashes: how many fusions compute hashes of large arrays.
      hashes_in_products: how many of these hold a matrix product or a convolution.
      seconds: of processors, over all threads, for compiling.
    """

    kernels: int = 0
    moved: int = 0
    temporary: int = 0
    cycles: int | None = None
    hash_cycles: int = 0
    unestimated: int = 0
    hashes: int = 0
    hashes_in_products: int = 0
    seconds: float = 0.0


def target(name: str) -> Any:
    """A device to compile for.

    Args:
      name: one of :data:`TARGETS`.

    Returns:
      A device of JAX, on which nothing runs.

    Raises:
      Unavailable: if its compiler is not installed.
    """
    if name in TPUS:
        if importlib.util.find_spec("libtpu") is None:
            raise Unavailable(
                f"compiling for {name} needs libtpu: "
                "pip install 'jaxdrop[examples,tpu-compile]'"
            )
        os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # not in Google's cloud
        os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
        os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
        os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
        topology = topologies.get_topology_desc(TPUS[name], platform="tpu")
    elif name in GPUS:
        plugins = ("jax_cuda12_plugin", "jax_cuda13_plugin")
        if not any(importlib.util.find_spec(plugin) for plugin in plugins):
            raise Unavailable(
                f"compiling for {name} needs JAX's plugin for CUDA: "
                "pip install 'jaxdrop[examples,gpu-compile]'"
            )
        topology = topologies.get_topology_desc(
            name,
            platform="cuda",
            topology="1x1x1",
            target_config=_GPU.format(**GPUS[name]),
        )
    else:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {name!r}.")
    return topology.devices[0]


def compile_for(
    device: Any, function: Callable[..., Any], arrays: Sequence[Any]
) -> tuple[Cost, str]:
    """Compiles a function of arrays.

    Args:
      device: from :func:`target`.
      function: what is compiled.
      arrays: what it is called with: a tree of ``jax.ShapeDtypeStruct``.

    Returns:
      What the program costs, and the program as text.
    """
    sharding = SingleDeviceSharding(device)
    placed = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding),
        tuple(arrays),
    )
    start = time.process_time()
    compiled = jax.jit(function).lower(*placed).compile()
    seconds = time.process_time() - start
    text = compiled.as_text()
    memory = compiled.memory_analysis()
    cost = count(text)
    return dataclasses.replace(
        cost, temporary=int(memory.temp_size_in_bytes), seconds=seconds
    ), text


def count(text: str) -> Cost:
    """Reads the costs from the text of a compiled program."""
    module = parse(text)
    return _of_computation(module, module.entry)


def _of_computation(module: Module, name: str) -> Cost:
    total = Cost()
    for instruction in module.computations[name].values():
        total = _plus(total, _of_instruction(module, name, instruction))
    return total


def _plus(a: Cost, b: Cost, times: int = 1) -> Cost:
    """``a`` with what runs ``times`` times after it."""
    cycles = None
    if a.cycles is not None or b.cycles is not None:
        cycles = (a.cycles or 0) + (b.cycles or 0) * times
    return Cost(
        kernels=a.kernels + b.kernels,
        moved=a.moved + b.moved * times,
        cycles=cycles,
        hash_cycles=a.hash_cycles + b.hash_cycles * times,
        unestimated=a.unestimated + b.unestimated,
        hashes=a.hashes + b.hashes,
        hashes_in_products=a.hashes_in_products + b.hashes_in_products,
    )


def _of_instruction(module: Module, within: str, this: Instruction) -> Cost:
    opcode = this.opcode
    if opcode in _FREE or opcode.endswith(("-done", "-update")):
        return Cost()
    if opcode == "while":
        body = _of_computation(module, this.called("body")[0])
        return _plus(Cost(), body, _trips(module, this))
    if opcode == "call":
        return _of_computation(module, this.called("to_apply")[0])
    if opcode == "conditional":
        names = this.called("true_computation", "false_computation", "branches")
        return max(
            (_of_computation(module, name) for name in names), key=lambda c: c.moved
        )
    if opcode == "async-start":
        return _of_computation(module, this.called("calls")[0])
    hidden = opcode.endswith("-start")  # runs beside kernels
    estimate = None if hidden else _CYCLES.search(this.attributes)
    cycles = int(estimate[1]) if estimate else None
    shifts, has_product = _hash(module, this)
    hashes = shifts >= _MIN_SHIFTS
    if '"ConcatBitcast"' in this.attributes:  # names slices as one array
        return Cost()
    return Cost(
        kernels=int(not hidden and "S(6)" not in this.shape),  # of scalars
        moved=_traffic(module, within, this),
        cycles=cycles,
        hash_cycles=(cycles or 0) if hashes else 0,
        unestimated=int(
            opcode == "custom-call" and "tpu_custom_call" in this.attributes
        ),
        hashes=int(hashes),
        hashes_in_products=int(hashes and has_product),
    )


def _trips(module: Module, loop: Instruction) -> int:
    """How often a loop runs: as the compiler knows, or the bound of its condition."""
    known = _TRIPS.search(loop.attributes)
    if known:
        return int(known[1])
    condition = module.computations[loop.called("condition")[0]]
    bounds = [
        int(this.arguments)
        for this in condition.values()
        if this.opcode == "constant" and this.arguments.isdigit()
    ]
    return max(bounds, default=1)


def _hash(module: Module, this: Instruction) -> tuple[int, bool]:
    """Shifts of large arrays of words in an instruction, and whether it multiplies."""
    shifts = int(
        this.opcode == "shift-right-logical"
        and this.shape.startswith("u32")
        and elements(this.shape) >= LARGE
    )
    has_product = this.opcode in ("dot", "convolution")
    if this.opcode == "fusion":
        for name in this.called("calls"):
            for inner in module.computations[name].values():
                more, also = _hash(module, inner)
                shifts, has_product = shifts + more, has_product or also
    return shifts, has_product


def _traffic(module: Module, within: str, this: Instruction) -> int:
    """Bytes that a kernel reads and writes: of an array that is sliced, the slice."""
    shapes = {n: i.shape for n, i in module.computations[within].items()}
    opcode = this.opcode.removesuffix("-start")
    if this.opcode == "copy-start":  # (destination, source, context)
        return sum(in_memory(part) for part in tuple_parts(this.shape)[:2])
    if opcode in _SLICES:
        whole = shapes[this.operands[0]]
        result = this.shape
        if this.opcode.endswith("-start"):
            result = tuple_parts(this.shape)[1]
        read = size(result) if in_memory(whole) else 0
        return read + in_memory(result)
    if opcode == "dynamic-update-slice":
        update = shapes[this.operands[1]]
        return in_memory(update) + (size(update) if in_memory(this.shape) else 0)
    operands = list(dict.fromkeys(this.operands))
    if opcode == "fusion":
        return _fusion_traffic(module, this, [shapes[name] for name in this.operands])
    return in_memory(this.shape) + sum(in_memory(shapes[name]) for name in operands)


def _fusion_traffic(module: Module, fusion: Instruction, given: list[str]) -> int:
    inner = module.computations[fusion.called("calls")[0]]
    views = _views(inner)
    written = in_memory(fusion.shape)
    in_place: set[str] = set()
    for this in inner.values():
        if this.opcode != "dynamic-update-slice" or not in_memory(fusion.shape):
            continue
        update = size(inner[this.operands[1]].shape)
        if size(this.shape) <= written:
            written += update - size(this.shape)
            in_place.add(views.get(this.operands[0], this.operands[0]))
    total, seen = max(written, 0), set()
    for name, this in inner.items():
        if this.opcode != "parameter":
            continue
        index = int(this.arguments)
        source = fusion.operands[index]
        if name in in_place or source in seen or not in_memory(given[index]):
            continue
        seen.add(source)
        total += _read_of(name, inner, views, given[index])
    return total


def _views(inner: dict[str, Instruction]) -> dict[str, str]:
    """Where the values of a fusion come from that are other views of one array."""
    origin: dict[str, str] = {}
    for name, this in inner.items():
        if this.opcode in ("bitcast", "reshape", "convert", "copy") and this.operands:
            origin[name] = origin.get(this.operands[0], this.operands[0])
    return origin


def _read_of(
    parameter: str, inner: dict[str, Instruction], views: dict[str, str], shape: str
) -> int:
    """Bytes read of a fusion's argument: all, unless only slices of it are used."""
    sliced = 0
    for name, this in inner.items():
        used = [views.get(operand, operand) for operand in this.operands]
        if name in views or parameter not in used:
            continue
        if this.opcode not in _SLICES or used.index(parameter) != 0:
            return in_memory(shape)
        sliced += size(this.shape)
    return min(sliced, in_memory(shape)) if sliced else in_memory(shape)


def least(function: Callable[..., Any], arrays: Sequence[Any]) -> int:
    """Bytes of what a function is given and gives: each has to be moved once."""
    results = jax.eval_shape(function, *arrays)
    return sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves((tuple(arrays), results))
        if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )
