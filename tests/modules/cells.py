"""Cells that are not those of Flax, and data for cells."""

import jax.numpy as jnp
from flax import nnx

from chance import normal

BATCH, TIME, INPUTS, UNITS = 3, 3, 4, 6
X = normal(BATCH, TIME, INPUTS)


class StateFirst(nnx.RNNCellBase):
    """An LSTM whose carry is (state, memory)."""

    def __init__(self, inputs, units, rngs):
        self.units = units
        self.wx = nnx.Linear(inputs, 4 * units, rngs=rngs)
        self.wh = nnx.Linear(units, 4 * units, rngs=rngs)

    def initialize_carry(self, input_shape, rngs=None):
        """Zeros."""
        zeros = jnp.zeros((*input_shape[:-1], self.units))
        return zeros, zeros

    def __call__(self, carry, inputs):
        """One step."""
        h, c = carry
        i, f, g, o = jnp.split(self.wx(inputs) + self.wh(h), 4, -1)
        c = nnx.sigmoid(f) * c + nnx.sigmoid(i) * jnp.tanh(g)
        h = nnx.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    num_feature_axes = 1


class Forgetful(nnx.GRUCell):
    """A step that calls another one, and not all of its own layers."""

    def __call__(self, carry, inputs):
        """One step."""
        h = jnp.tanh(self.dense_h.__call__(carry)[..., : carry.shape[-1]])
        return h, h
