"""Uncertainty beyond the data: the series, the network, its training and its table."""

from functools import partial

import jax
import jax.numpy as jnp
import mc_dropout_regression as example
import numpy as np
import pytest
from reading import lines_of

HIDDEN = (6, 4)


@pytest.fixture
def params(key):
    return example.init(key, HIDDEN)


def test_the_series_is_standardized_and_always_the_same():
    times, values = example.made_up()
    assert times.shape == values.shape == (272,)
    np.testing.assert_allclose((values.mean(), values.std()), (0, 1), atol=1e-9)
    np.testing.assert_array_equal(values, example.made_up()[1])


def test_layers_lead_from_one_number_to_one_number(params):
    shapes = [layer["kernel"].shape for layer in params]
    assert shapes == [(1, 6), (6, 4), (4, 1)]
    assert all((layer["bias"] == 0).all() for layer in params)


@pytest.mark.parametrize("name", example.ACTIVATIONS)
def test_without_dropout_the_network_is_a_plain_one(name, params, key):
    times = np.linspace(-2, 2, 7, dtype=np.float32)
    plain = {"ReLU": lambda x: np.maximum(x, 0), "tanh": np.tanh}[name]
    x = times[:, None]
    for layer, weights in enumerate(params):
        x = plain(x) if layer else x
        x = x @ np.asarray(weights["kernel"]) + np.asarray(weights["bias"])
    activation = example.ACTIVATIONS[name]
    found = example.network(key, params, times, activation=activation, rate=0.0)
    np.testing.assert_allclose(found, x[:, 0], rtol=1e-4, atol=1e-6)


def test_dropout_is_after_each_hidden_layer_with_masks_of_its_own(key):
    ones = [
        {"kernel": jnp.eye(50, dtype=jnp.float32), "bias": jnp.zeros(50)}
        for _ in range(3)
    ]
    ones[0] = {"kernel": jnp.ones((1, 50)), "bias": jnp.zeros(50)}
    ones[2] = {"kernel": jnp.ones((50, 1)), "bias": jnp.zeros(1)}
    apply = partial(example.network, activation=jax.nn.relu, rate=0.5)
    kept = apply(key, ones, jnp.ones(200)) / 4  # each of 50 units is kept or not, twice
    assert (kept == kept.round()).all()
    assert float(kept.mean()) == pytest.approx(50 / 4, abs=1)


@pytest.mark.slow
def test_training_in_blocks_is_training(params, key, monkeypatch):
    times, values = (jnp.asarray(a, jnp.float32) for a in example.made_up())
    apply = partial(example.network, activation=jnp.tanh, rate=0.1)
    train = partial(example.train, key, apply, params, (times, values))
    whole = train(50, "whole")
    monkeypatch.setattr(example, "_BLOCK", 20)  # the last block is smaller
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
        train(50, "in blocks"),
        whole,
    )
    error = lambda params: ((apply(key, params, times) - values) ** 2).mean()
    assert error(whole) < 0.9 * error(params)


def test_the_table_asks_at_distances_from_the_end():
    times = np.linspace(0, 6, 7)
    stds = {"ReLU": np.arange(7.0), "tanh": np.ones(7)}
    rows = lines_of(example.report(times, stds, end=2.0, beyond=4.0), width=80)
    assert ["before", "it,", "mean", "1.000", "1.000"] in rows
    numbers = [row for row in rows if len(row) == 3 and row[0].endswith(".00")]
    assert [row[0] for row in numbers] == ["1.00", "2.00", "3.00", "4.00"]
    assert [row[1] for row in numbers] == ["3.000", "4.000", "5.000", "6.000"]
