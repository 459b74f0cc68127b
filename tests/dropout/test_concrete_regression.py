"""Concrete dropout on the synthetic regression of its authors, ``y = 2 x + 8 + noise``.

The numbers are outputs of the authors' notebook
(https://github.com/yaringal/ConcreteDropout, concrete-dropout-keras.ipynb), means of
three runs each: learned rates and standard deviations over 20 masks. The noise has a
standard deviation of 1.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdrop

WIDTH, BATCH, LENGTH_SCALE = 1024, 20, 1e-4
SIZES = [(1, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH, 1), (WIDTH, 1)]
PUBLISHED = {
    100: {
        "epochs": 200,
        "rates": [0.079, 0.236, 0.236, 0.236, 0.236],
        "aleatoric": 1.247,
        "epistemic": 0.668,
    },
    1000: {
        "epochs": 20,
        "rates": [0.075, 0.231, 0.225, 0.224, 0.233],
        "aleatoric": 1.321,
        "epistemic": 0.652,
    },
}


@pytest.fixture(autouse=True)
def promotion():
    """Optax promotes its step counter implicitly."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def initial_layers(key):
    glorot = jax.nn.initializers.glorot_uniform()
    return [
        {
            "kernel": glorot(key, size),
            "bias": jnp.zeros((1, size[1])),
            "logit_rate": jnp.log(0.1 / 0.9),
        }
        for key, size in zip(jax.random.split(key, 5), SIZES, strict=True)
    ]


def forward(layers, x, key):
    """The mean and the log variance of y: heads on three hidden layers."""

    def dense(index, x):
        layer = layers[index]
        layer_key = jax.random.fold_in(key, index)
        x = jaxdrop.concrete_dropout(layer_key, x, layer["logit_rate"])
        return x @ layer["kernel"] + layer["bias"]

    for index in range(3):
        x = jax.nn.relu(dense(index, x))
    return dense(3, x), dense(4, x)


def loss(layers, x, y, key, num_examples):
    mean, log_variance = forward(layers, x, key)
    nll = (jnp.exp(-log_variance) * (y - mean) ** 2 + log_variance).mean()
    return nll + sum(
        jaxdrop.concrete_penalty(
            layer["logit_rate"],
            layer["kernel"],
            weight_regularizer=LENGTH_SCALE**2 / num_examples,
            dropout_regularizer=2 / num_examples,
        )
        for layer in layers
    )


@functools.cache
def fitted(num_examples):
    """Trains as published, and measures on 1000 other points."""
    data, noise, init, order, drop, test = jax.random.split(jax.random.key(0), 6)
    x = jax.random.normal(data, (num_examples + 1000, 1))
    y = 2 * x + 8 + jax.random.normal(noise, x.shape)
    optimizer = optax.adam(1e-3)

    def step(carry, scanned):
        layers, state = carry
        at, key = scanned
        gradient = jax.grad(loss)(layers, x[at], y[at], key, num_examples)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(layers, updates), state), None

    epochs = jax.random.split(order, PUBLISHED[num_examples]["epochs"])
    shuffle = lambda key: jax.random.permutation(key, num_examples)
    batches = jax.vmap(shuffle)(epochs).reshape(-1, BATCH)
    layers = initial_layers(init)
    run = jax.jit(lambda *args: jax.lax.scan(step, *args)[0])
    keys = jax.random.split(drop, len(batches))
    layers, _ = run((layers, optimizer.init(layers)), (batches, keys))

    sample = jax.jit(jax.vmap(lambda key: forward(layers, x[num_examples:], key)))
    means, log_variances = sample(jax.random.split(test, 20))
    return {
        "rates": [float(jax.nn.sigmoid(layer["logit_rate"])) for layer in layers],
        "aleatoric": float(jnp.sqrt(jnp.exp(log_variances.mean(axis=0)).mean())),
        "epistemic": float(jnp.sqrt(means.var(axis=0).mean())),
        "rmse": float(jnp.sqrt(((y[num_examples:] - means.mean(axis=0)) ** 2).mean())),
    }


@pytest.mark.slow
@pytest.mark.parametrize("num_examples", [100, 1000])
def test_it_learns_the_published_rates_and_uncertainties(num_examples):
    published, ours = PUBLISHED[num_examples], fitted(num_examples)
    np.testing.assert_allclose(ours["rates"], published["rates"], atol=0.05)
    assert ours["epistemic"] == pytest.approx(published["epistemic"], rel=0.25)
    assert ours["aleatoric"] == pytest.approx(published["aleatoric"], rel=0.25)
    assert ours["rmse"] < 1.3


@pytest.mark.slow
def test_model_uncertainty_falls_with_data():
    assert fitted(1000)["epistemic"] < fitted(100)["epistemic"]
