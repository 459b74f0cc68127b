"""Recurrent cells of Linen: padding, and modules that are values."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from modules.nnx_cells import BATCH, INPUTS, RATES, TIME, UNITS

import jaxdrop
from chance import normal


@pytest.fixture
def x():
    return normal(BATCH, TIME, INPUTS)


@pytest.mark.slow
def test_padding_changes_nothing_in_linen(x, key):
    cell = jaxdrop.linen.ZoneoutCell(
        jaxdrop.linen.VariationalCell(nn.LSTMCell(UNITS), **RATES, deterministic=False),
        state_rate=0.2,
        memory_rate=0.4,
        deterministic=False,
    )
    model = nn.Bidirectional(nn.RNN(cell), nn.RNN(cell.clone()))
    lengths = jnp.array([2, 5, 3])
    variables = model.init({"params": key, "dropout": key}, x)
    run = lambda x: model.apply(
        variables, x, seq_lengths=lengths, rngs={"dropout": jax.random.key(1)}
    )
    outputs = run(x)
    padded = run(jnp.concatenate([x, jnp.ones((BATCH, 3, INPUTS))], axis=1))
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(
            padded[row, :length], outputs[row, :length], rtol=1e-5, atol=1e-6
        )


def test_linen_cells_are_values():
    for build in (
        lambda: jaxdrop.linen.VariationalCell(nn.GRUCell(UNITS), **RATES),
        lambda: jaxdrop.linen.ZoneoutCell(nn.GRUCell(UNITS), state_rate=0.1),
        lambda: jaxdrop.linen.RecurrentDropoutLSTMCell(UNITS, 0.5),
    ):
        cell = build()
        assert cell == copy.copy(cell) and hash(cell) == hash(cell.clone())
        assert type(copy.deepcopy(cell)) is type(cell)
        assert cell != cell.clone(deterministic=True)
