"""Spread over devices along examples and heads, each computes its own part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formula
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxdrop
from jaxdrop._attention import _plan

COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute")
SPREAD = PartitionSpec("data", None, "model")


def mesh_of(kind):
    return jax.make_mesh((2, 4), ("data", "model"), axis_types=(kind, kind))


def outputs_and_gradients(key, arrays):
    def attend(*arrays):
        return jaxdrop.dot_product_attention(
            key, *arrays, rate=0.3, is_causal=True, block_size=16
        )

    y, pull = jax.vjp(attend, *arrays)
    return y, *pull(jnp.cos(y))


@pytest.mark.parametrize(
    "kind", [pytest.param(AxisType.Auto, marks=pytest.mark.slow), AxisType.Explicit]
)
def test_same_result_without_a_word_between_devices(monkeypatch, key, kind):
    monkeypatch.setattr(_plan, "_TILE_ENTRIES", {"cpu": 1 << 8})  # loops over rows
    arrays = [jax.device_put(x) for x in formula.inputs(4, 32, 32, 8, 4, 8).values()]
    alone = jax.jit(outputs_and_gradients).lower(key, arrays).compile()
    mesh = mesh_of(kind)
    with jax.set_mesh(mesh):
        spread = [jax.device_put(x, NamedSharding(mesh, SPREAD)) for x in arrays]
        together = jax.jit(outputs_and_gradients).lower(key, spread).compile()
        got = together(key, spread)

    for a, b in zip(got, alone(key, arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        assert a.sharding.spec[0] == "data" and a.sharding.spec[2] == "model"
    text = together.as_text()
    assert not [c for c in COLLECTIVES if f"{c}(" in text or f"{c}-start(" in text]
    whole, part = (c.cost_analysis()["flops"] for c in (alone, together))
    assert part < 0.2 * whole  # an eighth, and what is computed once


def test_within_shard_map_each_shard_has_the_mask_of_its_key(key):
    arrays = list(formula.inputs(2, 24, 24, 2, 2, 4).values())
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))

    def attend(index, *arrays):
        return jaxdrop.dot_product_attention(
            *(jax.random.fold_in(key, index), *arrays),
            **{"rate": 0.3, "is_causal": True, "block_size": 8},
        )

    def shard(*arrays):
        return attend(jax.lax.axis_index("data"), *arrays)

    spec = PartitionSpec("data")
    got = jax.jit(jax.shard_map(shard, mesh=mesh, in_specs=spec, out_specs=spec))(
        *arrays
    )
    alone = jax.jit(attend)
    for index in range(2):
        own = alone(np.int32(index), *(x[index : index + 1] for x in arrays))
        np.testing.assert_allclose(got[index], own[0], rtol=1e-5, atol=1e-6)


SPREAD_MASKS = [PartitionSpec("data"), PartitionSpec(None, "model", "data")]


@pytest.mark.parametrize("of_result", SPREAD_MASKS, ids=str)
@pytest.mark.parametrize("of_mask", [None, PartitionSpec(), *SPREAD_MASKS], ids=str)
def test_a_mask_of_drop_key_is_spread_as_is_asked_for(of_mask, of_result, key):
    shape, mesh = (4, 8, 64, 64), mesh_of(AxisType.Explicit)
    drop = jax.jit(
        lambda key, mask, sharding=None: jaxdrop.drop_key(
            key, shape, rate=0.9, mask=mask, out_sharding=sharding
        ),
        static_argnames="sharding",
    )
    mask = None if of_mask is None else np.tril(np.ones(shape, bool))
    whole = drop.lower(key, mask).compile()
    with jax.set_mesh(mesh):
        spread = mask
        if mask is not None:
            spread = jax.device_put(mask, NamedSharding(mesh, of_mask))
        program = drop.lower(key, spread, sharding=of_result).compile()
        got = program(key, spread)
    np.testing.assert_array_equal(got, whole(key, mask))
    expected = NamedSharding(mesh, of_result)
    assert got.sharding.is_equivalent_to(expected, got.ndim)
    work, part = (c.cost_analysis()["flops"] for c in (whole, program))
    share = got.addressable_shards[0].data.size / got.size
    assert part < 1.15 * share * work
    if of_mask in (None, PartitionSpec(), of_result):
        text = program.as_text()
        assert not [c for c in COLLECTIVES if f"{c}(" in text or f"{c}-start(" in text]
