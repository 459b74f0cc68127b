"""Masks reach the products of NNX cells that are transformed or derived."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from modules.cells import BATCH, INPUTS, TIME, UNITS, Forgetful, X
from modules.steps import (
    factors,
    gru,
    simple,
    unrolled,
)

import jaxdrop

RATES = {"input_rate": 0.4, "state_rate": 0.5}


class Super(nnx.GRUCell):
    """A step that counts itself, and keeps what it saw."""

    def __call__(self, carry, inputs):
        """One step."""
        self.steps = getattr(self, "steps", 0) + 1
        self.last = nnx.Intermediate(inputs)
        return super().__call__(carry, inputs)


class Remat(nnx.GRUCell):
    """A rematerialized step."""

    @nnx.remat
    def __call__(self, carry, inputs):
        """One step."""
        return super().__call__(carry, inputs)


class Jit(nnx.GRUCell):
    """A compiled step, which is that of a GRU itself."""

    __call__ = nnx.jit(nnx.GRUCell.__call__)


class JitSimple(nnx.SimpleCell):
    """A compiled step of a residual cell."""

    @nnx.jit
    def __call__(self, carry, inputs):
        """One step."""
        return super().__call__(carry, inputs)


class Renamed(nnx.GRUCell):
    """A GRU whose product of the inputs has another name."""

    def __init__(self, inputs, units, rngs):
        super().__init__(inputs, units, rngs=rngs)
        self.wx = nnx.Linear(inputs, 3 * units, rngs=rngs)

    def __call__(self, h, inputs):
        """One step."""
        a = jnp.split(self.wx(inputs), 3, -1)
        b = jnp.split(self.dense_h(h), 3, -1)
        r, z = nnx.sigmoid(a[0] + b[0]), nnx.sigmoid(a[1] + b[1])
        h = (1 - z) * jnp.tanh(a[2] + r * b[2]) + z * h
        return h, h


def run_nnx(cell):
    """The carry that starts, and the outputs of steps, one by one."""
    carry = start = cell.initialize_carry((BATCH, INPUTS), nnx.Rngs(0))
    outputs = []
    for t in range(TIME):
        carry, y = cell(carry, X[:, t])
        outputs.append(y)
    return start, jnp.stack(outputs, axis=1)


def weights_of(cell):
    """The weights of an NNX cell in the order that a step takes."""
    as_float = lambda array: np.asarray(array, np.float64)
    bias = as_float(cell.dense_i.bias[...])
    arrays = as_float(cell.dense_i.kernel[...]), as_float(cell.dense_h.kernel[...])
    if isinstance(cell, nnx.SimpleCell):
        return [(*arrays, bias)]
    zeros = np.zeros_like(bias)
    parts = (np.split(array, 3, axis=-1) for array in (*arrays, bias, zeros))
    return list(zip(*parts, strict=True))


@pytest.mark.parametrize("kind", [Super, Remat, Jit, JitSimple])
def test_nnx_masks_reach_the_products_of_a_cell_in_any_dress(kind):
    options = {"residual": True} if kind is JitSimple else {}
    plain = kind(INPUTS, UNITS, **options, rngs=nnx.Rngs(1))
    step, gates = (simple, 1) if kind is JitSimple else (gru, 3)
    cell = jaxdrop.nnx.VariationalCell(plain, **RATES, rngs=nnx.Rngs(0))
    for _ in range(2):  # the second finds what the first has compiled
        start, outputs = run_nnx(cell)
        masks = factors(start.inputs, 0.4, gates), factors(start.state, 0.5, gates)
        expected = unrolled(step, weights_of(plain), start.cell, X, *masks)
        np.testing.assert_allclose(outputs, expected, rtol=2e-4, atol=2e-5)
    assert type(plain.dense_i) is nnx.Linear and type(plain.dense_h) is nnx.Linear
    in_loop = nnx.RNN(cell)(X)
    assert np.isfinite(in_loop).all()


def test_what_a_cell_sets_on_itself_stays():
    plain = Super(INPUTS, UNITS, rngs=nnx.Rngs(1))
    run_nnx(jaxdrop.nnx.VariationalCell(plain, **RATES, rngs=nnx.Rngs(0)))
    assert plain.steps == TIME
    np.testing.assert_array_equal(plain.last[...], X[:, -1])


def test_of_other_steps_inputs_and_state_are_dropped_on_their_way_in():
    for plain, state in (
        (Renamed(INPUTS, UNITS, nnx.Rngs(1)), None),
        (nnx.GRUCell(INPUTS, UNITS, rngs=nnx.Rngs(1)), lambda carry: carry),
        (Forgetful(INPUTS, UNITS, rngs=nnx.Rngs(1)), lambda carry: carry),
    ):
        cell = jaxdrop.nnx.VariationalCell(
            plain, **RATES, state=state, rngs=nnx.Rngs(0)
        )
        carry = cell.initialize_carry((BATCH, INPUTS), nnx.Rngs(0))
        carry = carry._replace(cell=carry.cell + 0.5)
        dropped = (
            np.where(carry.state, 1.0, 0),
            np.where(carry.inputs, X[:, 0] / 0.6, 0),
        )
        expected, _ = plain(*map(jnp.float32, dropped))
        np.testing.assert_allclose(cell(carry, X[:, 0])[1], expected, rtol=1e-5)
