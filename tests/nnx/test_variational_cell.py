"""The variational cell of NNX: masks of a sequence, against steps written by hand."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from modules.nnx_cells import BATCH, INPUTS, RATES, TIME, UNITS, nnx_gru, nnx_optimized
from modules.steps import factors, gru, lstm, simple, unrolled

import jaxdrop
from chance import assert_frequency, assert_mean, assert_uncorrelated


@pytest.fixture
def x(key):
    return jax.random.normal(key, (BATCH, TIME, INPUTS))


def nnx_lstm():
    cell = nnx.LSTMCell(INPUTS, UNITS, rngs=nnx.Rngs(1))
    products = [(cell.ii, cell.hi), (cell.if_, cell.hf), (cell.ig, cell.hg)]
    products.append((cell.io, cell.ho))
    arrays = [(i.kernel[...], h.kernel[...], h.bias[...]) for i, h in products]
    return cell, jax.tree.map(lambda array: np.asarray(array, np.float64), arrays)


def nnx_simple():
    cell = nnx.SimpleCell(INPUTS, UNITS, residual=True, rngs=nnx.Rngs(1))
    arrays = cell.dense_i.kernel[...], cell.dense_h.kernel[...], cell.dense_i.bias[...]
    return cell, [tuple(np.asarray(a, np.float64) for a in arrays)]


NNX = {
    "lstm": (nnx_lstm, lstm, 4),
    "optimized": (nnx_optimized, lstm, 4),
    "gru": (nnx_gru, gru, 3),
    "simple": (nnx_simple, simple, 1),
}
GATED = [("lstm", False), ("simple", False), ("gru", False), ("gru", True)]


@pytest.mark.parametrize(
    "name, per_gate", [*GATED, ("lstm", True), ("optimized", True)]
)
def test_nnx_products_see_one_mask_at_all_steps_and_memory_sees_none(x, name, per_gate):
    build, step, gates = NNX[name]
    plain, weights = build()
    cell = jaxdrop.nnx.VariationalCell(
        plain, **RATES, per_gate=per_gate, rngs=nnx.Rngs(0)
    )
    twin = copy.deepcopy(cell)  # draws what the cell will draw
    start = twin.initialize_carry((BATCH, INPUTS), nnx.Rngs(0).carry)
    assert start.inputs.shape == (BATCH, *([gates] if per_gate else []), INPUTS)
    masks_x = factors(start.inputs, 0.4, gates)
    masks_h = factors(start.state, 0.5, gates)
    assert any((m == 0).any() for m in masks_x) and any((m == 0).any() for m in masks_h)
    expected = unrolled(step, weights, start.cell, x, masks_x, masks_h)
    np.testing.assert_allclose(nnx.RNN(cell)(x), expected, rtol=2e-4, atol=2e-5)


def test_masks_differ_over_sequences_examples_and_gates_and_have_the_rate(key):
    cell = jaxdrop.nnx.VariationalCell(
        nnx.GRUCell(30, 40, rngs=nnx.Rngs(0)), **RATES, per_gate=True, rngs=nnx.Rngs(0)
    )
    carries = [cell.initialize_carry((30, 30), nnx.Rngs(0).carry) for _ in range(2)]
    first, second = (np.asarray(carry.state) for carry in carries)
    assert first.shape == (30, 3, 40)
    assert_frequency(first, 0.5)
    assert_frequency(carries[0].inputs, 0.6)
    assert_uncorrelated(first, second)
    assert_uncorrelated(first[:-1], first[1:])
    assert_uncorrelated(first[:, :-1], first[:, 1:])
    assert_uncorrelated(carries[0].inputs, carries[0].state[..., :30])


def normals(rngs):
    """The memory of a cell that starts at random."""
    cell = nnx.SimpleCell(INPUTS, UNITS, rngs=nnx.Rngs(1))
    cell.carry_init = nnx.initializers.normal(1.0)
    return jaxdrop.nnx.VariationalCell(cell, **RATES).initialize_carry(
        (2000, INPUTS), rngs
    )


def test_the_memory_and_the_masks_of_one_key_are_independent():
    carry = normals(jax.random.key(0))
    assert_uncorrelated(carry.cell > 0, carry.state)
    assert_uncorrelated(carry.inputs, carry.state[:, :INPUTS])
    assert (normals(jax.random.key(1)).cell != carry.cell).any()


def test_gradients_flow_and_masks_are_not_kept_for_every_step(x):
    cell = jaxdrop.nnx.VariationalCell(nnx_gru()[0], **RATES, rngs=nnx.Rngs(0))
    start = cell.initialize_carry((BATCH, INPUTS), nnx.Rngs(0))
    graph, params, rest = nnx.split(cell, nnx.Param, ...)

    def loss(params, x):
        cell = nnx.merge(graph, params, rest, copy=True)
        _, ys = jax.lax.scan(lambda c, x: cell(c, x), start, jnp.swapaxes(x, 0, 1))
        return (ys**2).sum()

    gradients = jax.grad(loss, argnums=(0, 1))(params, x)
    assert all(np.isfinite(g).all() and g.any() for g in jax.tree.leaves(gradients))
    program = str(jax.make_jaxpr(jax.grad(loss))(params, x))
    assert f"bool[{TIME},{BATCH}," not in program


def test_a_shared_rate_changes_cells_without_recompiling(x):
    rate = jaxdrop.nnx.Rate(jnp.float32(0.0))
    cell = jaxdrop.nnx.VariationalCell(
        nnx_gru()[0], input_rate=rate, state_rate=rate, rngs=nnx.Rngs(0)
    )
    model = nnx.RNN(cell)
    traces = []

    @nnx.jit
    def run(model, x):
        traces.append(1)
        return model(x)

    plain = nnx.RNN(nnx_gru()[0])(x)
    np.testing.assert_allclose(run(model, x), plain, rtol=1e-5, atol=1e-6)
    rate[...] = jnp.float32(0.5)
    assert np.abs(run(model, x) - plain).max() > 0.05 and len(traces) == 1
    rate[...] = jnp.float32(1.5)
    assert np.isnan(run(model, x)).all()


class Custom(nnx.RNNCellBase):
    """A cell that is not Flax's own: its product has another name."""

    def __init__(self, *, rngs):
        self.mix = nnx.Linear(INPUTS + UNITS, UNITS, rngs=rngs)

    def initialize_carry(self, input_shape, rngs=None):
        """Starts with ones."""
        return jnp.ones((*input_shape[:-1], UNITS))

    def __call__(self, carry, inputs):
        """One step."""
        h = jnp.tanh(self.mix(jnp.concatenate([inputs, carry], axis=-1)))
        return h, h

    num_feature_axes = 1


def test_of_an_unknown_cell_inputs_and_state_are_masked(x):
    plain = Custom(rngs=nnx.Rngs(0))
    cell = jaxdrop.nnx.VariationalCell(plain, **RATES, rngs=nnx.Rngs(0))
    carry = cell.initialize_carry((BATCH, INPUTS), nnx.Rngs(0))
    dropped_x = jnp.where(carry.inputs, x[:, 0] / 0.6, 0)
    dropped_h = jnp.where(carry.state, carry.cell / 0.5, 0)
    expected, _ = plain(dropped_h, dropped_x)
    np.testing.assert_allclose(cell(carry, x[:, 0])[1], expected, rtol=1e-6)


def test_the_mean_over_masks_of_a_linear_step_is_the_plain_step(key):
    """In a linear cell dropout with rescaling is unbiased."""
    plain = nnx.SimpleCell(
        INPUTS, UNITS, activation_fn=lambda v: v, residual=True, rngs=nnx.Rngs(1)
    )
    cell = jaxdrop.nnx.VariationalCell(plain, **RATES, rngs=nnx.Rngs(0))
    shape = (4096, INPUTS)
    row = lambda width: jax.random.normal(key, (1, width))
    tile = lambda row: jnp.tile(row, (4096, 1))
    carry = cell.initialize_carry(shape, nnx.Rngs(0))._replace(cell=tile(row(UNITS)))
    _, outputs = cell(carry, tile(row(INPUTS)))
    assert_mean(outputs, plain(row(UNITS), row(INPUTS))[1][0])


@pytest.mark.parametrize("cell", [nnx.LSTMCell, nnx.OptimizedLSTMCell])
def test_a_step_with_a_mask_for_each_gate_equals_one_without_at_rate_0(cell):
    """The products of the gates are computed apart, and are the same products."""
    plain = cell(3, 4, rngs=nnx.Rngs(0))
    masked = jaxdrop.nnx.VariationalCell(
        plain,
        input_rate=jnp.float32(0),
        state_rate=jnp.float32(0),
        per_gate=True,
        rngs=nnx.Rngs(1),
    )
    x, carry = jnp.ones((2, 3)), masked.initialize_carry((2, 3), nnx.Rngs(0))
    _, y = masked(carry, x)
    np.testing.assert_allclose(y, plain(carry.cell, x)[1], rtol=1e-5)
