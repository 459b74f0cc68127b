"""The bases of Linen modules: one mode, one source of keys, and fields as values."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import linen as nn

import jaxdrop
from jaxdrop.linen import _module

X = jnp.ones((4, 8))


class Halve(jaxdrop.linen.DropoutModule):
    """Halves what it is given in training, and shows the key it was given."""

    def _regularize(self, key, x, rate, deterministic):
        return x if deterministic is True else (x / 2, key)


def test_a_key_is_drawn_only_where_it_is_needed(key):
    run = lambda *args, **knobs: Halve(0.5).apply({}, X, *args, **knobs)
    assert run(True) is X
    assert run(False, key)[1] is key
    for certain in (0, 1, 1.0):
        assert run(False, rate=certain)[1] is None
    with pytest.raises(Exception, match="dropout"):  # a traced rate is not known
        run(False, rate=jnp.float32(0))


def test_the_mode_is_a_field_or_an_argument_but_not_both():
    for module, arguments in (
        (Halve(0.5), ()),
        (Halve(0.5, deterministic=True), (True,)),
    ):
        with pytest.raises(ValueError, match="deterministic"):
            module.apply({}, X, *arguments)
    with pytest.raises(TypeError, match="Halve: deterministic must be"):
        Halve(0.5).apply({}, X, "yes")


def test_switched_on_goes_before_every_mode(key):
    with _module.switched_on(True):
        y, _ = Halve(0.5, deterministic=True).apply({}, X, rng=key)
        jitted = jax.jit(lambda x: Halve(0.5).apply({}, x, True, key)[0])(X)
    np.testing.assert_array_equal(y, X / 2)
    np.testing.assert_array_equal(jitted, X / 2)
    assert Halve(0.5, deterministic=True).apply({}, X) is X


def test_fields_become_values_that_can_be_hashed():
    class Knobs(jaxdrop.linen.StochasticModule):
        sides: object = ()
        rate: object = 0.5
        broadcast_dims: object = ()

    module = Knobs(sides=[2, [3]], rate=ml_dtypes.bfloat16(0.25), broadcast_dims=1)
    assert module.sides == (2, (3,)) and module.broadcast_dims == (1,)
    assert type(module.rate) is float
    assert hash(module) == hash(Knobs(sides=(2, (3,)), rate=0.25, broadcast_dims=(1,)))
    assert Knobs(rate=np.full(3, 0.5)).rate.shape == (3,)  # data of each feature


def test_a_rate_is_checked_when_a_module_is_made():
    with pytest.raises(ValueError, match=r"Halve: rate .* got 1\.5"):
        Halve(1.5)
    with pytest.raises(TypeError, match="Halve: 'keep_prob' is not an argument"):
        Halve(keep_prob=0.5)


def test_hooks_are_no_methods_of_flax(key):
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Halve(0.5)(x, False, key)[0]

    seen = []

    def record(function, args, kwargs, context):
        seen.append(context.method_name)
        return function(*args, **kwargs)

    with nn.intercept_methods(record):
        Twice().apply({}, X)
    assert seen == ["__call__", "__call__"]


def test_the_base_of_modules_computes_nothing():
    with pytest.raises(NotImplementedError):
        _module.DropoutModule(0.5, deterministic=True).apply({}, jnp.ones(2))
