"""Recurrent cells: what is dropped at which step, against steps written out by hand."""

import copy
import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from modules.steps import factors, gru, linen_weights, lstm, simple, split, unrolled

import jaxdrop
from chance import assert_frequency, assert_mean, assert_uncorrelated

BATCH, TIME, INPUTS, UNITS = 3, 5, 4, 6
RATES = {"input_rate": 0.4, "state_rate": 0.5}


@pytest.fixture
def x(key):
    return jax.random.normal(key, (BATCH, TIME, INPUTS))


def nnx_lstm():
    cell = nnx.LSTMCell(INPUTS, UNITS, rngs=nnx.Rngs(1))
    products = [(cell.ii, cell.hi), (cell.if_, cell.hf), (cell.ig, cell.hg)]
    products.append((cell.io, cell.ho))
    arrays = [(i.kernel[...], h.kernel[...], h.bias[...]) for i, h in products]
    return cell, jax.tree.map(lambda array: np.asarray(array, np.float64), arrays)


def nnx_optimized():
    cell = nnx.OptimizedLSTMCell(INPUTS, UNITS, rngs=nnx.Rngs(1))
    cell.dense_h.bias[...] = jax.random.normal(jax.random.key(2), (4 * UNITS,))
    arrays = cell.dense_i.kernel[...], cell.dense_h.kernel[...], cell.dense_h.bias[...]
    return cell, list(zip(*(split(array, 4) for array in arrays), strict=True))


def nnx_gru():
    cell = nnx.GRUCell(INPUTS, UNITS, rngs=nnx.Rngs(1))
    cell.dense_i.bias[...] = jax.random.normal(jax.random.key(2), (3 * UNITS,))
    arrays = cell.dense_i.kernel[...], cell.dense_h.kernel[...], cell.dense_i.bias[...]
    zeros = jnp.zeros((3 * UNITS,))
    return cell, list(zip(*(split(a, 3) for a in (*arrays, zeros)), strict=True))


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
LINEN = {
    "lstm": (lambda: nn.LSTMCell(UNITS), lstm, "ifgo"),
    "optimized": (lambda: nn.OptimizedLSTMCell(UNITS), lstm, "ifgo"),
    "gru": (lambda: nn.GRUCell(UNITS), gru, "rzn"),
    "simple": (lambda: nn.SimpleCell(UNITS, residual=True), simple, [""]),
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
    x = jax.random.normal(key, (400, INPUTS))
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


def test_memory_survives_any_number_of_steps():
    """With the forget gate open and the input gate shut nothing is lost or scaled."""
    cell = jaxdrop.nnx.RecurrentDropoutLSTMCell(INPUTS, UNITS, 0.5, rngs=nnx.Rngs(1))
    gates = jnp.repeat(jnp.array([-50.0, 50.0, 0.0, 0.0]), UNITS)
    cell.dense_h.bias[...] = gates
    carry = cell.initialize_carry((BATCH, INPUTS), nnx.Rngs(0))
    memory = jnp.arange(1.0, 19.0).reshape(BATCH, UNITS)
    carry = carry._replace(cell=(memory, carry.cell[1]))
    step = lambda carry, x: cell(carry, x)
    end, _ = jax.lax.scan(step, carry, jnp.ones((200, BATCH, INPUTS)))
    np.testing.assert_allclose(end.cell[0], memory, rtol=1e-5)


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
    x = jax.random.normal(key, (400, INPUTS))
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
    x = jax.random.normal(key, (400, INPUTS))
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
    x = jax.random.normal(key, (400, INPUTS))
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


def nnx_models():
    inner = lambda: nnx_gru()[0]
    semeniuta = jaxdrop.nnx.RecurrentDropoutLSTMCell
    yield jaxdrop.nnx.VariationalCell(inner(), **RATES, rngs=nnx.Rngs(0))
    yield jaxdrop.nnx.ZoneoutCell(inner(), state_rate=0.3, rngs=nnx.Rngs(0))
    yield semeniuta(INPUTS, UNITS, 0.5, rngs=nnx.Rngs(0))


def stateless_models():
    """Cells without a stream; one of them goes around another."""
    inner = lambda: nnx_gru()[0]
    semeniuta = jaxdrop.nnx.RecurrentDropoutLSTMCell(
        INPUTS, UNITS, 0.5, rngs=nnx.Rngs(0)
    )
    semeniuta.rngs = None
    yield jaxdrop.nnx.VariationalCell(inner(), **RATES)
    yield jaxdrop.nnx.ZoneoutCell(inner(), state_rate=0.3)
    yield semeniuta
    yield jaxdrop.nnx.ZoneoutCell(
        jaxdrop.nnx.VariationalCell(inner(), **RATES), state_rate=0.3
    )


def normals(rngs):
    """The memory of a cell that starts at random."""
    cell = nnx.SimpleCell(INPUTS, UNITS, rngs=nnx.Rngs(1))
    cell.carry_init = nnx.initializers.normal(1.0)
    return jaxdrop.nnx.VariationalCell(cell, **RATES).initialize_carry(
        (2000, INPUTS), rngs
    )


@pytest.mark.parametrize("index", range(4))
def test_a_key_is_all_that_a_cell_without_a_stream_needs(x, index):
    cell = list(stateless_models())[index]
    rnn, keys = nnx.RNN(cell), jax.random.split(jax.random.key(5))
    first = rnn(x, rngs=keys[0])
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    close(rnn(x, rngs=keys[0]), first)
    assert np.abs(rnn(x, rngs=keys[1]) - first).max() > 0.01
    raw = jax.random.key_data(keys[0])
    close(rnn(x, rngs=raw), first)
    close(rnn(x, rngs=np.asarray(raw)), first)
    close(nnx.jit(lambda rnn, k: rnn(x, rngs=k))(rnn, keys[0]), first)
    for rngs in (keys[0], raw, nnx.Rngs(4), nnx.Rngs(dropout=4)):
        carry = cell.initialize_carry((BATCH, INPUTS), rngs=rngs)
        assert cell(carry, x[:, 0])[1].shape == (BATCH, UNITS)
    evaluation = nnx.view(rnn, deterministic=True)
    close(evaluation(x, rngs=keys[0]), evaluation(x))


@pytest.mark.parametrize("index", range(3))
def test_what_a_call_gives_goes_before_the_stream_of_the_cell(x, index):
    own, free = list(nnx_models())[index], list(stateless_models())[index]
    k = jax.random.key(3)
    given = nnx.RNN(own)(x, rngs=k)
    np.testing.assert_allclose(given, nnx.RNN(free)(x, rngs=k), rtol=1e-5, atol=1e-6)
    assert own.rngs.count[...] == 0
    own.initialize_carry((BATCH, INPUTS), nnx.Rngs(dropout=1))
    assert own.rngs.count[...] == 0
    for count, rngs in enumerate((nnx.Rngs(1).carry, nnx.Rngs(carry=1))):
        own.initialize_carry((BATCH, INPUTS), rngs)
        assert own.rngs.count[...] == count + 1


def test_the_memory_and_the_masks_of_one_key_are_independent():
    carry = normals(jax.random.key(0))
    assert_uncorrelated(carry.cell > 0, carry.state)
    assert_uncorrelated(carry.inputs, carry.state[:, :INPUTS])
    assert (normals(jax.random.key(1)).cell != carry.cell).any()


@pytest.mark.parametrize("state_rate", [0.0, 1.0])
def test_at_rates_of_0_and_1_no_key_is_needed_and_none_is_drawn(x, state_rate):
    first, h = x[:, 0], jnp.ones((BATCH, UNITS))
    rates = {"input_rate": 1.0, "state_rate": state_rate}
    lstm, rngs = nnx.LSTMCell(INPUTS, UNITS, rngs=nnx.Rngs(1)), nnx.Rngs(0)
    expected = lstm((h, h * (1 - state_rate)), 0 * first)[1]
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


def test_cells_refuse_what_is_no_source_of_keys(x):
    for cell in stateless_models():
        for rngs in (None, nnx.Rngs(0)):  # RNN makes a stream of both
            with pytest.raises(ValueError, match=r"has no keys.*nnx\.RNN"):
                nnx.RNN(cell)(x, rngs=rngs)
        with pytest.raises(TypeError, match=r"rngs must be nnx\.Rngs.* got int"):
            cell.initialize_carry((BATCH, INPUTS), rngs=3)
        with pytest.raises(ValueError, match="takes one key"):
            cell.initialize_carry((BATCH, INPUTS), jax.random.split(jax.random.key(0)))
        with pytest.raises(TypeError, match="key must be a PRNG key"):
            cell.initialize_carry((BATCH, INPUTS), jnp.ones(2))


@pytest.mark.parametrize("index", range(3))
def test_padding_changes_nothing(x, index):
    """Neither what stands in the padding nor how long it is reaches an example."""
    cell = list(nnx_models())[index]
    lengths = jnp.array([2, 5, 3])
    padded = jnp.concatenate([x, jnp.ones((BATCH, 3, INPUTS))], axis=1)
    rnn = lambda: nnx.RNN(copy.deepcopy(cell), return_carry=True)
    run = lambda x: rnn()(x, seq_lengths=lengths)
    if index == 0:
        run = lambda x: nnx.Bidirectional(rnn(), rnn(), return_carry=True)(
            x, seq_lengths=lengths
        )
    (carry, outputs), (padded_carry, padded_outputs) = run(x), run(padded)
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(
            padded_outputs[row, :length], outputs[row, :length], rtol=1e-5, atol=1e-6
        )
    carries = carry if index == 0 else (carry,)
    padded_carries = padded_carry if index == 0 else (padded_carry,)
    for a, b in zip(carries, padded_carries, strict=True):
        for leaf, other in zip(*map(jax.tree.leaves, (a.cell, b.cell)), strict=True):
            np.testing.assert_allclose(leaf, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("index", range(3))
def test_every_loop_gives_what_steps_by_hand_give(x, index):
    cell = list(nnx_models())[index]
    start = cell.initialize_carry((BATCH, INPUTS), nnx.Rngs(0))
    carry, by_hand = start, []
    for t in range(TIME):
        carry, y = cell(carry, x[:, t])
        by_hand.append(y)
    by_hand = jnp.stack(by_hand, axis=1)
    time_major = jnp.swapaxes(x, 0, 1)
    same = lambda y: np.testing.assert_allclose(y, by_hand, rtol=1e-5, atol=1e-6)

    _, ys = jax.lax.scan(lambda carry, x: cell(carry, x), start, time_major)
    same(jnp.swapaxes(ys, 0, 1))

    @nnx.scan(in_axes=(None, nnx.Carry, 1), out_axes=(nnx.Carry, 1))
    def scanned(cell, carry, x):
        return cell(carry, x)

    same(scanned(cell, start, x)[1])

    def body(loop):
        t, carry, ys = loop
        carry, y = cell(carry, time_major[t])
        return t + 1, carry, ys.at[t].set(y)

    empty = jnp.zeros((TIME, BATCH, UNITS))
    loop = jax.lax.while_loop(lambda loop: loop[0] < TIME, body, (0, start, empty))
    same(jnp.swapaxes(loop[2], 0, 1))


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
    states = [
        rnn.apply(variables, x, rngs={"dropout": jax.random.key(seed)})[0].state
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(states[0], states[1])
    assert (states[0] != states[2]).any()
    evaluation = nn.RNN(cell.clone(deterministic=True))
    plain = {"params": {"cell": variables["params"]["cell"]["cell"]}}
    np.testing.assert_array_equal(
        evaluation.apply(variables, x), nn.RNN(nn.GRUCell(UNITS)).apply(plain, x)
    )


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


def test_nnx_cells_can_be_pickled_and_copied(x):
    """With plain functions as activations: JAX cannot pickle its jitted ones."""
    plain = nnx.SimpleCell(INPUTS, UNITS, activation_fn=jax.lax.tanh, rngs=nnx.Rngs(0))
    inner = jaxdrop.nnx.VariationalCell(plain, **RATES, rngs=nnx.Rngs(0))
    cell = jaxdrop.nnx.ZoneoutCell(inner, state_rate=0.3, rngs=nnx.Rngs(0))
    twins = pickle.loads(pickle.dumps(cell)), copy.deepcopy(cell), nnx.clone(cell)
    expected = nnx.RNN(cell)(x)
    for twin in twins:
        np.testing.assert_array_equal(nnx.RNN(twin)(x), expected)
    assert (nnx.RNN(cell)(x) != expected).any()  # counters are their own


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


def test_errors_say_what_is_wrong(x, key):
    gru_cell = nnx_gru()[0]
    with pytest.raises(ValueError, match=r"VariationalCell: state_rate .* got 1\.5"):
        jaxdrop.nnx.VariationalCell(gru_cell, state_rate=1.5)
    with pytest.raises(ValueError, match=r"ZoneoutCell: memory_rate .* got -1"):
        jaxdrop.linen.ZoneoutCell(nn.GRUCell(4), state_rate=0.1, memory_rate=-1)
    with pytest.raises(ValueError, match="per_gate needs a cell"):
        jaxdrop.linen.VariationalCell(nn.OptimizedLSTMCell(4), per_gate=True)
    with pytest.raises(ValueError, match="has no keys"):
        nnx.RNN(jaxdrop.nnx.VariationalCell(gru_cell, state_rate=0.5))(x)
    for cell in nnx_models():
        evaluation = nnx.view(cell, deterministic=True)
        carry = evaluation.initialize_carry((BATCH, INPUTS), nnx.Rngs(0))
        with pytest.raises(ValueError, match=r"made in evaluation mode.*carry="):
            cell(carry, x[:, 0])


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
