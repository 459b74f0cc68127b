"""Calls of the kernels of Hopper GPUs, interpreted, and what they are to give."""

import threading
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formula, kernels
from jax.sharding import NamedSharding, PartitionSpec

import jaxdrop
from jaxdrop._attention import _dispatch, _flash

mosaic_gpu = pytest.importorskip("jax.experimental.pallas.mosaic_gpu")
needs_interpreter = pytest.mark.skipif(
    not hasattr(mosaic_gpu, "InterpretGPUParams"),
    reason="this JAX does not have the interpreter for Mosaic GPU",
)
_rng = np.random.default_rng(5)
BIAS = _rng.normal(size=(2, 2, 130, 133)).astype("float32")
MASK = _rng.random((2, 1, 130, 133)) < 0.4
CALLS = {  # queries, keys, heads, key heads, features, options
    "causal": (130, 133, 2, 1, 40, {"is_causal": True}),
    "plain": (130, 70, 2, 2, 128, {}),
    "window": (
        *(150, 100, 1, 1, 64),
        {"is_causal": True, "local_window_size": (30, 3), "scale": 0.3},
    ),
    "lengths": (140, 140, 2, 1, 64, {"key_value_seq_lengths": np.int32([0, 69])}),
    "mask": (130, 133, 2, 1, 64, {"mask": MASK, "is_causal": True}),
    "bias": (130, 133, 2, 1, 40, {"bias": BIAS}),
    "bias of all examples": (
        *(130, 133, 2, 1, 40),
        {"bias": BIAS[:1], "mask": MASK[:, :, :1], "is_causal": True},
    ),
    "bias of keys": (
        *(130, 133, 2, 2, 40),
        {"bias": BIAS[:, :1, :1], "mask": MASK[..., :1]},
    ),
    "bias of queries": (130, 133, 2, 2, 40, {"bias": BIAS[:1, ..., :1]}),
    "bias of few keys": (
        *(20, 70, 2, 1, 40),
        {"bias": BIAS[:, :1, :1, :70], "mask": MASK[:, :, :20, :1]},
    ),
    "wide": (130, 101, 2, 1, 136, {"is_causal": True}),
    "widest": (
        *(130, 101, 2, 1, 256),
        {"bias": BIAS[:1, :, :, :101], "mask": MASK[..., :101]},
    ),
    "widest of keys": (70, 133, 2, 1, 256, {"bias": BIAS[:, :1, :1]}),
    "short": (20, 70, 1, 1, 136, {"bias": BIAS[:1, :1, :20, :70]}),
}


def arrays_of(name, dtype, batch=2):
    """Arrays that are differentiated, and the other options."""
    *sizes, options = CALLS[name]
    arrays = formula.inputs(batch, *sizes)
    options = dict(options)
    if "bias" in options:
        arrays["bias"] = options.pop("bias")[:batch]
    if "mask" in options:
        options["mask"] = options["mask"][:batch]
    dtypes = dict.fromkeys(arrays, dtype) | {"bias": jnp.float32}
    return {name: jnp.asarray(x, dtypes[name]) for name, x in arrays.items()}, options


@pytest.fixture
def calls(monkeypatch):
    """Records what calls would compute."""
    found = []

    def attend(call, operands):
        found.append((call, operands))
        query = operands["query"]
        row = jnp.ones((query.shape[0], query.shape[2], query.shape[1]))
        return query, row, row

    monkeypatch.setattr(_dispatch, "attend", attend)
    return found


def in_kernels(call, operands, part):
    """Results of kernels by name, interpreted, inside ``jit``.

    The interpreter uses ordered callbacks, which JAX allows neither in lowering rules
    nor in differentiated functions; see :func:`on_the_host`.
    """
    found = _dispatch._in_kernels(
        *(call, "hopper", tuple(operands), (), part, *operands.values()),
        spread=False,
        interpret=mosaic_gpu.InterpretGPUParams(detect_races=True),
    )
    names = ("output", "weights", "top") if part == "attend" else part
    return dict(zip(names, found, strict=True))


def recorded(calls, key, floating, options):
    """A call and its operands."""
    given = dict(floating)
    arrays = [given.pop(name) for name in ("query", "key", "value")]
    with jax.disable_jit():
        jaxdrop.dot_product_attention(
            *(key, *arrays),
            **{"rate": 0.3, "implementation": "mosaic_gpu", **given, **options},
        )
    return calls.pop()


def attended(calls, key, floating, options):
    """The results of a call."""
    call, operands = recorded(calls, key, floating, options)
    return jax.jit(lambda x: in_kernels(call, x, "attend"))(operands)


def cotangent_of(query):
    cotangent = np.random.default_rng(1).normal(size=query.shape)
    return jnp.asarray(cotangent, query.dtype)


def outputs_and_gradients(call, operands, cotangent, wanted):
    """The output of a call, and the gradients of its wanted operands."""
    found = in_kernels(call, operands, "attend")
    change = {"d_output": cotangent, "d_weights": jnp.zeros_like(found["weights"])}
    given = operands | found | change
    return found["output"], in_kernels(call, given, wanted)


def assert_formula(calls, key, name, dtype, batch=2):
    floating, options = arrays_of(name, dtype, batch)
    call, operands = recorded(calls, key, floating, options)
    assert _flash.can_compute(operands, "hopper")
    cotangent = cotangent_of(operands["query"])
    got = jax.jit(
        lambda *x: outputs_and_gradients(call, *x, tuple(floating)),
    )(operands, cotangent)
    assert got[0].dtype == dtype
    assert_close(got, key, floating, options, cotangent)


def assert_close(got, key, floating, options, cotangent, precision=None):
    """The output and gradients are those of the formula in double precision."""
    cotangent = np.asarray(cotangent, "float64")
    wanted = kernels.expected(key, floating, options, cotangent)
    precision = precision or (0.03 if got[0].dtype == jnp.bfloat16 else 0.004)
    kernels.assert_close(got, wanted, {"rtol": precision, "atol": precision})


@pytest.fixture
def on_the_host(monkeypatch, interpreted):
    """Interprets the kernels of calls on CPUs in callbacks, one after another.

    JAX's interpreter uses ordered effects, which lowering rules do not allow, and has
    one state for all devices, which does not allow two to be at work.
    """
    interpreted("hopper")
    unit = pytest.importorskip("jaxdrop._attention._flash_warpgroup")
    call, taking_turns = unit.call, threading.Lock()
    params = mosaic_gpu.InterpretGPUParams(detect_races=True)

    def in_a_callback(body, programs, inputs, outputs, scratch, interpret):
        assert interpret
        shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in outputs]

        @jax.jit
        def kernel(*arrays):
            return call(body, programs, list(arrays), shapes, scratch, params)

        def run(*arrays):
            with taking_turns, jax.default_device(jax.devices("cpu")[-1]):
                return jax.block_until_ready(kernel(*map(np.asarray, arrays)))

        return jax.pure_callback(run, shapes, *inputs)

    monkeypatch.setattr(unit, "call", in_a_callback)


class PartitionedByShardMap:
    """A custom partitioning whose parts run in ``shard_map``.

    JAX does not find callbacks inside the parts that its compiler asks for.

    Args:
      mesh: the devices.
      spec: the sharding of the queries, the first array of four axes.
      run: the function that is partitioned.
    """

    def __init__(self, mesh, spec, run):
        self.mesh, self.spec = mesh, spec

    def def_partition(self, partition, **how):
        self.partition = partition

    def __call__(self, *arrays):
        queries = next(i for i, x in enumerate(arrays) if x.ndim == 4)
        arguments = [
            SimpleNamespace(
                sharding=NamedSharding(
                    self.mesh, self.spec if i == queries else PartitionSpec()
                )
            )
            for i in range(len(arrays))
        ]
        _, part, outputs, inputs = self.partition(self.mesh, arguments, None)
        specs = [tuple(x.spec for x in side) for side in (inputs, outputs)]
        return jax.shard_map(
            part, mesh=self.mesh, in_specs=specs[0], out_specs=specs[1], check_vma=False
        )(*arrays)
