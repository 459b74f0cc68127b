"""Layers with dropped weights: the plain layer in evaluation, unbiased in training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import jaxdrop
from chance import assert_mean, normal


@pytest.fixture
def x():
    return normal(3, 6)


def make(framework: str, **kwargs):
    """The layer as a function of (x, deterministic, key), and its parameters."""
    if framework == "nnx":
        layer = jaxdrop.nnx.DropConnectLinear(6, 4, 0.3, rngs=nnx.Rngs(0), **kwargs)
        run = lambda x, d, k=None: layer(x, deterministic=d, rngs=k)
        return run, layer.kernel[...], layer.bias and layer.bias[...]
    module = jaxdrop.linen.DropConnectDense(4, 0.3, **kwargs)
    variables = module.init(jax.random.key(0), jnp.ones((1, 6)), True)
    run = lambda x, d, k=None: module.apply(variables, x, d, k)
    return run, variables["params"]["kernel"], variables["params"].get("bias")


for_both = pytest.mark.parametrize("framework", ["nnx", "linen"])


@for_both
def test_training_drops_the_kernel_as_the_function_does(framework, x, key):
    run, kernel, bias = make(framework, bias_init=linen.initializers.ones)
    dropped = jaxdrop.drop_connect(key, kernel, rate=0.3)
    np.testing.assert_allclose(run(x, False, key), x @ dropped + bias[None], 1e-6)
    assert (bias == 1).all()


@for_both
def test_evaluation_is_the_plain_layer(framework, x):
    run, kernel, bias = make(framework)
    np.testing.assert_array_equal(run(x, True), x @ kernel + bias[None])
    flag = jax.jit(lambda d: run(x, d, jax.random.key(0)))
    np.testing.assert_allclose(flag(jnp.bool_(True)), run(x, True), rtol=1e-6)


@for_both
def test_the_mean_over_keys_is_the_plain_layer(framework, x, key):
    run, _, _ = make(framework)
    outputs = jax.vmap(lambda k: run(x, False, k))(jax.random.split(key, 4096))
    assert_mean(outputs, run(x, True))


@for_both
def test_gradients_reach_the_kept_weights_only(framework, x, key):
    kernel = jnp.ones((6, 4))
    loss = lambda w: (x @ jaxdrop.drop_connect(key, w, rate=0.3)).sum()
    mask = jaxdrop.masks.bernoulli(key, (6, 4), rate=0.3)
    expected = np.asarray(x).sum(0)[:, None] * np.asarray(mask) / 0.7
    np.testing.assert_allclose(jax.grad(loss)(kernel), expected, rtol=1e-5)


def test_parameters_are_those_of_flax():
    ours = jaxdrop.nnx.DropConnectLinear(6, 4, 0.3, rngs=nnx.Rngs(3))
    theirs = nnx.Linear(6, 4, rngs=nnx.Rngs(3))
    np.testing.assert_array_equal(ours.kernel[...], theirs.kernel[...])
    module = jaxdrop.linen.DropConnectDense(4, 0.3, deterministic=True)
    a, b = (
        m.init(jax.random.key(1), jnp.ones((1, 6))) for m in (module, linen.Dense(4))
    )
    assert jax.tree.structure(a) == jax.tree.structure(b)
    np.testing.assert_array_equal(a["params"]["kernel"], b["params"]["kernel"])


@for_both
def test_without_bias_and_in_low_precision(framework, x, key):
    run, kernel, bias = make(framework, use_bias=False, dtype=jnp.bfloat16)
    assert bias is None
    assert run(x, False, key).dtype == jnp.bfloat16
    assert kernel.dtype == jnp.float32
