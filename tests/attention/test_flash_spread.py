"""Kernels on several devices: each computes its examples and heads."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formula
from attention.kernels import BIAS, SLOW, attention
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import AxisType, NamedSharding, PartitionSpec


@custom_partitioning
def identity(x):
    """With a function like this in a program JAX says on which devices it runs."""
    return x


identity.def_partition(
    partition=lambda mesh, shapes, result: (
        *(mesh, lambda x: x, result.sharding, (shapes[0].sharding,)),
    ),
    infer_sharding_from_operands=lambda mesh, shapes, result: shapes[0].sharding,
    sharding_rule="... -> ...",
)


def count_partitioned(function, *arrays):
    return jax.jit(function).lower(*arrays).as_text().count("CustomSPMDPartitioning")


@pytest.mark.parametrize(
    "key_heads", [4, *(pytest.param(n, marks=SLOW) for n in (1, 2))]
)
def test_spread_over_devices_the_results_are_the_same(key, key_heads):
    arrays = [
        jnp.asarray(x) for x in formula.inputs(2, 16, 16, 4, key_heads, 8).values()
    ]
    bias = jnp.asarray(BIAS[:1, :, :16, :16])

    def both(query, *arrays):
        attend = lambda *x: attention(key, *x[:3], bias=x[3])
        y, pull = jax.vjp(attend, query, *arrays)
        return y, pull(jnp.cos(y))

    alone = jax.jit(both)(*arrays, bias)
    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    spec = PartitionSpec("data", None, "model" if key_heads > 1 else None)
    specs = [PartitionSpec("data", None, "model"), spec, spec, PartitionSpec()]
    spread = [
        jax.device_put(x, NamedSharding(mesh, s))
        for x, s in zip([*arrays, bias], specs, strict=True)
    ]
    named = lambda query, *arrays: both(identity(query), *arrays)
    assert count_partitioned(named, *spread) > 1 > count_partitioned(both, *spread)
    for function in (named, both):
        got = jax.jit(function)(*spread)
        for a, b in zip(*map(jax.tree.leaves, (got, alone)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("implementation", [None, "pallas"])
def test_within_a_partly_manual_shard_map_the_compiler_shards_the_rest(
    key, implementation
):
    x = jax.random.normal(key, (4, 24, 2, 4))
    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    spread = jax.device_put(
        x, NamedSharding(mesh, PartitionSpec("data", None, "model"))
    )

    def attend(x):
        return attention(key, x, x, x, implementation=implementation)

    def gradient(x):
        return jax.grad(lambda x: jnp.sin(attend(x)).sum())(x)

    spec = PartitionSpec("data")
    for function in (attend, gradient):
        got = jax.jit(
            jax.shard_map(
                function,
                mesh=mesh,
                in_specs=spec,
                out_specs=spec,
                axis_names={"data"},
                check_vma=implementation is None,  # Pallas' interpreter does not check
            )
        )(spread)
        own = [function(part) for part in jnp.split(x, 2)]
        np.testing.assert_allclose(got, jnp.concatenate(own), rtol=1e-4, atol=1e-5)


INTERPRETED = pytest.mark.xfail(
    reason="the interpreter of Pallas does not mark its loop variables as varying",
    raises=ValueError,
)


@pytest.mark.parametrize(
    "implementation", [None, pytest.param("pallas", marks=[SLOW, INTERPRETED])]
)
def test_within_shard_map_keys_and_rates_may_differ(key, implementation):
    length = 80 if implementation is None else 24  # the mask takes the long path
    arrays = [
        jnp.asarray(x) for x in formula.inputs(2, length, length, 2, 2, 4).values()
    ]
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    attend = functools.partial(attention, implementation=implementation, is_causal=True)

    def loss(key, rate, query, key_, value):
        y = attend(key, query, key_, value, rate=rate)
        return jnp.sin(y).sum(keepdims=True), y

    def shard(query, key_, value):
        index = jax.lax.axis_index("data")
        own = jax.random.fold_in(key, index)
        rate = 0.2 + 0.3 * index.astype(jnp.float32)
        total = lambda *x: loss(own, rate, *x)[0].sum()
        return loss(own, rate, query, key_, value)[1], jax.grad(total)(
            query, key_, value
        )

    spec = PartitionSpec("data")
    got = jax.jit(jax.shard_map(shard, mesh=mesh, in_specs=spec, out_specs=spec))(
        *arrays
    )
    for index in range(2):
        part = [x[index : index + 1] for x in arrays]
        own, rate = jax.random.fold_in(key, index), jnp.float32(0.2 + 0.3 * index)
        total = lambda *x, own=own, rate=rate: loss(own, rate, *x)[0].sum()
        alone = loss(own, rate, *part)[1], jax.grad(total)(*part)
        for a, b in zip(*map(jax.tree.leaves, (got, alone)), strict=True):
            np.testing.assert_allclose(a[index], b[0], rtol=1e-4, atol=1e-5)
