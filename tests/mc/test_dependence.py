"""Which outputs of a program depend on the key, through every kind of call."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jaxdrop.mc._dependence import depends
from jaxdrop.mc._trunk import is_stochastic

X = jnp.ones(3)


def flags(function, *args):
    program = jax.make_jaxpr(function)(jax.random.key(0), *args)
    return depends(program, [True] + [False] * (len(program.jaxpr.invars) - 1))


@jax.custom_vjp
def with_own_vjp(a, b):
    return 2 * a, 3 * b


with_own_vjp.defvjp(lambda a, b: (with_own_vjp(a, b), None), lambda _, g: g)


@jax.custom_jvp
def with_own_jvp(a, b):
    return 2 * a, 3 * b


with_own_jvp.defjvp(lambda args, tangents: (with_own_jvp(*args), tangents))


def noise(key):
    return jax.random.normal(key, (3,))


PAIRS = {  # each gives one output that depends on the key, and one that does not
    "plain": lambda k, x: (noise(k), x),
    "jit": jax.jit(lambda k, x: (noise(k), x)),
    "jit in jit": jax.jit(jax.jit(lambda k, x: (x + noise(k), x + x))),
    "vmap": lambda k, x: jax.vmap(lambda x: (x + noise(k), x))(x),
    "remat": jax.checkpoint(lambda k, x: (x * noise(k), x * x)),
    "custom_vjp": lambda k, x: with_own_vjp(noise(k), x),
    "custom_jvp": lambda k, x: with_own_jvp(noise(k), x),
    "scan": lambda k, x: lax.scan(
        lambda c, _: ((c[0] + noise(k), 2 * c[1]), None), (x, x), length=2
    )[0],
    "scan over keys": lambda k, x: lax.scan(
        lambda c, k: (c + 1, noise(k)), x, jax.random.split(k, 2)
    )[1::-1],
    "while": lambda k, x: lax.while_loop(
        lambda c: c[2] < 2, lambda c: (noise(k) + c[0], c[1] * 2, c[2] + 1), (x, x, 0)
    )[:2],
    "cond": lambda k, x: lax.cond(x[0] > 0, lambda: (noise(k), x), lambda: (x, 2 * x)),
    "grad": lambda k, x: (jax.grad(lambda x: (x * noise(k)).sum())(x), x),
    "dropped in a call": lambda k, x: (noise(k), jax.jit(lambda k, x: x)(k, x)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_dependence_is_followed_through(name):
    assert flags(PAIRS[name], X) == [True, False]


def test_a_loop_that_the_key_stops_is_all_random():
    def function(key, x):
        return lax.while_loop(
            lambda c: c[0] < jax.random.uniform(key),
            lambda c: (c[0] + 1, c[1] + 1),
            (0.0, x),
        )

    assert flags(function, X) == [True, True]


def test_a_branch_that_the_key_chooses_is_random():
    function = lambda k, x: lax.cond(
        jax.random.bernoulli(k), lambda: (x, x), lambda: (3 * x, 2 * x)
    )
    assert flags(function, X) == [True, True]


def test_a_carry_may_be_reached_late():
    def body(carry, _):
        a, b, c = carry
        return (a + 1, a + b, b + c), None

    chain = lambda k, x: lax.scan(body, (x, x, x), length=3)[0]
    assert flags(chain, X) == [False] * 3
    reached = lambda k, x: lax.scan(body, (noise(k), x, x), length=3)[0]
    assert flags(reached, X) == [True] * 3
    middle = lambda k, x: lax.scan(body, (x, noise(k), x), length=3)[0]
    assert flags(middle, X) == [False, True, True]


def test_a_key_that_is_used_for_nothing_makes_nothing_stochastic():
    def function(key, x):
        noise(key)  # drawn and dropped
        return jax.jit(lambda k, x: x)(jax.random.split(key)[0], x)

    assert not is_stochastic(jax.make_jaxpr(function)(jax.random.key(0), X))


def test_what_is_written_to_a_reference_is_read_from_it():
    def function(key, x):
        memory = jax.new_ref(x)
        before = memory[...]
        memory[...] = x + noise(key)
        return before, memory[...]

    assert flags(function, X) == [False, True]


def test_sharded_calls_are_entered():
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec()
    function = jax.shard_map(
        lambda k, x: (noise(k), x + 1), mesh=mesh, in_specs=(spec, spec), out_specs=spec
    )
    assert flags(function, X) == [True, False]
