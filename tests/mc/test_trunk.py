"""The trunk runs once, the head gives the same bits, and nothing large is kept."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import io_callback

from jaxdrop import _programs, mc
from jaxdrop.mc._trunk import split


def names(program):
    """All primitives of a program, those in nested calls included."""
    found = set()
    for equation in program.jaxpr.eqns:
        found.add(equation.primitive.name)
        for inner in _programs.programs_in(equation):
            found |= names(_programs.Program(_programs.program_of(inner), []))
    return found


def traced(function, *args):
    return _programs.traced(function, *args)[0]


def kept_sizes(function, *args):
    program = traced(function, jax.random.key(0), *args)
    return sorted(v.aval.size for v in split(program).trunk.jaxpr.outvars)


def whole(net):
    return net.apply


def jitted(net):
    return jax.jit(net.apply)


def nested(net):
    return jax.jit(
        lambda key, params, x: 1 + jax.jit(jax.jit(net.apply))(key, params, x)
    )


@pytest.mark.parametrize("shape", [whole, jitted, nested])
def test_matrices_before_the_first_mask_are_in_the_trunk(shape, net, key):
    program = traced(shape(net), key, net.params, net.x)
    trunk, head = split(program)
    matmuls = lambda p: sum(e.primitive.name == "dot_general" for e in p.jaxpr.eqns)
    assert (matmuls(trunk), matmuls(head)) == (1, 1)
    assert "random_bits" in names(head) and "random_bits" not in names(trunk)


@pytest.mark.parametrize("shape", [whole, jitted, nested])
def test_the_two_parts_are_the_program(shape, net, key):
    program = traced(shape(net), key, net.params, net.x)
    trunk, head = (partial(_programs.run, part) for part in split(program))
    arrays = jax.tree.leaves((net.params, net.x))
    (ours,) = jax.jit(lambda: head(key, *trunk(*arrays)))()
    expected = jax.jit(shape(net))(key, net.params, net.x)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)  # XLA may fuse otherwise


@pytest.mark.parametrize("wrap, chunk_size", [(lambda f: f, 1), (jax.jit, 4)])
def test_the_trunk_runs_once(wrap, chunk_size, net, key):
    calls = []

    def counted(x):
        calls.append(None)
        return np.asarray(x)

    @wrap
    def apply(key, params, x):
        x = io_callback(counted, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
        return net.apply(key, params, x)

    run = jax.jit(
        lambda key, params, x: mc.predict(
            apply,
            key,
            params,
            x,
            num_samples=8,
            chunk_size=chunk_size,
            keep_samples=True,
        )
    )
    result = jax.block_until_ready(run(key, net.params, net.x))
    assert len(calls) == 1
    np.testing.assert_array_equal(result.samples, net.samples(key, 8))


def test_a_scan_over_layers_is_a_trunk_and_a_stochastic_one_is_not(key):
    kernels, x = jnp.ones((3, 4, 4)), jnp.ones((2, 4))

    def deterministic(key, kernels, x):
        x, _ = lax.scan(lambda x, k: (jnp.tanh(x @ k), None), x, kernels)
        return x * jax.random.normal(key, x.shape)

    def stochastic(key, kernels, x):
        def layer(carry, kernel):
            key, x = carry
            key, sub = jax.random.split(key)
            return (key, x @ kernel * jax.random.normal(sub, x.shape)), None

        return lax.scan(layer, (key, x), kernels)[0][1]

    for function, in_trunk in ((deterministic, True), (stochastic, False)):
        trunk, head = split(traced(jax.jit(function), key, kernels, x))
        assert ("scan" in names(trunk), "scan" in names(head)) == (
            in_trunk,
            not in_trunk,
        )


def test_rematerialised_blocks_stay_whole(net, key):
    program = traced(jax.checkpoint(net.apply), key, net.params, net.x)
    trunk, head = split(program)
    assert not trunk.jaxpr.eqns and len(head.jaxpr.eqns) == 1


def test_a_named_technique_is_still_seen_by_its_name(net, key):
    def technique(key, x, rate):
        return jnp.where(
            jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0
        )

    technique.__name__ = "jaxdrop.dropout"
    technique = jax.jit(technique)
    apply = jax.jit(lambda key, w, x, rate: technique(key, jax.nn.relu(x @ w), rate))
    program = traced(apply, key, net.params[0], net.x, 0.5)
    _, head = split(program)
    assert "jaxdrop.dropout" in [e.params.get("name") for e in head.jaxpr.eqns]


@pytest.mark.parametrize("work, is_opened", [(jnp.negative, False), (jnp.sort, True)])
def test_a_call_is_opened_for_work_alone_whatever_it_says_to_compilers(
    work, is_opened, key
):
    def technique(key, x):
        x = lax.platform_dependent(x, tpu=lax.optimization_barrier, default=work)
        return x * jax.random.normal(key, x.shape)

    _, head = split(traced(jax.jit(technique), key, jnp.ones(8)))
    called = [_programs.jitted_name(equation) for equation in head.jaxpr.eqns]
    assert ("technique" not in called) == is_opened


def test_counters_and_broadcasts_are_not_kept(key):
    x = jnp.ones((64, 32))

    def counted(key, x):  # a generator that hashes the positions of a mask
        position = lax.broadcasted_iota(jnp.uint32, x.shape, 0) * jnp.uint32(32)
        position = position + lax.broadcasted_iota(jnp.uint32, x.shape, 1)
        mixed = (position ^ (position >> jnp.uint32(16))) * jnp.uint32(2654435761)
        bits = mixed ^ jax.random.key_data(key)[0]
        return jnp.where(bits >> jnp.uint32(31) == 0, x, 0)

    assert kept_sizes(counted, x) == [64 * 32]  # x itself

    def biased(key, bias, x):
        return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x, 0) + bias[None]

    assert kept_sizes(biased, jnp.ones(32), x) == [32, 64 * 32]

    def cast(key, kernel, x):
        return (x * jax.random.normal(key, x.shape)) @ kernel.astype(jnp.float32).T

    program = traced(cast, key, jnp.ones((8, 32), jnp.bfloat16), x)
    kept = {
        (v.aval.shape, str(v.aval.dtype)) for v in split(program).trunk.jaxpr.outvars
    }
    assert kept == {((8, 32), "bfloat16"), ((64, 32), "float32")}


def test_an_output_that_is_not_random_comes_out_of_every_sample(net, key):
    def apply(key, x):
        features = jnp.tanh(x @ x.T)
        return features, features * jax.random.normal(key, features.shape)

    same, other = mc.samples(apply, key, net.x, num_samples=3, chunk_size=2)
    np.testing.assert_array_equal(same, same[:1].repeat(3, 0))
    np.testing.assert_allclose(same[0], jnp.tanh(net.x @ net.x.T), rtol=1e-6)
    assert (other[0] != other[1]).any()


def test_constants_and_effects_of_both_parts_are_kept(net, key):
    table, seen = np.arange(18, dtype=np.float32).reshape(6, 3), []
    inner = jax.jit(lambda x: x * jnp.asarray(table) @ jnp.ones((3, 3)))

    @jax.jit
    def apply(key, x):
        x = inner(x)
        jax.debug.callback(lambda: seen.append("trunk"))
        y = x * jax.random.normal(key, x.shape)
        jax.debug.callback(lambda _: seen.append("head"), y[0, 0])
        return y

    drawn = jax.jit(lambda: mc.samples(apply, key, net.x, num_samples=3))()
    jax.effects_barrier()
    plain = [
        inner(net.x) * jax.random.normal(jax.random.fold_in(key, t), (6, 3))
        for t in range(3)
    ]
    np.testing.assert_allclose(drawn, jnp.stack(plain), rtol=1e-6)
    assert sorted(seen) == ["head"] * 3 + ["trunk"]


def test_an_effect_alone_is_work_that_is_done_once(net, key):
    """A compiled function is opened for it, however little else there is to share."""
    seen = []

    @jax.jit
    def apply(key, x):
        jax.debug.callback(lambda: seen.append("trunk"))
        return x * jax.random.normal(key, x.shape)

    jax.block_until_ready(mc.samples(apply, key, net.x, num_samples=3))
    jax.effects_barrier()
    assert seen == ["trunk"]


def test_a_call_with_shardings_is_not_opened(net, key):
    """Its equations alone would lose them."""
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    calls = {
        "in": jax.jit(net.apply, in_shardings=(whole, whole, rows)),
        "out": jax.jit(net.apply, out_shardings=rows),
    }
    for name, call in calls.items():
        function = lambda key, params, x, call=call: 2 * call(key, params, x)
        program = traced(function, key, net.params, net.x)
        _, head = split(program)
        called = [e for e in head.jaxpr.eqns if _programs.jitted_name(e) is not None]
        assert len(called) == 1, name
        shardings = called[0].params[f"{name}_shardings"]
        assert rows in shardings or any(s == rows for s in shardings)
        drawn = mc.samples(function, key, net.params, net.x, num_samples=2)
        expected = jnp.stack([2 * y for y in net.samples(key, 2)])
        np.testing.assert_array_equal(drawn, expected)


def test_functions_with_references_run_whole(net, key):
    def apply(key, x):
        memory = jax.new_ref(x @ x.T)
        memory[...] = memory[...] + jax.random.normal(key, (6, 6))
        return memory[...]

    drawn = mc.samples(apply, key, net.x, num_samples=2)
    noise = jax.random.normal(jax.random.fold_in(key, 1), (6, 6))
    np.testing.assert_allclose(drawn[1], net.x @ net.x.T + noise, rtol=1e-6)
