"""Recurrent cells: what is dropped at which step, against steps written out by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from modules.nnx_cells import (
    BATCH,
    INPUTS,
    RATES,
    TIME,
    UNITS,
    nnx_gru,
    nnx_models,
    nnx_optimized,
)

import jaxdrop
from chance import assert_frequency, assert_uncorrelated, normal


@pytest.fixture
def x():
    return normal(BATCH, TIME, INPUTS)


def test_masks_of_inputs_and_state_are_independent(key):
    """Also where they have one shape, and one key would give one mask."""
    halves = {"input_rate": 0.5, "state_rate": 0.5}
    cells = (
        jaxdrop.nnx.VariationalCell(
            nnx.GRUCell(40, 40, rngs=nnx.Rngs(0)), **halves, rngs=nnx.Rngs(0)
        ).initialize_carry((30, 40), nnx.Rngs(0).carry),
        jaxdrop.linen.VariationalCell(
            nn.GRUCell(40), **halves, deterministic=False
        ).initialize_carry(key, (30, 40)),
    )
    for carry in cells:
        assert_uncorrelated(carry.inputs, carry.state)


def test_evaluation_is_the_plain_cell_and_draws_nothing(x, key):
    for wrap in (
        lambda cell, **mode: jaxdrop.nnx.VariationalCell(cell, **RATES, **mode),
        lambda cell, **mode: jaxdrop.nnx.ZoneoutCell(cell, state_rate=0.0, **mode),
    ):
        plain, _ = nnx_optimized()
        model = nnx.RNN(wrap(plain, rngs=nnx.Rngs(0)))
        model.eval()
        np.testing.assert_array_equal(model(x), nnx.RNN(plain)(x))
        assert model.cell.rngs.count[...] == 0
        model.train()
        view = nnx.view(model, deterministic=True)
        np.testing.assert_array_equal(view(x), nnx.RNN(plain)(x))


def recurrent_dropout(framework, rate=0.5, **options):
    if framework == "nnx":
        cell = jaxdrop.nnx.RecurrentDropoutLSTMCell(
            INPUTS, UNITS, rate, rngs=nnx.Rngs(1), **options
        )
        return cell, cell.initialize_carry((400, INPUTS), nnx.Rngs(0))
    cell = jaxdrop.linen.RecurrentDropoutLSTMCell(
        UNITS, rate, **{"deterministic": False, **options}
    )
    carry = cell.initialize_carry(jax.random.key(3), (400, INPUTS))
    variables = cell.init(jax.random.key(4), carry, jnp.ones((400, INPUTS)))
    return cell.bind(variables), carry


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("framework", ["nnx", "linen"])
def test_recurrent_dropout_drops_updates_and_keeps_the_memory(key, framework, per_step):
    """C' is f * c + i * g / keep, or exactly f * c."""
    cell, carry = recurrent_dropout(framework, 0.3, per_step=per_step)
    plain, no_masks = recurrent_dropout(framework, 0.0, per_step=per_step)
    x = normal(400, INPUTS)
    dropped = []
    for _ in range(2):
        c, h = carry.cell
        memory = lambda *state: np.asarray(
            plain(no_masks._replace(cell=state), x)[0].cell[0]
        )
        kept = memory(jnp.zeros_like(c), h)  # i * g
        remembered = memory(c, h) - kept  # f * c
        carry, y = cell(carry, x)
        added = np.asarray(carry.cell[0]) - remembered
        is_dropped = np.abs(added) < 1e-6
        assert_frequency(is_dropped, 0.3)
        expected = np.where(is_dropped, 0, kept / 0.7)
        np.testing.assert_allclose(added, expected, rtol=1e-3, atol=2e-6)
        np.testing.assert_array_equal(y, carry.cell[1])
        dropped.append(is_dropped)
    assert (dropped[0] == dropped[1]).all() != per_step


def zoneout_cell(framework, **rates):
    if framework == "nnx":
        plain = nnx.LSTMCell(INPUTS, UNITS, rngs=nnx.Rngs(1))
        cell = jaxdrop.nnx.ZoneoutCell(plain, **rates, rngs=nnx.Rngs(0))
        carry = cell.initialize_carry((400, INPUTS), nnx.Rngs(0))
        return cell, plain, carry
    plain = nn.LSTMCell(UNITS)
    cell = jaxdrop.linen.ZoneoutCell(plain, **rates, deterministic=False)
    carry = cell.initialize_carry(jax.random.key(3), (400, INPUTS))
    variables = cell.init(jax.random.key(4), carry, jnp.ones((400, INPUTS)))
    inner = plain.bind({"params": variables["params"]["cell"]})
    return cell.bind(variables), inner, carry


@pytest.mark.parametrize("framework", ["nnx", "linen"])
def test_zoneout_keeps_old_values_afresh_at_every_step(key, framework):
    cell, plain, carry = zoneout_cell(framework, state_rate=0.1, memory_rate=0.5)
    x = normal(400, INPUTS)
    kept = []
    for _ in range(2):
        old = carry.cell
        new, _ = plain(old, x)
        carry, y = cell(carry, x)
        is_old = [np.asarray(a != b) for a, b in zip(carry.cell, new, strict=True)]
        for mixed, before, after, stays in zip(
            carry.cell, old, new, is_old, strict=True
        ):
            np.testing.assert_array_equal(mixed, np.where(stays, before, after))
        assert_frequency(is_old[0], 0.5)
        assert_frequency(is_old[1], 0.1)
        assert_uncorrelated(*is_old)
        assert_uncorrelated(is_old[0][:-1], is_old[0][1:])
        np.testing.assert_array_equal(y, carry.cell[1])
        kept.append(is_old[0])
    assert_uncorrelated(*kept)


@pytest.mark.parametrize("framework", ["nnx", "linen"])
def test_zones_of_memory_and_state_are_independent(key, framework):
    """Also at one rate, where one key would keep the same units of both."""
    cell, plain, carry = zoneout_cell(framework, state_rate=0.5, memory_rate=0.5)
    x = normal(400, INPUTS)
    new, _ = plain(carry.cell, x)
    following, _ = cell(carry, x)
    memory, state = (
        np.asarray(a != b) for a, b in zip(following.cell, new, strict=True)
    )
    assert_frequency(memory, 0.5)
    assert_uncorrelated(memory, state)


@pytest.mark.parametrize("framework", ["nnx", "linen"])
def test_zoneout_evaluates_to_the_expectation_of_a_step(key, framework):
    cell, plain, carry = zoneout_cell(framework, state_rate=0.1, memory_rate=0.5)
    if framework == "nnx":
        evaluation = nnx.view(cell, deterministic=True)
    else:
        evaluation = cell.clone(deterministic=True).bind(cell.variables)
    x = normal(400, INPUTS)
    carry, _ = cell(carry, x)
    (c, h), y = evaluation(carry, x)[0].cell, evaluation(carry, x)[1]
    (new_c, new_h), _ = plain(carry.cell, x)
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)
    close(c, 0.5 * carry.cell[0] + 0.5 * new_c)
    close(h, 0.1 * carry.cell[1] + 0.9 * new_h)
    np.testing.assert_array_equal(y, h)


def test_zoneout_goes_around_a_variational_cell(x):
    plain, _ = nnx_gru()
    cell = jaxdrop.nnx.ZoneoutCell(
        jaxdrop.nnx.VariationalCell(plain, **RATES, rngs=nnx.Rngs(0)),
        state_rate=1.0,
        rngs=nnx.Rngs(1),
    )
    assert not nnx.RNN(cell)(x).any()  # the state never leaves zero
    with pytest.raises(TypeError, match=r"ZoneoutCell\(VariationalCell\(cell\)\)"):
        jaxdrop.nnx.VariationalCell(cell)
    with pytest.raises(TypeError, match=r"ZoneoutCell\(VariationalCell\(cell\)\)"):
        jaxdrop.linen.VariationalCell(
            jaxdrop.linen.ZoneoutCell(nn.GRUCell(UNITS), state_rate=0.1)
        )


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("framework", ["nnx", "linen"])
def test_a_variational_cell_goes_around_recurrent_dropout(x, key, framework, per_step):
    """At a rate of 0 inside it is what it is around a plain LSTM; and both draw."""
    if framework == "nnx":
        around = lambda cell: jaxdrop.nnx.VariationalCell(cell, **RATES)
        of = lambda rate: around(
            jaxdrop.nnx.RecurrentDropoutLSTMCell(
                INPUTS, UNITS, rate, per_step=per_step, rngs=nnx.Rngs(1)
            )
        )
        run = lambda cell: nnx.RNN(cell)(x, rngs=key)
    else:
        of = lambda rate: jaxdrop.linen.VariationalCell(
            jaxdrop.linen.RecurrentDropoutLSTMCell(
                UNITS, rate, per_step=per_step, deterministic=False
            ),
            **RATES,
            deterministic=False,
        )
        keys = {"params": key, "dropout": key}
        run = lambda cell: nn.RNN(cell).init_with_output(keys, x)[0]
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    if framework == "nnx":
        plain = nnx.OptimizedLSTMCell(INPUTS, UNITS, rngs=nnx.Rngs(1))
        close(run(of(0.0)), run(around(plain)))
    assert (run(of(0.5)) != run(of(0.0))).any()
    assert np.isfinite(run(of(0.5))).all()


def test_errors_say_what_is_wrong(x, key):
    gru_cell = nnx_gru()[0]
    with pytest.raises(ValueError, match=r"VariationalCell: state_rate .* got 1\.5"):
        jaxdrop.nnx.VariationalCell(gru_cell, state_rate=1.5)
    with pytest.raises(ValueError, match=r"ZoneoutCell: memory_rate .* got -1"):
        jaxdrop.linen.ZoneoutCell(nn.GRUCell(4), state_rate=0.1, memory_rate=-1)
    with pytest.raises(ValueError, match="per_gate needs a cell"):
        jaxdrop.linen.VariationalCell(nn.OptimizedLSTMCell(4), per_gate=True)
    with pytest.raises(ValueError, match="there are no keys"):
        nnx.RNN(jaxdrop.nnx.VariationalCell(gru_cell, state_rate=0.5))(x)
    for cell in nnx_models():
        evaluation = nnx.view(cell, deterministic=True)
        carry = evaluation.initialize_carry((BATCH, INPUTS), nnx.Rngs(0))
        with pytest.raises(ValueError, match=r"made in evaluation mode.*carry="):
            cell(carry, x[:, 0])


@pytest.mark.parametrize("state_rate", [0.0, 1.0])
def test_at_rates_of_0_and_1_no_key_is_needed_and_none_is_drawn(x, state_rate):
    first, h = np.asarray(x)[:, 0], np.ones((BATCH, UNITS), np.float32)
    rates = {"input_rate": 1.0, "state_rate": state_rate}
    lstm, rngs = nnx.LSTMCell(INPUTS, UNITS, rngs=nnx.Rngs(1)), nnx.Rngs(0)
    expected = lstm((h, h * np.float32(1 - state_rate)), 0 * first)[1]
    for given in ({}, {"rngs": rngs}):
        cell = jaxdrop.nnx.VariationalCell(lstm, **rates, **given)
        y = cell(cell.initialize_carry(first.shape, carry=(h, h)), first)[1]
        np.testing.assert_allclose(y, expected, atol=1e-6)
        zone = jaxdrop.nnx.ZoneoutCell(
            lstm, state_rate=1.0, memory_rate=state_rate, **given
        )
        y = zone(zone.initialize_carry(first.shape, carry=(h, h)), first)[1]
        np.testing.assert_array_equal(y, h)
        assert not given or cell.rngs.count[...] == zone.rngs.count[...] == 0
    for per_step in (False, True):
        cell = jaxdrop.linen.RecurrentDropoutLSTMCell(
            UNITS, 1.0, per_step=per_step, deterministic=False
        )
        y, _ = nn.RNN(cell).init_with_output({"params": jax.random.key(0)}, x)
        assert not y.any()  # nothing is written into the memory
    cell = jaxdrop.linen.VariationalCell(
        nn.GRUCell(UNITS), **rates, deterministic=False
    )
    rnn = nn.RNN(cell)
    y, variables = rnn.init_with_output({"params": jax.random.key(0)}, x)
    np.testing.assert_array_equal(y, rnn.apply(variables, -x))
