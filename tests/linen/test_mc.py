"""One stochastic pass of a Linen model: what drops is on, what normalizes is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

import jaxdrop
from chance import normal
from specimens import LINEN


class LinenNet(linen.Module):
    """The same in Linen, switched by one flag as most models are."""

    @linen.compact
    def __call__(self, x, train: bool):
        """From (batch, time, 6) to (batch, time, 8)."""
        x = linen.Dense(8)(x)
        x = linen.BatchNorm(use_running_average=not train)(x)
        x = linen.Dropout(0.5)(x, not train)
        attention = linen.MultiHeadDotProductAttention(
            2, dropout_rate=0.5, deterministic=not train
        )
        x = x + attention(x)
        return jaxdrop.linen.Dropout(0.5, deterministic=not train)(x)


@pytest.fixture
def x():
    return normal(3, 4, 6, seed=1)


def test_linen_passes_drop_under_an_evaluation_flag(x, key):
    module = LinenNet()
    variables = module.init(jax.random.key(0), x, False)
    apply = jax.jit(jaxdrop.linen.mc_apply(module, train=False))
    one = np.asarray(apply(key, variables, x))
    np.testing.assert_array_equal(apply(key, variables, x), one)
    assert (apply(jax.random.key(3), variables, x) != one).any()
    evaluate = jax.jit(lambda variables, x: module.apply(variables, x, False))
    evaluation = np.asarray(evaluate(variables, x))
    assert (one != evaluation).any()
    jaxdrop.linen.mc_apply(module, train=False)(key, variables, x)
    np.testing.assert_array_equal(module.apply(variables, x, False), evaluation)
    dropped = float((one == 0).mean())
    assert 0.3 < dropped < 0.7  # the last site, told to be deterministic


@pytest.mark.parametrize("broadcast_dims", [(), (0,)])
def test_linen_switches_on_flaxs_dropout(broadcast_dims, x, key):
    class Told(linen.Module):
        @linen.compact
        def __call__(self, x, *told, **named):
            return linen.Dropout(0.5, broadcast_dims)(x, *told, **named)

    apply = jaxdrop.linen.mc_apply(Told())
    dropped = apply(key, {}, x, True)
    assert (dropped == 0).any() and (dropped == 2 * x).any()
    np.testing.assert_array_equal(apply(key, {}, x, False), dropped)
    by_name = jaxdrop.linen.mc_apply(Told(), deterministic=True)
    np.testing.assert_array_equal(by_name(key, {}, x), dropped)
    own = apply(key, {}, x, True, jax.random.key(8))  # with a key of its own
    assert (own == 0).any() and (own != dropped).any()


@pytest.mark.parametrize("drop", [jaxdrop.linen.Dropout, linen.Dropout])
def test_linen_switches_on_what_has_been_compiled_for_evaluation(drop, x, key):
    compiled = linen.jit(drop)

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            return compiled(0.5, deterministic=True)(x)

    rngs = {"dropout": key}
    np.testing.assert_array_equal(Net().apply({}, x, rngs=rngs), x)
    assert (jaxdrop.linen.mc_apply(Net())(key, {}, x) == 0).any()
    np.testing.assert_array_equal(Net().apply({}, x, rngs=rngs), x)


@pytest.mark.parametrize("name", [name for name, s in LINEN.items() if s.draws])
def test_linen_switches_on_every_module(name, key):
    specimen = LINEN[name]
    module = specimen.make(deterministic=True)
    variables = module.init(jax.random.key(0), *specimen.data)
    run = jax.jit(jaxdrop.linen.mc_apply(module))
    first, again, other = (
        jax.tree.leaves(run(k, variables, *specimen.data))
        for k in (key, key, jax.random.key(3))
    )
    np.testing.assert_array_equal(first[0], again[0])
    assert np.any(first[0] != other[0])


def test_linen_normalisation_stays_in_evaluation(x, key):
    module = LinenNet()
    variables = module.init(jax.random.key(0), x, False)
    with pytest.raises(Exception, match="batch_stats"):
        jaxdrop.linen.mc_apply(module, train=True)(key, variables, x)


def test_linen_draws_at_a_single_site_and_needs_a_key(key):
    x = jnp.ones((5, 6))
    ours = jaxdrop.linen.mc_apply(jaxdrop.linen.Dropout(0.5, deterministic=True))
    y = ours(key, {}, x)
    assert set(np.unique(y)) == {0, 2}
    with pytest.raises(ValueError, match="mc_apply: key must be a PRNG key"):
        ours(None, {}, x)
    with pytest.raises(ValueError, match="mc_apply: key must be a PRNG key"):
        jaxdrop.nnx.mc_apply(None, jaxdrop.nnx.Dropout(0.5), x)
