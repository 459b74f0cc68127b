"""Cells of NNX with their dropout, and sources of keys for them."""

import jax.numpy as jnp
from flax import nnx
from modules.steps import split

import jaxdrop
from chance import normal

BATCH, TIME, INPUTS, UNITS = 3, 5, 4, 6
RATES = {"input_rate": 0.4, "state_rate": 0.5}


def nnx_optimized():
    cell = nnx.OptimizedLSTMCell(INPUTS, UNITS, rngs=nnx.Rngs(1))
    cell.dense_h.bias[...] = normal(4 * UNITS, seed=2)
    arrays = cell.dense_i.kernel[...], cell.dense_h.kernel[...], cell.dense_h.bias[...]
    return cell, list(zip(*(split(array, 4) for array in arrays), strict=True))


def nnx_gru():
    cell = nnx.GRUCell(INPUTS, UNITS, rngs=nnx.Rngs(1))
    cell.dense_i.bias[...] = normal(3 * UNITS, seed=2)
    arrays = cell.dense_i.kernel[...], cell.dense_h.kernel[...], cell.dense_i.bias[...]
    zeros = jnp.zeros((3 * UNITS,))
    return cell, list(zip(*(split(a, 3) for a in (*arrays, zeros)), strict=True))


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
