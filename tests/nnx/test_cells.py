"""Recurrent cells of NNX: sources of keys, loops, padding and copies."""

import copy
import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from modules.nnx_cells import (
    BATCH,
    INPUTS,
    RATES,
    TIME,
    UNITS,
    nnx_models,
    stateless_models,
)

import jaxdrop
from chance import normal


@pytest.fixture
def x():
    return normal(BATCH, TIME, INPUTS)


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


def test_cells_refuse_what_is_no_source_of_keys(x):
    for cell in stateless_models():
        for rngs in (None, nnx.Rngs(0)):  # RNN makes a stream of both
            with pytest.raises(ValueError, match=r"there are no keys.*nnx\.RNN"):
                nnx.RNN(cell)(x, rngs=rngs)
        with pytest.raises(TypeError, match=r"rngs must be nnx\.Rngs.* got int"):
            cell.initialize_carry((BATCH, INPUTS), rngs=3)
        with pytest.raises(ValueError, match="key must be one key"):
            cell.initialize_carry((BATCH, INPUTS), jax.random.split(jax.random.key(0)))
        with pytest.raises(TypeError, match="key must be a PRNG key"):
            cell.initialize_carry((BATCH, INPUTS), jnp.ones(2))


@pytest.mark.parametrize("index", range(3))
def test_padding_changes_nothing(x, index):
    """Neither what stands in the padding nor how long it is reaches an example."""
    cell = list(nnx_models())[index]
    lengths = np.array([2, 5, 3])
    padded = np.concatenate([x, np.ones((BATCH, 3, INPUTS), np.float32)], axis=1)
    rnn = lambda: nnx.RNN(copy.deepcopy(cell), return_carry=True)
    both = lambda: nnx.Bidirectional(rnn(), rnn(), return_carry=True)
    make = both if index == 0 else rnn
    run = nnx.jit(lambda model, x: model(x, seq_lengths=lengths))
    (carry, outputs), (padded_carry, padded_outputs) = (
        run(make(), data) for data in (x, padded)
    )
    outputs, padded_outputs = map(np.asarray, (outputs, padded_outputs))
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


def test_nnx_cells_can_be_pickled_and_copied(x):
    """With plain functions as activations: JAX cannot pickle its jitted ones."""
    plain = nnx.SimpleCell(INPUTS, UNITS, activation_fn=jax.lax.tanh, rngs=nnx.Rngs(0))
    inner = jaxdrop.nnx.VariationalCell(plain, **RATES, rngs=nnx.Rngs(0))
    cell = jaxdrop.nnx.ZoneoutCell(inner, state_rate=0.3, rngs=nnx.Rngs(0))
    twins = pickle.loads(pickle.dumps(cell)), copy.deepcopy(cell), nnx.clone(cell)
    run = nnx.jit(lambda cell, x: nnx.RNN(cell)(x))
    expected = run(cell, x)
    for twin in twins:
        np.testing.assert_array_equal(run(twin, x), expected)
    assert np.any(run(cell, x) != expected)  # counters are their own
