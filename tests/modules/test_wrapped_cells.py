"""Cells that are transformed, derived or made by hand are dropped, or refused.

What is right is computed step by step in NumPy.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from modules.cells import BATCH, INPUTS, UNITS, Forgetful, StateFirst, X

import jaxdrop

RATES = {"input_rate": 0.4, "state_rate": 0.5}


def test_a_product_that_is_missed_is_an_error():
    cell = jaxdrop.nnx.VariationalCell(
        Forgetful(INPUTS, UNITS, rngs=nnx.Rngs(1)), **RATES, rngs=nnx.Rngs(0)
    )
    carry = cell.initialize_carry((BATCH, INPUTS), nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"__call__ does not call dense_i.*state="):
        cell(carry, X[:, 0])

    class Half(nn.LSTMCell):
        @nn.compact
        def __call__(self, carry, inputs):
            return carry, nn.Dense(self.features, name="ii")(inputs)

    cell = jaxdrop.linen.VariationalCell(
        Half(UNITS), **RATES, per_gate=True, deterministic=False
    )
    carry = cell.initialize_carry(jax.random.key(0), (BATCH, INPUTS))
    with pytest.raises(ValueError, match="does not call if, ig, io, hi, hf, hg, ho"):
        cell.init(jax.random.key(1), carry, X[:, 0])


PLACES = {
    "index": (0, lambda h, c: (h, c)),
    "name": ("hidden", lambda h, c: {"cell": c, "hidden": h}),
    "path": (("rnn", 1), lambda h, c: {"rnn": (c, h), "step": jnp.int32(0)}),
    "function": (lambda carry: carry[1][0], lambda h, c: (c, [h])),
}


@pytest.mark.parametrize("name", PLACES)
def test_the_caller_says_where_the_state_is(name):
    """At a rate of 1 for the state alone it stays, and the memory follows the cell."""
    state, pack = PLACES[name]
    inner = StateFirst(INPUTS, UNITS, nnx.Rngs(1))

    class Packed(StateFirst):
        def initialize_carry(self, input_shape, rngs=None):
            return pack(*super().initialize_carry(input_shape, rngs))

        def __call__(self, carry, inputs):
            leaves = jax.tree.leaves(carry)
            c, h = [leaf for leaf in leaves if leaf.ndim == 2]
            if jax.tree.leaves(pack(0, 1))[0] == 0:
                c, h = h, c
            (h, c), y = inner((h, c), inputs)
            return pack(h, c), y + 0

    plain = Packed(INPUTS, UNITS, nnx.Rngs(1))
    zone = jaxdrop.nnx.ZoneoutCell(
        plain, state_rate=1.0, state=state, output="state", rngs=nnx.Rngs(0)
    )
    carry = zone.initialize_carry((BATCH, INPUTS), nnx.Rngs(0))
    new, y = zone(carry, X[:, 0])
    zeros = jnp.zeros((BATCH, UNITS))
    (_, memory), _ = inner((zeros, zeros), X[:, 0])
    for got, right in zip(
        jax.tree.leaves(new.cell), jax.tree.leaves(pack(zeros, memory)), strict=True
    ):
        np.testing.assert_allclose(got, right, rtol=1e-6)
    assert not y.any()
    drop = jaxdrop.nnx.VariationalCell(
        plain, state_rate=1.0, state=state, rngs=nnx.Rngs(0)
    )
    ones = jnp.ones((BATCH, UNITS))
    start = drop.initialize_carry((BATCH, INPUTS), carry=pack(ones, 2 * ones))
    dropped, _ = drop(start, X[:, 0])
    right, _ = inner((zeros, 2 * ones), X[:, 0])
    for got, expected in zip(
        jax.tree.leaves(dropped.cell), jax.tree.leaves(pack(*right)), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_state_that_is_not_known_is_asked_for():
    plain = StateFirst(INPUTS, UNITS, nnx.Rngs(1))
    cell = jaxdrop.nnx.VariationalCell(plain, **RATES, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"which array of the carry.*pass state="):
        cell.initialize_carry((BATCH, INPUTS), nnx.Rngs(0))
    for state in (2, "h", ("a", 1), lambda carry: carry):
        cell = jaxdrop.nnx.VariationalCell(
            plain, **RATES, state=state, rngs=nnx.Rngs(0)
        )
        with pytest.raises(ValueError, match=r"state=.* does not lead to a floating"):
            cell.initialize_carry((BATCH, INPUTS), nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"per_gate needs .* no state="):
        jaxdrop.nnx.VariationalCell(
            nnx.GRUCell(INPUTS, UNITS, rngs=nnx.Rngs(0)), per_gate=True, state=0
        )
    with pytest.raises(
        ValueError, match='output must be "state", "cell" or a function'
    ):
        jaxdrop.linen.ZoneoutCell(nn.GRUCell(4), state_rate=0.1, output="y")


def state_first(nn_cell, call):
    """A subclass of an LSTM that inherits its start, and takes (state, memory)."""
    return type("StateThenMemory", (nn_cell,), {"__call__": call})


def _one_step(gates, carry):
    h, c = carry
    i, f, g, o = jnp.split(gates, 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def _linen_step(self, carry, inputs):
    width = 4 * self.features
    of_x, of_h = nn.Dense(width, name="wx"), nn.Dense(width, name="wh")
    return _one_step(of_x(inputs) + of_h(carry[0]), carry)


def _nnx_step(self, carry, inputs):
    return _one_step(self.dense_i(inputs) + self.dense_h(carry[0]), carry)


LinenStateFirst = state_first(nn.LSTMCell, nn.compact(_linen_step))
NnxStateFirst = state_first(nnx.OptimizedLSTMCell, _nnx_step)
RIGHT, OF_FLAX = {"state": 0}, {}


@pytest.mark.parametrize("module", ["VariationalCell", "ZoneoutCell"])
@pytest.mark.parametrize("state", [RIGHT, OF_FLAX, {"state": 1}])
def test_a_carry_whose_state_is_not_where_flax_has_it_is_refused(module, state):
    rates = RATES if module == "VariationalCell" else {"state_rate": 0.5}
    linen = getattr(jaxdrop.linen, module)(
        LinenStateFirst(UNITS), **rates, **state, deterministic=False
    )
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    of_linen = lambda: nn.RNN(linen).init_with_output(keys, X)[0]
    own = NnxStateFirst(INPUTS, UNITS, rngs=nnx.Rngs(0))
    cell = getattr(jaxdrop.nnx, module)(own, **rates, **state, rngs=nnx.Rngs(1))
    of_nnx = lambda: nnx.RNN(cell, rngs=nnx.Rngs(2))(X)
    for run in (of_linen, of_nnx):
        if state is OF_FLAX:
            with pytest.raises(ValueError, match="Pass state=0, or state=1 if that"):
                run()
        elif state is RIGHT:
            assert jnp.isfinite(run()).all()
        else:
            run()


@pytest.mark.parametrize(
    "copied", [lambda y: y + 0, lambda y: y.astype(jnp.bfloat16), jax.jit(lambda y: -y)]
)
def test_an_output_that_is_a_copy_shows_where_the_state_is(copied):
    signs = copied(jnp.float32(1)) > 0  # the last one is a copy of nothing
    cast = lambda step: lambda *args: (lambda new, y: (new, copied(y)))(*step(*args))
    swap = lambda carry: carry[::-1]
    right = lambda step: (
        lambda *a: (lambda new, y: (swap(new), y))(*step(a[0], swap(a[1]), a[2]))
    )
    for order, is_right in ((lambda step: step, False), (right, True)):
        linen = state_first(nn.LSTMCell, nn.compact(order(cast(_linen_step))))
        own = state_first(nnx.OptimizedLSTMCell, order(cast(_nnx_step)))
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        cell = jaxdrop.linen.VariationalCell(
            nn.remat(linen)(UNITS), **RATES, deterministic=False
        )
        of_linen = nn.RNN(cell).init_with_output(keys, X)[0]
        cell = jaxdrop.nnx.VariationalCell(
            own(INPUTS, UNITS, rngs=nnx.Rngs(0)), **RATES, rngs=nnx.Rngs(1)
        )
        for y in (of_linen, nnx.RNN(cell)(X)):
            assert np.isfinite(y).all() == (is_right or not signs)


@pytest.mark.parametrize("module", ["VariationalCell", "ZoneoutCell"])
def test_only_cells_are_wrapped(module):
    rate = {"state_rate": 0.5}
    layer = nnx.Linear(INPUTS, UNITS, rngs=nnx.Rngs(0))
    rnn = nnx.RNN(nnx.GRUCell(INPUTS, UNITS, rngs=nnx.Rngs(0)))
    for cell, given in ((layer, "Linear"), (rnn, "RNN"), (nnx.GRUCell, "the class")):
        with pytest.raises(TypeError, match=f"{module}: cell must be .* got .*{given}"):
            getattr(jaxdrop.nnx, module)(cell, **rate)
    for cell, given in ((nn.Dense(4), "Dense"), (nn.GRUCell, "the class")):
        with pytest.raises(TypeError, match=f"{module}: cell must be .* got .*{given}"):
            getattr(jaxdrop.linen, module)(cell, **rate)
