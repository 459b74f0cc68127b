"""What kernels share, interpreted: traced rates and scales, and keys of any kind."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention.kernels import (
    attention,
    data,
)

from jaxdrop._attention import _flash
from jaxdrop._attention._call import Call


def test_a_key_without_counters_gives_the_plain_paths_mask():
    floating, _ = data("plain")
    key = jax.random.key(3, impl="rbg")
    plain, got = jax.jit(
        lambda *x: (attention(key, *x, implementation=None), attention(key, *x))
    )(*floating.values())
    np.testing.assert_allclose(got, plain, rtol=1e-5, atol=1e-6)


def test_a_traced_rate_compiles_once_and_is_nan_where_it_is_not_a_probability(key):
    arrays = list(data("plain")[0].values())
    attention(key, *arrays, rate=0.5)  # JAX 0.12 traces again after Pallas' first use

    @jax.jit
    def both(rate):
        attend = lambda a: attention(key, *a, rate=rate)
        y, pull = jax.vjp(attend, arrays)
        return y, pull(jnp.ones_like(y))[0]

    undropped = jax.jit(jax.nn.dot_product_attention)(*arrays)
    np.testing.assert_allclose(both(np.float32(0))[0], undropped, rtol=2e-5, atol=2e-6)
    assert not any(np.any(x) for x in jax.tree.leaves(both(np.float32(1))))
    for rate in (np.nan, 1.5, -1e-9):
        assert all(np.isnan(x).all() for x in jax.tree.leaves(both(np.float32(rate))))
    assert both._cache_size() == 1


@pytest.mark.slow
def test_the_scale_may_be_learned_and_no_gradient_flows_into_the_rate(key):
    arrays = list(data("plain")[0].values())

    def loss(scale, rate, implementation):
        y = attention(
            key, *arrays, rate=rate, scale=scale, implementation=implementation
        )
        return jnp.sin(y).sum()

    for scale in (0.4, 0.0):
        at = jnp.float32(scale), jnp.float32(0.3)
        got, plain = (jax.grad(loss, (0, 1))(*at, name) for name in ("pallas", None))
        np.testing.assert_allclose(got[0], plain[0], rtol=1e-4)
        assert got[1] == plain[1] == 0


def test_where_nothing_is_dropped_it_is_jaxs_attention():
    arrays = list(data("plain")[0].values())
    ours = jax.make_jaxpr(lambda *x: attention(None, *x, rate=0))(*arrays)
    jaxs = jax.make_jaxpr(jax.nn.dot_product_attention)(*arrays)
    assert str(ours) == str(jaxs)


@pytest.mark.parametrize("kind", ["tpu", "gpu", "hopper"])
def test_tiles_of_compiled_kernels_are_powers_of_two_of_no_more_than_the_length(kind):
    shapes = dict.fromkeys(("query", "key"), (1, 384, 1, 16))
    facts = {"is_causal": False, "window": None, "hash": None, "precision": None}
    facts |= {"shared": (False,) * 4, "devices": 1}
    facts |= {"in_kernels": False, "mosaic_gpu": False}
    least = _flash._LEAST_BLOCKS[kind]
    for given in (None, 1, 16, 96, 128, 200, 384, 5000):
        for block in ((given, None), (None, given)):
            call = Call(block=block, **facts)
            sizes = _flash._kernel(call, kind, shapes, False).block
            assert all(n & (n - 1) == 0 and n <= 512 for n in sizes), sizes
            assert all(n >= m for n, m in zip(sizes, least, strict=True)), sizes
            chosen = 64 if kind == "hopper" else max(given or 0, 1)
            assert max(sizes) >= min(chosen, 384)


def uses(**changes):
    """The kernels of a call with 256 queries and keys on GPUs."""
    how = {"dtype": jnp.bfloat16, "features": 64, "requested": False, "more": ()}
    how |= changes
    x = jax.ShapeDtypeStruct((1, 256, 2, how["features"]), how["dtype"])
    operands = dict.fromkeys(("query", "key", "value", *how["more"]), x)
    call = SimpleNamespace(in_kernels=False, mosaic_gpu=how["requested"])
    return _flash.kind_of(call, operands, "cuda", "tpu")


@pytest.fixture
def hopper(monkeypatch):
    """Pretends that there is a Hopper GPU."""
    found = [SimpleNamespace(compute_capability="9.0")]
    monkeypatch.setattr(jax, "devices", lambda platform: found)
    return found[0]


needs_mosaic = pytest.mark.skipif(
    _flash.available("hopper") is False,
    reason="this JAX does not have the interpreter for Mosaic GPU",
)


@needs_mosaic
def test_which_kernels_a_gpu_uses(monkeypatch, hopper):
    triton = pytest.importorskip("jaxdrop._attention._flash_gpu")
    monkeypatch.setattr(triton, "available", lambda: True)
    assert uses() == "gpu"
    assert uses(requested=True) == "hopper"
    for change in ({"features": 256}, {"more": ("bias", "mask")}):
        assert uses(requested=True, **change) == "hopper"
    assert uses(requested=True, dtype=jnp.float32) == "gpu"


@needs_mosaic
def test_which_kernels_a_gpu_uses_without_triton(hopper, without_triton):
    assert uses() == uses(requested=True) == "hopper"
    assert uses(dtype=jnp.float32) is None


WITHOUT_WARPGROUPS = ["8.0", "8.9", "10.0", "10.3", "12.0"]  # Blackwell from 10 on


@pytest.mark.whole
@needs_mosaic
@pytest.mark.parametrize("capability", WITHOUT_WARPGROUPS)
def test_other_gpus_than_hopper_never_use_its_kernels(monkeypatch, hopper, capability):
    triton = pytest.importorskip("jaxdrop._attention._flash_gpu")
    monkeypatch.setattr(triton, "available", lambda: True)
    hopper.compute_capability = capability
    assert uses() == uses(requested=True) == "gpu"


@pytest.mark.whole
@needs_mosaic
@pytest.mark.parametrize("capability", WITHOUT_WARPGROUPS)
def test_other_gpus_than_hopper_use_loops_without_triton(
    hopper, capability, without_triton
):
    hopper.compute_capability = capability
    assert uses() is uses(requested=True) is None


@pytest.mark.whole
@needs_mosaic
@pytest.mark.parametrize(
    "name, kernels",
    [
        *(("NVIDIA H100 80GB HBM3", "hopper"), ("NVIDIA GH200 480GB", "hopper")),
        *(("NVIDIA B200", None), ("NVIDIA GB200", None), ("NVIDIA L4", None)),
    ],
)
def test_the_gpu_that_is_compiled_for_decides(name, kernels, without_triton):
    device = jax.sharding.AbstractDevice(name, num_cores=None, platform="gpu")
    mesh = jax.sharding.AbstractMesh((1,), ("data",), abstract_device=device)
    with jax.sharding.use_abstract_mesh(mesh):
        assert uses() == uses(requested=True) == kernels


@needs_mosaic
def test_without_a_gpu_kernels_of_mosaic_are_used_on_request_alone(without_triton):
    assert uses() is None
    assert uses(requested=True) == "hopper"


@pytest.mark.parametrize("platform", ["tpu", "gpu", "hopper"])
def test_what_no_kernel_of_a_platform_computes(platform):
    def computes(features=64, keys=16, dtype=jnp.bfloat16):
        kind = lambda n: jax.ShapeDtypeStruct((1, n, 1, features), dtype)
        operands = {"query": kind(16), "key": kind(keys), "value": kind(keys)}
        return _flash.can_compute(operands, platform)

    (some,) = jax.export.symbolic_shape("keys")
    assert computes() and computes(features=256)
    assert not computes(features=257)
    assert not computes(keys=some)
    assert computes(dtype=jnp.float32) == (platform != "hopper")
    assert computes(dtype=jnp.float16) == (platform != "tpu")
