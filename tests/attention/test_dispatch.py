"""Attention as a primitive: what stands in programs, and what it is lowered to."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formula
from attention.kernels import SLOW
from attention.kernels import attention as in_kernels
from attention.kernels import data as data_of
from jax import export

import jaxdrop
from chance import normal
from jaxdrop._attention import _dispatch, _flash

attention = jaxdrop.dot_product_attention
LENGTHS = (24, 24)


def data(features=4, dtype=jnp.float32):
    """Queries, keys and values of two examples with four heads on two key heads."""
    arrays = formula.inputs(2, *LENGTHS, 4, 2, features)
    return [jax.device_put(x.astype(dtype)) for x in arrays.values()]


def test_the_technique_and_its_bits_stand_in_the_program(key):
    jaxpr = str(jax.make_jaxpr(lambda *x: attention(key, *x, rate=0.5))(*data()))
    assert "jaxdrop.dot_product_attention" in jaxpr
    assert "jaxdrop_attention" in jaxpr and "draws=(2, 4, " in jaxpr


@pytest.mark.parametrize(
    "dtype",
    # The others are lowered for one platform at a time below and in test_flash_spread.
    [jnp.float16, *(pytest.param(d, marks=SLOW) for d in (jnp.float32, jnp.bfloat16))],
)
def test_training_lowers_for_every_platform(dtype):
    def loss(key, *arrays):
        y = attention(key, *arrays, rate=0.1, is_causal=True)
        return y.astype(jnp.float32).sum()

    key = jax.eval_shape(jax.random.key, 0)
    exported = export.export(
        jax.jit(jax.grad(loss, argnums=(1, 2, 3))), platforms=("cpu", "cuda", "tpu")
    )(key, *data(dtype=dtype))
    assert exported.platforms == ("cpu", "cuda", "tpu")


def test_under_vmap_each_row_has_the_mask_of_its_own_call(key):
    floating, options = data_of("causal")
    rows = [np.stack([x, 2 * x]) for x in map(np.asarray, floating.values())]
    keys = jax.random.split(key, 2)

    def loss(key, rate, *arrays):
        return jnp.sin(in_kernels(key, *arrays, **options | {"rate": rate})).sum()

    gradient = jax.value_and_grad(loss, (2, 3, 4))
    axes = (0, 0, 0, None, 0)
    rates, key_ = np.float32([0.3, 0.6]), rows[1][0]
    got = jax.jit(jax.vmap(gradient, axes))(keys, rates, rows[0], key_, rows[2])
    alone = jax.jit(gradient)
    for row in range(2):
        own = alone(keys[row], rates[row], rows[0][row], key_, rows[2][row])
        for a, b in zip(*map(jax.tree.leaves, (got, own)), strict=True):
            np.testing.assert_allclose(a[row], b, rtol=1e-5, atol=1e-5)


MAPPED = {  # the bias, the scale and the mask: whether each is mapped, and its shape
    "shared bias": ((None, None, None), (1, 4, 24, 24), None),
    "mapped bias": ((0, None, None), (3, 1, 4, 24, 24), None),
    "shared mask": ((None, None, None), (1, 1, 1, 24), (1, 4, 24, 24)),
    "mapped mask": ((None, None, 0), (2, 1, 24, 1), (3, 1, 1, 24, 24)),
    "mapped scale": ((None, 0, None), (1, 1, 24, 24), None),
}


@pytest.mark.parametrize(
    "name",
    ["shared bias", *(pytest.param(n, marks=SLOW) for n in [*MAPPED][1:])],
)
def test_under_vmap_each_call_has_gradients_of_its_own(key, name):
    axes, bias, mask = MAPPED[name]
    draw = lambda i, shape: np.asarray(normal(*shape, seed=i))
    arrays = [np.stack([x, 2 * x, -x]) for x in map(np.asarray, data())]
    arrays += [
        draw(1, bias),
        np.float32([0.1, 0.2, 0.3])[: 3 if axes[1] == 0 else 1].squeeze(),
        None if mask is None else draw(2, mask) > -1,
    ]

    def gradient(implementation):
        def loss(key, query, key_, value, bias, scale, mask):
            knobs = {"bias": bias, "scale": scale, "mask": mask}
            y = in_kernels(
                *(key, query, key_, value), **knobs, implementation=implementation
            )
            return jnp.sin(y).sum()

        of_one = jax.grad(loss, (1, 2, 3, 4, 5))
        return jax.jit(jax.vmap(of_one, (0, 0, 0, 0, *axes)))

    keys = jax.random.split(key, 3)
    got, plain = (gradient(name)(keys, *arrays) for name in ("pallas", None))
    for a, b in zip(got, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@SLOW
def test_higher_derivatives_and_those_forward_are_the_plain_paths(key):
    arrays = list(data_of("plain")[0].values())

    def loss(query, implementation):
        y = in_kernels(key, query, *arrays[1:], implementation=implementation)
        return jnp.sin(y).sum()

    direction = jnp.cos(arrays[0])

    def second(query, implementation):
        own = lambda query: loss(query, implementation)

        def first(query):
            change = jax.jvp(own, (query,), (direction,))[1]
            return change + jax.grad(own)(query).sum()

        return jax.grad(first)(query)

    got, plain = (second(arrays[0], name) for name in ("pallas", None))
    np.testing.assert_allclose(got, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "platform, target", [("tpu", "@tpu_custom_call"), ("cuda", "gpu.triton")]
)
def test_it_is_chosen_for_the_platform_that_a_program_is_lowered_for(
    key, platform, target, recwarn
):
    def loss(key, *arrays):
        y = jaxdrop.dot_product_attention(key, *arrays, rate=0.1, is_causal=True)
        return y.astype(jnp.float32).sum()

    shape = jax.ShapeDtypeStruct((1, 256, 2, 64), jnp.bfloat16)
    short = jax.ShapeDtypeStruct((1, 32, 2, 64), jnp.bfloat16)
    step = jax.jit(jax.grad(loss, (1, 2, 3)))
    count = {}
    for x in (shape, short):
        traced = step.trace(key, x, x, x)
        program = traced.lower(lowering_platforms=(platform,)).as_text()
        count[x.shape[1]] = program.count(target)
    kernels = {"tpu": 2, "cuda": 3 if _flash.available("gpu") else 0}
    assert count == {256: kernels[platform], 32: 0}
    assert not [w for w in recwarn if "Triton" in str(w.message)]
    exported = jax.export.export(step, platforms=("cpu", platform))(key, *[shape] * 3)
    assert exported.platforms == ("cpu", platform)


def test_the_facts_about_devices_are_where_they_are_looked_for(key, monkeypatch):
    """JAX does not promise them; without them kernels would not be sharded."""
    contexts = []

    def look(context):
        contexts.append(context.module_context)
        raise InterruptedError  # nothing has to be lowered after it

    monkeypatch.setattr(_dispatch, "_spreading", look)
    mesh = jax.make_mesh((2,), ("data",), (jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    sharded = (jax.sharding.NamedSharding(mesh, spec),) * 3
    run = lambda *x: attention(key, *x, rate=0.5, implementation="pallas")
    mapped = jax.shard_map(run, mesh=mesh, in_specs=spec, out_specs=spec)
    for lower in (
        jax.jit(run, in_shardings=sharded).lower,
        jax.jit(mapped).lower,
        export.export(jax.jit(run)),
    ):
        with pytest.raises(InterruptedError):
            lower(*data())
    compiled, manual, exported = contexts
    assert compiled.axis_context.num_devices == 2
    assert len(compiled.axis_context.device_assignment) == 2
    assert manual.axis_context.manual_axes == {"data"}
    assert manual.axis_context.mesh.axis_names == ("data",)
    found = [c.lowering_parameters.for_export for c in (compiled, exported)]
    assert found == [False, True]


@pytest.mark.parametrize(
    "platform, target", [("tpu", "@tpu_custom_call"), ("cuda", "gpu.triton")]
)
@pytest.mark.parametrize("size", [8, (128, 96), (None, 2000)])
def test_kernels_take_every_block_size_that_loops_take(key, platform, target, size):
    if platform == "cuda" and not _flash.available("gpu"):
        pytest.skip("this JAX does not have the kernels of Triton")
    x = jax.ShapeDtypeStruct((1, 256, 1, 16), jnp.bfloat16)
    attend = lambda *arrays: attention(key, *arrays, rate=0.3, block_size=size)
    traced = jax.jit(attend).trace(x, x, x)
    assert target in traced.lower(lowering_platforms=(platform,)).as_text()


def program_for_gpus(key, implementation=None, dtype=jnp.bfloat16):
    """Attention of 256 queries and keys, lowered where there is no GPU."""
    x = jax.ShapeDtypeStruct((1, 256, 2, 64), dtype)
    how = {"rate": 0.1, "implementation": implementation}
    traced = jax.jit(lambda key, *x: attention(key, *x, **how)).trace(key, x, x, x)
    return traced.lower(lowering_platforms=("cuda",)).as_text()


def test_without_triton_programs_still_lower_for_gpus(key, without_triton):
    assert "mosaic_gpu" not in program_for_gpus(key)


@pytest.mark.skipif(
    _flash.available("hopper") is False,
    reason="this JAX does not have the interpreter for Mosaic GPU",
)
def test_kernels_for_mosaic_gpu_are_used_on_request_alone(key):
    assert program_for_gpus(key, "mosaic_gpu").count("@mosaic_gpu") == 1
    for implementation in ("pallas", None):
        assert "@mosaic_gpu" not in program_for_gpus(key, implementation)


def assert_lowered_from_float32(key, implementation, kernels):
    """To Triton's kernels, or to loops; never to kernels that would round to TF32."""
    program = program_for_gpus(key, implementation, jnp.float32)
    assert "@mosaic_gpu" not in program
    assert program.count("gpu.triton") == kernels
    assert ("stablehlo.dot_general" in program) == (kernels == 0)


REQUESTS = [None, "pallas", "mosaic_gpu"]


@pytest.mark.parametrize("implementation", REQUESTS)
def test_float32_lowers_for_gpus_to_the_kernels_of_triton(key, implementation):
    kernels = 1 if _flash.available("gpu") else 0
    assert_lowered_from_float32(key, implementation, kernels)


@pytest.mark.parametrize("implementation", REQUESTS)
def test_float32_lowers_for_gpus_to_loops_without_triton(
    key, implementation, without_triton
):
    assert_lowered_from_float32(key, implementation, 0)


def test_importing_the_library_does_not_import_its_kernels():
    backends = ("triton", "tpu", "mosaic_gpu")
    names = tuple(f"jax.experimental.pallas.{name}" for name in backends)
    code = f"import sys, jaxdrop; print([n for n in {names} if n in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
