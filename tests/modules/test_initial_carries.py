"""Sequences start from a given state, and evaluation needs no masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from modules.cells import BATCH, INPUTS, UNITS, X

import jaxdrop

RATES = {"input_rate": 0.4, "state_rate": 0.5}


def cells_to_start(framework):
    """Cells around an LSTM, by name."""
    room = getattr(jaxdrop, framework)
    if framework == "nnx":
        lstm_cell = lambda: nnx.LSTMCell(INPUTS, UNITS, rngs=nnx.Rngs(1))
        mode = {"rngs": nnx.Rngs(0)}
        own = lambda **k: room.RecurrentDropoutLSTMCell(INPUTS, UNITS, 0.5, **k, **mode)
    else:
        lstm_cell = lambda: nn.LSTMCell(UNITS)
        mode = {"deterministic": False}
        own = lambda **k: room.RecurrentDropoutLSTMCell(UNITS, 0.5, **k, **mode)
    variational = lambda cell: room.VariationalCell(cell, **RATES, **mode)
    yield variational(lstm_cell())
    yield room.ZoneoutCell(lstm_cell(), state_rate=0.3, **mode)
    yield room.ZoneoutCell(variational(lstm_cell()), state_rate=0.3, **mode)
    yield variational(own())
    yield own()
    yield own(per_step=True)


STATE = (jnp.full((BATCH, UNITS), 0.25), jnp.full((BATCH, UNITS), -0.5))


@pytest.mark.parametrize("framework", ["nnx", "linen"])
@pytest.mark.parametrize("index", range(6))
def test_a_sequence_starts_from_a_given_state(framework, index):
    cell = list(cells_to_start(framework))[index]
    shape, key = (BATCH, INPUTS), jax.random.key(1)
    arguments = (shape, key) if framework == "nnx" else (key, shape)
    plain = cell.initialize_carry(*arguments)
    start = cell.initialize_carry(*arguments, carry=STATE)
    inner = start
    while not isinstance(inner, tuple) or hasattr(inner, "cell"):
        inner = inner.cell
    jax.tree.map(np.testing.assert_array_equal, inner, STATE)
    assert jax.tree.structure(start) == jax.tree.structure(plain)
    again = cell.initialize_carry(*arguments, carry=start)
    as_bits = lambda a: (
        jax.random.key_data(a)
        if a.dtype != bool
        and a.ndim == 1
        and jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
        else a
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(as_bits(a), as_bits(b)), start, again
    )
    short = jax.tree.map(lambda leaf: leaf[:1], STATE)
    with pytest.raises(ValueError, match=r"carry must have the batch \(3,\)"):
        cell.initialize_carry(*arguments, carry=short)


@pytest.mark.parametrize("index", range(6))
def test_evaluation_takes_and_gives_the_carry_of_the_cell_itself(index):
    cell = list(cells_to_start("nnx"))[index]
    evaluation = nnx.view(cell, deterministic=True)
    new, y = evaluation(STATE, X[:, 0])
    assert jax.tree.structure(new) == jax.tree.structure(STATE)
    wrapped = evaluation.initialize_carry((BATCH, INPUTS), nnx.Rngs(0), carry=STATE)
    np.testing.assert_array_equal(evaluation(wrapped, X[:, 0])[1], y)
    with pytest.raises(ValueError, match=r"no masks or keys.* carry=state"):
        cell(STATE, X[:, 0])
    with pytest.raises(ValueError, match=r"made in evaluation mode.* carry=state"):
        cell(wrapped, X[:, 0])
    with pytest.raises(ValueError, match="carry=state"):
        nnx.RNN(cell)(X, initial_carry=STATE)
