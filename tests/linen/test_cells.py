"""Recurrent cells of Linen: padding, and modules that are values."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from modules.nnx_cells import BATCH, INPUTS, RATES, TIME, UNITS

import jaxdrop


@pytest.fixture
def x(key):
    return jax.random.normal(key, (BATCH, TIME, INPUTS))


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


def test_in_evaluation_a_plain_carry_stays_one_and_a_given_start_is_wrapped():
    inner = jaxdrop.linen.VariationalCell(
        nn.LSTMCell(3), input_rate=0.5, state_rate=0.5, state=1, deterministic=True
    )
    cell = jaxdrop.linen.ZoneoutCell(inner, state_rate=0.5, deterministic=True)
    start, key = (jnp.ones((2, 3)), jnp.ones((2, 3))), jax.random.key(0)
    (carry, y), variables = cell.init_with_output(key, start, jnp.ones((2, 4)))
    plain = variables["params"]["cell"]["cell"]
    _, new = nn.LSTMCell(3).apply({"params": plain}, start, jnp.ones((2, 4)))
    np.testing.assert_allclose(y, (new + 1) / 2, rtol=1e-6)
    assert jax.tree.structure(carry) == jax.tree.structure(start)
    wrapped = cell.initialize_carry(key, (2, 4), carry=start)
    assert jax.tree.leaves(wrapped)[:2] == [*start]
