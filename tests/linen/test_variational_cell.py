"""The variational cell of Linen: masks of a sequence, against steps written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from modules.nnx_cells import BATCH, INPUTS, RATES, TIME, UNITS
from modules.steps import factors, gru, linen_weights, lstm, simple, unrolled

import jaxdrop
from chance import normal


@pytest.fixture
def x():
    return normal(BATCH, TIME, INPUTS)


LINEN = {
    "lstm": (lambda: nn.LSTMCell(UNITS), lstm, "ifgo"),
    "optimized": (lambda: nn.OptimizedLSTMCell(UNITS), lstm, "ifgo"),
    "gru": (lambda: nn.GRUCell(UNITS), gru, "rzn"),
    "simple": (lambda: nn.SimpleCell(UNITS, residual=True), simple, [""]),
}


@pytest.mark.parametrize(
    "name, per_gate",
    [("lstm", False), ("optimized", False), ("gru", True), ("simple", False)],
)
def test_linen_products_see_one_mask_at_all_steps(x, key, name, per_gate):
    build, step, gates = LINEN[name]
    cell = jaxdrop.linen.VariationalCell(
        build(), **RATES, per_gate=per_gate, deterministic=False
    )
    rnn = nn.RNN(cell, return_carry=True)
    variables = rnn.init({"params": key, "dropout": key}, x)
    end, outputs = rnn.apply(variables, x, rngs={"dropout": key})
    weights = linen_weights(variables["params"]["cell"]["cell"], step, gates)
    masks_x = factors(end.inputs, 0.4, len(gates))
    masks_h = factors(end.state, 0.5, len(gates))
    zeros = jax.tree.map(jnp.zeros_like, end.cell)
    expected = unrolled(step, weights, zeros, x, masks_x, masks_h)
    np.testing.assert_allclose(outputs, expected, rtol=2e-4, atol=2e-5)


def test_linen_scan_gives_what_steps_by_hand_give(x, key):
    cell = jaxdrop.linen.VariationalCell(
        nn.GRUCell(UNITS), **RATES, deterministic=False
    )
    start = cell.initialize_carry(key, (BATCH, INPUTS))
    variables = cell.init(key, start, x[:, 0])
    scan = nn.scan(
        lambda cell, carry, x: cell(carry, x),
        variable_broadcast="params",
        split_rngs={"params": False},
        in_axes=1,
        out_axes=1,
    )
    _, ys = nn.apply(lambda cell: scan(cell, start, x), cell)(variables)
    carry, by_hand = start, []
    for t in range(TIME):
        carry, y = cell.apply(variables, carry, x[:, t])
        by_hand.append(y)
    np.testing.assert_allclose(ys, jnp.stack(by_hand, axis=1), rtol=1e-5, atol=1e-6)


def test_linen_draws_from_its_collection_and_not_from_the_key_that_rnn_passes(x, key):
    cell = jaxdrop.linen.VariationalCell(
        nn.GRUCell(UNITS), **RATES, deterministic=False
    )
    rnn = nn.RNN(cell, return_carry=True)
    variables = rnn.init({"params": key, "dropout": key}, x)
    apply = jax.jit(lambda key: rnn.apply(variables, x, rngs={"dropout": key}))
    states = [apply(jax.random.key(seed))[0].state for seed in (0, 0, 1)]
    np.testing.assert_array_equal(states[0], states[1])
    assert np.any(states[0] != states[2])
    evaluation = nn.RNN(cell.clone(deterministic=True))
    plain = {"params": {"cell": variables["params"]["cell"]["cell"]}}
    np.testing.assert_array_equal(
        evaluation.apply(variables, x), nn.RNN(nn.GRUCell(UNITS)).apply(plain, x)
    )
