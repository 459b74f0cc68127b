"""Networks that prune themselves on the handwritten digits, against a dense one."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import jaxdrop
from chance import normal

SIZES = (64, 300, 100, 10)
TOTAL = sum(a * b for a, b in itertools.pairwise(SIZES))
BATCH, EPOCHS = 64, 150


@pytest.fixture(autouse=True)
def promotion():
    """Optax promotes its step counter implicitly."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@functools.cache
def digits():
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    return train_test_split(
        images, labels, test_size=450, random_state=0, stratify=labels
    )


def train(layers, forward, penalty):
    """Adam on the cross entropy and ``penalty(layers, epoch) / examples``."""
    images, _, labels, _ = map(jnp.asarray, digits())
    steps = len(images) // BATCH
    rate = lambda start: optax.adam(optax.linear_schedule(start, 0.0, EPOCHS * steps))
    gates = lambda layers: [{name: name == "gates" for name in of} for of in layers]
    optimizer = optax.multi_transform({True: rate(2e-2), False: rate(1e-3)}, gates)

    def loss(layers, at, key, epoch):
        logits = forward(layers, images[at], key)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels[at])
        return losses.mean() + penalty(layers, epoch) / len(images)

    def step(carry, t):
        layers, state = carry
        of_batch, of_noise = jax.random.split(jax.random.fold_in(jax.random.key(1), t))
        at = jax.random.randint(of_batch, (BATCH,), 0, len(images))
        gradient = jax.grad(loss)(layers, at, of_noise, t / steps)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(layers, updates), state), None

    run = jax.jit(
        lambda carry: jax.lax.scan(step, carry, jnp.arange(EPOCHS * steps))[0]
    )
    return run((layers, optimizer.init(layers)))[0]


def start(**extra):
    keys = jax.random.split(jax.random.key(0), 3)
    return [
        {
            "kernel": normal(a, b) * np.sqrt(2 / a),
            "bias": jnp.zeros((1, b)),
            **{name: make(a, b) for name, make in extra.items()},
        }
        for key, a, b in zip(keys, SIZES, SIZES[1:], strict=False)
    ]


def network(product):
    """A network whose layers multiply with ``product(layer, x, key)``."""

    def forward(layers, x, key=None):
        for index, layer in enumerate(layers):
            layer_key = None if key is None else jax.random.fold_in(key, index)
            x = product(layer, x, layer_key) + layer["bias"]
            x = x if index == 2 else jax.nn.relu(x)
        return x

    return forward


def accuracy(forward, layers):
    _, images, _, labels = digits()
    return float((forward(layers, jnp.asarray(images)).argmax(axis=1) == labels).mean())


@functools.cache
def dense_accuracy():
    forward = network(lambda layer, x, key: x @ layer["kernel"])
    return accuracy(forward, train(start(), forward, lambda layers, epoch: 0.0))


@pytest.mark.slow
def test_sparse_variational_dropout_prunes_most_weights_at_equal_accuracy():
    forward = network(
        lambda layer, x, key: jaxdrop.variational_dense(
            key, x, layer["kernel"], layer["noise"], deterministic=key is None
        )
    )
    of = lambda layers, name: [layer[name] for layer in layers]

    def penalty(layers, epoch):
        warm_up = 0.1 * jnp.clip((epoch - 10) / 90, 0, 1)  # tempered, and small data
        divergence = jaxdrop.variational_penalty(
            of(layers, "kernel"), of(layers, "noise")
        )
        return warm_up * divergence

    noise = lambda a, b: jnp.full((a, b), -10.0)
    layers = train(start(noise=noise), forward, penalty)
    sparsity = jaxdrop.variational_sparsity(of(layers, "kernel"), of(layers, "noise"))
    assert sparsity > 0.8
    assert accuracy(forward, layers) > dense_accuracy() - 0.01


@pytest.mark.slow
def test_l0_gates_prune_most_weights_at_equal_accuracy():
    def gated(layer, x, key):
        gates = layer["gates"][None]
        gates = gates if key is None else jnp.broadcast_to(gates, x.shape)
        gates = jaxdrop.hard_concrete(key, gates, deterministic=key is None)
        return (x * gates) @ layer["kernel"]

    def penalty(layers, epoch):
        return 0.2 * sum(
            jaxdrop.hard_concrete_penalty(layer["gates"]) * layer["kernel"].shape[1]
            for layer in layers
        )

    forward = network(gated)
    layers = train(start(gates=lambda a, b: jnp.full(a, 2.0)), forward, penalty)
    is_open = [
        jaxdrop.hard_concrete(None, layer["gates"], deterministic=True) > 0
        for layer in layers
    ]
    alive = [int(gates.sum()) for gates in is_open] + [SIZES[-1]]
    used = sum(a * b for a, b in itertools.pairwise(alive))
    assert used < 0.2 * TOTAL
    assert accuracy(forward, layers) > dense_accuracy() - 0.01
