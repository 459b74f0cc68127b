"""Layers whose weights are dropped: expected outputs, and kernels of one example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxdrop
from chance import normal
from jaxdrop._dropout._dropped_layer import add_bias, check_evaluation, dropped_layer


@pytest.mark.parametrize("room", [jaxdrop.nnx, jaxdrop.linen])
def test_the_second_moment_in_half_precision_is_finite(room):
    x = jnp.full((1, 8), 400, jnp.float16)
    knobs = {"dtype": jnp.float16, "activation": jax.nn.relu, "evaluation": "moments"}
    if room is jaxdrop.nnx:
        rngs = pytest.importorskip("flax.nnx").Rngs(0)
        y = room.DropConnectLinear(8, 4, 0.5, deterministic=True, rngs=rngs, **knobs)(x)
    else:
        layer = room.DropConnectDense(4, 0.5, deterministic=True, **knobs)
        y = layer.init_with_output(jax.random.key(0), x)[0]
    assert np.isfinite(y).all()


@pytest.mark.parametrize("shape", [(4, 6, 8), (4, 5, 6, 8)])
def test_kernels_of_their_own_for_examples_spread_over_a_mesh(shape):
    nnx = pytest.importorskip("flax.nnx")
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    sides = (3,) * (len(shape) - 2)
    for layer in (
        jaxdrop.nnx.DropConnectLinear(8, 4, 0.5, per_example=True, rngs=nnx.Rngs(0)),
        jaxdrop.nnx.DropConnectConv(
            8, 4, sides, 0.5, per_example=True, rngs=nnx.Rngs(0)
        ),
    ):
        run = jax.jit(lambda key, x, layer=layer: layer(x, rngs=key))
        key, x = jax.random.key(3), np.ones(shape, np.float32)
        alone = run(key, x)
        with jax.set_mesh(mesh):
            y = run(key, jax.device_put(x, spread))
        np.testing.assert_allclose(y, alone, rtol=1e-5, atol=1e-6)


def dropped(key, x, kernel, finish=jax.nn.relu, **knobs):
    options = {"rate": 0.4, "deterministic": True, "per_example": False}
    options |= {"product": product, "finish": finish, "evaluation": "moments"}
    return dropped_layer(key, x, kernel, **(options | knobs))


def product(x, kernel, dtype=jnp.float32):
    return x.astype(dtype) @ kernel.astype(dtype)


def test_the_expected_relu_is_that_of_a_normal_output():
    """Of mean m and deviation s it is ``m Phi(m / s) + s phi(m / s)``."""
    x, kernel = normal(5, 30), normal(30, 4, seed=1)
    mean = np.asarray(x, np.float64) @ kernel
    deviation = np.sqrt(0.4 / 0.6 * np.square(x) @ np.square(kernel))
    z = mean / deviation
    expected = mean * stats.norm.cdf(z) + deviation * stats.norm.pdf(z)
    error = np.abs(np.asarray(dropped(None, x, kernel)) - expected)
    assert (error <= 0.01 * deviation).all()


def test_the_expected_square_is_exact_and_a_traced_mode_selects_it(key):
    x, kernel = normal(5, 30), normal(30, 4, seed=1)
    mean = np.asarray(x, np.float64) @ kernel
    expected = mean**2 + 0.4 / 0.6 * np.square(x) @ np.square(kernel)
    run = lambda flag: dropped(key, x, kernel, jnp.square, deterministic=flag)
    for flag in (True, jnp.array(True)):
        np.testing.assert_allclose(run(flag), expected, rtol=1e-5)
    weights = jaxdrop.drop_connect(key, kernel, rate=0.4)
    for flag in (False, jnp.array(False)):
        np.testing.assert_allclose(run(flag), jnp.square(x @ weights), rtol=1e-5)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_at_the_limits_of_the_rate_the_expectation_is_the_plain_layer(rate):
    x, kernel = normal(5, 30), normal(30, 4, seed=1)
    found = dropped(None, x, kernel, rate=rate)
    np.testing.assert_allclose(found, jax.nn.relu(x @ kernel), rtol=1e-5, atol=1e-6)


def test_what_the_expectation_needs_is_named(key):
    with pytest.raises(ValueError, match='evaluation="moments" needs the act'):
        check_evaluation("moments", None)
    with pytest.raises(ValueError, match="evaluation must be one of"):
        check_evaluation("median", jax.nn.relu)
    check_evaluation("mean", None)
    with pytest.raises(ValueError, match=r"needs inputs with 2 axes .*\(30"):
        dropped(key, normal(30), normal(30, 4), deterministic=False, per_example=True)


def test_a_bias_is_added_to_the_last_axis_in_the_dtype_of_the_output():
    y = jnp.zeros((2, 3, 4), jnp.bfloat16)
    found = add_bias(y, jnp.arange(4.0))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found[1, 2], jnp.arange(4, dtype=jnp.bfloat16))
    assert add_bias(y, None) is y
