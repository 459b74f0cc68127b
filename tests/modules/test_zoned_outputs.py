"""The output of a zoned cell is the state that results, or what was asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from modules.cells import BATCH, INPUTS, UNITS, StateFirst, X

import jaxdrop


class Returns(nnx.LSTMCell):
    """An LSTM that returns a function of its state."""

    def __init__(self, function):
        super().__init__(INPUTS, UNITS, rngs=nnx.Rngs(1))
        self.function = function

    def __call__(self, carry, inputs):
        """One step."""
        carry, y = super().__call__(carry, inputs)
        return carry, self.function(y)


class LinenReturns(nn.LSTMCell):
    """Likewise, for Linen."""

    function: object = None

    @nn.compact
    def __call__(self, carry, inputs):
        """One step."""
        carry, y = super().__call__(carry, inputs)
        return carry, self.function(y)


COPIES = {
    "sum": lambda y: y + 0,
    "clip": lambda y: jnp.clip(y, -9, 9),
    "cast": lambda y: y.astype(jnp.bfloat16),
    "remat": jax.checkpoint(lambda y: y * 1),
}


@pytest.mark.parametrize("framework", ["nnx", "linen"])
@pytest.mark.parametrize("name", COPIES)
def test_an_output_that_is_a_copy_of_the_state_is_zoned(framework, name):
    rates = {"state_rate": 0.5, "memory_rate": 0.2}
    if framework == "nnx":
        cell = jaxdrop.nnx.ZoneoutCell(Returns(COPIES[name]), **rates, rngs=nnx.Rngs(0))
        carry = cell.initialize_carry((BATCH, INPUTS), nnx.Rngs(0))
        new, y = cell(carry, X[:, 0])
    else:
        cell = jaxdrop.linen.ZoneoutCell(
            LinenReturns(UNITS, function=COPIES[name]), **rates, deterministic=False
        )
        carry = cell.initialize_carry(jax.random.key(1), (BATCH, INPUTS))
        (new, y), _ = cell.init_with_output(jax.random.key(2), carry, X[:, 0])
    assert 0 < (np.asarray(new.cell[1]) == 0).sum() < BATCH * UNITS
    np.testing.assert_array_equal(y, new.cell[1].astype(y.dtype))


@pytest.mark.parametrize("transform", [nn.remat, nn.jit])
def test_the_output_of_a_transformed_cell_is_zoned(transform):
    cell = jaxdrop.linen.ZoneoutCell(
        transform(nn.GRUCell)(UNITS), state_rate=0.5, deterministic=False
    )
    carry = cell.initialize_carry(jax.random.key(1), (BATCH, INPUTS))
    (new, y), _ = cell.init_with_output(jax.random.key(2), carry, X[:, 0])
    assert (np.asarray(y) == 0).any() and np.asarray(y).any()
    np.testing.assert_array_equal(y, new.cell)


@pytest.mark.parametrize("framework", ["nnx", "linen"])
def test_an_output_may_be_a_function_of_the_state(framework):
    """In training of the zoned state, and in evaluation of its expectation."""
    narrow = lambda h: jnp.clip(h, -0.05, 0.05)[..., :2]
    own, rates = {"output": narrow}, {"state_rate": 0.5, "memory_rate": 0.5}
    for deterministic in (False, True):
        if framework == "nnx":
            cell = jaxdrop.nnx.ZoneoutCell(
                Returns(narrow), **rates, **own, deterministic=deterministic
            )
            carry = cell.initialize_carry((BATCH, INPUTS), jax.random.key(0))
            new, y = cell(carry, X[:, 0])
        else:
            cell = jaxdrop.linen.ZoneoutCell(
                LinenReturns(UNITS, function=narrow),
                **rates,
                **own,
                deterministic=deterministic,
            )
            carry = cell.initialize_carry(jax.random.key(1), (BATCH, INPUTS))
            (new, y), _ = cell.init_with_output(jax.random.key(2), carry, X[:, 0])
        np.testing.assert_array_equal(y, narrow(new.cell[1]))
    for output in ("both", 3, jnp.ones(2)):
        with pytest.raises(ValueError, match='output must be "state", "cell" or a fu'):
            jaxdrop.nnx.ZoneoutCell(Returns(narrow), **rates, output=output)


def test_an_output_that_is_not_the_state_is_never_zoned_in_silence():
    rates = {"state_rate": 0.5, "memory_rate": 0.5}
    double = Returns(lambda y: 2 * y)
    carry = jaxdrop.nnx.ZoneoutCell(double, **rates).initialize_carry(
        (BATCH, INPUTS), jax.random.key(0)
    )
    assert np.isnan(jaxdrop.nnx.ZoneoutCell(double, **rates)(carry, X[:, 0])[1]).all()
    kept = jaxdrop.nnx.ZoneoutCell(double, **rates, output="cell")
    np.testing.assert_array_equal(
        kept(carry, X[:, 0])[1], double(carry.cell, X[:, 0])[1]
    )
    narrow = jaxdrop.nnx.ZoneoutCell(Returns(lambda y: y[:, :2]), **rates)
    with pytest.raises(ValueError, match=r'output="cell"'):
        narrow(carry, X[:, 0])

    class Other(StateFirst):
        def __call__(self, carry, inputs):
            new, y = super().__call__(carry, inputs)
            return new, y + 0

    for state in (None, 0):
        other = jaxdrop.nnx.ZoneoutCell(
            Other(INPUTS, UNITS, nnx.Rngs(0)), **rates, state=state
        )
        carry = other.initialize_carry((BATCH, INPUTS), jax.random.key(0))
        with pytest.raises(ValueError, match=r'pass state=|output="state"'):
            other(carry, X[:, 0])


def test_an_output_that_is_an_array_of_the_carry_shows_the_state():
    plain = StateFirst(INPUTS, UNITS, nnx.Rngs(1))
    zone = jaxdrop.nnx.ZoneoutCell(plain, state_rate=1.0, rngs=nnx.Rngs(0))
    carry = zone.initialize_carry((BATCH, INPUTS), nnx.Rngs(0))
    new, y = zone(carry, X[:, 0])
    assert not y.any() and not new.cell[0].any() and new.cell[1].all()
