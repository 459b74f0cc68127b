"""Knobs and names: every way to set them works, or the error says what does."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxdrop
from chance import normal

X = jnp.ones((4, 6))
PRICES = {"weight_regularizer": 1e-3, "dropout_regularizer": 1e-2}


def test_the_rates_of_cells_are_set_in_any_way():
    rate, key = jaxdrop.nnx.Rate(0.5), jax.random.key(1)
    x = jnp.ones((2, 3, 6))
    cell = jaxdrop.nnx.VariationalCell(
        nnx.SimpleCell(6, 5, rngs=nnx.Rngs(0)), input_rate=rate, state_rate=rate
    )
    fixed = jaxdrop.nnx.VariationalCell(cell.cell, input_rate=0.25, state_rate=0.25)
    nnx.update(cell, nnx.State({"input_rate": 0.25, "state_rate": 0.25}))
    np.testing.assert_allclose(
        nnx.RNN(cell)(x, rngs=key), nnx.RNN(fixed)(x, rngs=key), rtol=1e-5
    )
    cell.state_rate.set_raw_value(2.0)
    with pytest.raises(ValueError, match=r"VariationalCell: \w+_rate .* got 2"):
        nnx.RNN(cell)(x, rngs=key)


@pytest.mark.parametrize("kind", [ml_dtypes.bfloat16, np.float16, np.float64])
def test_rates_of_any_scalar_type_are_numbers(kind):
    rate, key = kind(0.25), jax.random.key(0)
    expected = jaxdrop.dropout(key, X, rate=0.25)
    linen = jaxdrop.linen.Dropout(rate, deterministic=False)
    for y in (
        jaxdrop.nnx.Dropout(rate)(X, rngs=key),
        jaxdrop.nnx.Dropout(0.5)(X, rngs=key, rate=rate),
        jaxdrop.nnx.Dropout(jaxdrop.nnx.Rate(rate))(X, rngs=key),
        linen.apply({}, X, rng=key),
        jaxdrop.linen.Dropout(0.5).apply({}, X, False, key, rate=rate),
    ):
        np.testing.assert_allclose(y, expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"got 1\.5"):
        jaxdrop.linen.Dropout(kind(1.5))
    with pytest.raises(ValueError, match=r"got 1\.5"):
        jaxdrop.nnx.Dropout(kind(1.5))
    cell = jaxdrop.linen.ZoneoutCell(nn.GRUCell(3), state_rate=rate)
    assert cell.state_rate == 0.25


def test_static_knobs_may_be_lists_and_integer_arrays():
    x, key = jnp.ones((2, 6, 6, 3)), jax.random.key(0)
    expected = jaxdrop.drop_block(key, x, rate=0.3, block_size=(2, 3))
    for size in ([2, 3], np.array([2, 3])):
        module = jaxdrop.nnx.DropBlock(0.3, block_size=size)
        np.testing.assert_array_equal(module(x, rngs=key), expected)
        assert nnx.jit(lambda m: m(x, rngs=key))(module).shape == x.shape
        linen = jaxdrop.linen.DropBlock(0.3, block_size=size)
        np.testing.assert_array_equal(linen.apply({}, x, False, key), expected)
        assert hash(linen) == hash(jaxdrop.linen.DropBlock(0.3, block_size=(2, 3)))
    shared = jaxdrop.nnx.Dropout(0.5, broadcast_dims=np.array([0]))
    assert shared.broadcast_dims == (0,)
    concrete = jaxdrop.nnx.ConcreteDropout(len, **PRICES, broadcast_dims=[1])
    assert concrete.broadcast_dims == (1,)


def test_tokens_alone_go_through_a_sequence_of_layers(key):
    x = normal(2, 6, 3)
    drop = jaxdrop.nnx.TokenDropout(0.5, return_indices=False)
    tokens, _ = jaxdrop.token_dropout(key, x, rate=0.5)
    np.testing.assert_array_equal(drop(x, rngs=key), tokens)
    rngs = nnx.Rngs(0)
    drop = jaxdrop.nnx.TokenDropout(0.5, return_indices=False, rngs=rngs)
    assert nnx.Sequential(drop, nnx.Linear(3, 4, rngs=rngs))(x).shape == (2, 3, 4)
    drop = jaxdrop.linen.TokenDropout(0.5, return_indices=False, deterministic=False)
    keys = {"params": key, "dropout": key}
    y, _ = nn.Sequential([drop, nn.Dense(4)]).init_with_output(keys, x)
    assert y.shape == (2, 3, 4)


def layers_in_float16():
    """Layers whose second moments or slopes leave float16, in both frameworks."""
    half, rngs = {"dtype": jnp.float16}, nnx.Rngs(0)
    image = np.zeros((2, 6, 3), np.float16)
    yield "linear", jaxdrop.nnx.VariationalLinear(3, 4, **half, rngs=rngs), image
    yield "conv", jaxdrop.nnx.VariationalConv(3, 4, (3,), **half, rngs=rngs), image
    yield "dense", jaxdrop.linen.VariationalDense(4, **half), image
    yield "linen conv", jaxdrop.linen.VariationalConv(4, (3,), **half), image


def test_gradients_of_noise_are_finite_in_float16(key):
    for name, layer, x in layers_in_float16():
        if isinstance(layer, nn.Module):
            variables = layer.init({"params": key}, x, deterministic=True)
            loss = lambda v, layer=layer, x=x: (
                layer.apply(v, x, False, key).astype(jnp.float32).sum()
            )
            slopes = jax.jit(jax.grad(loss))({"params": variables["params"]})
        else:
            loss = lambda m, x=x: m(x, rngs=key).astype(jnp.float32).sum()
            slopes = nnx.jit(nnx.grad(loss))(layer)
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(slopes)), name


def test_moments_in_float16_are_those_of_float32():
    """A second moment of 8 * 400**2 / 4 overflows float16."""
    options = {"activation": nnx.relu, "evaluation": "moments", "deterministic": True}
    x = np.full((2, 5, 8), 400, np.float32)
    make = {
        "linear": lambda d: jaxdrop.nnx.DropConnectLinear(
            8, 4, 0.5, dtype=d, **options, rngs=nnx.Rngs(0)
        ),
        "conv": lambda d: jaxdrop.nnx.DropConnectConv(
            8, 4, (3,), 0.5, dtype=d, **options, rngs=nnx.Rngs(0)
        ),
    }
    for build in make.values():
        expected, y = build(jnp.float32)(x), build(jnp.float16)(np.float16(x))
        assert y.dtype == jnp.float16
        np.testing.assert_allclose(y.astype(jnp.float32), expected, rtol=1e-2)
    linen = {
        "dense": lambda d: jaxdrop.linen.DropConnectDense(4, 0.5, dtype=d, **options),
        "conv": lambda d: jaxdrop.linen.DropConnectConv(
            4, (3,), 0.5, dtype=d, **options
        ),
    }
    for build in linen.values():
        expected, variables = build(jnp.float32).init_with_output(jax.random.key(0), x)
        y = build(jnp.float16).apply(variables, np.float16(x))
        np.testing.assert_allclose(y.astype(jnp.float32), expected, rtol=1e-2)
