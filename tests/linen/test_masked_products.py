"""Masks reach the products of Linen cells that are transformed or derived."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from modules.cells import BATCH, INPUTS, TIME, UNITS, X
from modules.steps import (
    factors,
    gru,
    linen_weights,
    lstm,
    mgu,
    sigmoid,
    simple,
    unrolled,
)

import jaxdrop

RATES = {"input_rate": 0.4, "state_rate": 0.5}
same = lambda tree: tree


class LinenSuper(nn.GRUCell):
    """A cell that adds nothing but a variable of its own to the step of a GRU."""

    @nn.compact
    def __call__(self, carry, inputs):
        """One step."""
        self.sow("seen", "inputs", inputs)
        return super().__call__(carry, inputs)


class LinenLayers(nn.LSTMCell):
    """An LSTM whose layers have names of their own, and a layer norm."""

    @nn.compact
    def __call__(self, carry, inputs):
        """One step."""
        c, h = carry
        of_x = nn.Dense(4 * self.features, name="wx")(inputs)
        z = of_x + nn.Dense(4 * self.features, name="wh")(h)
        i, f, g, o = jnp.split(nn.LayerNorm()(z), 4, -1)
        c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
        h = nn.sigmoid(o) * jnp.tanh(c)
        return (c, h), h


LINEN = {
    "remat lstm": (lambda: nn.remat(nn.LSTMCell)(UNITS), lstm, "ifgo"),
    "jit gru": (lambda: nn.jit(nn.GRUCell)(UNITS), gru, "rzn"),
    "remat mgu": (lambda: nn.remat(nn.MGUCell)(UNITS), mgu, "fn"),
    "map_variables simple": (
        lambda: nn.map_variables(
            nn.SimpleCell, "params", same, same, init=True, mutable=True
        )(UNITS, residual=True),
        simple,
        [""],
    ),
    "remat jit gru": (lambda: nn.remat(nn.jit(nn.GRUCell))(UNITS), gru, "rzn"),
    "super gru": (lambda: LinenSuper(UNITS), gru, "rzn"),
    "remat super gru": (lambda: nn.remat(LinenSuper)(UNITS), gru, "rzn"),
}


def run_linen(cell, seed=1, variables=None, *, compiled=False, **options):
    """Variables, the carry that starts and the outputs of steps, one by one."""
    start = cell.initialize_carry(jax.random.key(seed), (BATCH, INPUTS), **options)
    if variables is None:
        variables = jax.jit(cell.init)(jax.random.key(4), start, X[:, 0])
    params = {"params": variables["params"]}
    carry, outputs, x = start, [], np.asarray(X)
    step = jax.jit(cell.apply) if compiled else cell.apply
    for t in range(TIME):
        carry, y = step(params, carry, x[:, t])
        outputs.append(y)
    return variables, start, np.stack(outputs, axis=1)


@pytest.mark.parametrize("name", LINEN)
def test_linen_masks_reach_the_products_of_a_cell_in_any_dress(name):
    build, step, gates = LINEN[name]
    wrap = lambda: jaxdrop.linen.VariationalCell(build(), **RATES, deterministic=False)
    variables = None
    for seed in (1, 2):  # the second finds what the first has compiled
        variables, start, outputs = run_linen(wrap(), seed, variables)
        weights = linen_weights(variables["params"]["cell"], step, gates)
        masks = [
            factors(mask, rate, len(gates))
            for mask, rate in ((start.inputs, 0.4), (start.state, 0.5))
        ]
        assert all((mask[0] == 0).any() for mask in masks)
        expected = unrolled(step, weights, start.cell, X, *masks)
        np.testing.assert_allclose(outputs, expected, rtol=2e-4, atol=2e-5)


class Prepared(nn.GRUCell):
    """A GRU after a network of its own, whose layers are named as those of a GRU."""

    @nn.compact
    def __call__(self, carry, inputs):
        """One step."""
        return super().__call__(carry, Preparation(name="prepare")(inputs))


class Preparation(nn.Module):
    """Layers that happen to have the names of products."""

    @nn.compact
    def __call__(self, x):
        """Computes features."""
        size = x.shape[-1]
        return jnp.tanh(nn.Dense(size, name="in")(nn.Dense(size, name="hr")(x)))


def test_linen_layers_of_the_same_name_elsewhere_are_not_masked():
    cell = jaxdrop.linen.VariationalCell(Prepared(UNITS), **RATES, deterministic=False)
    variables, start, outputs = run_linen(cell, compiled=True)
    params = variables["params"]["cell"]
    prepared = jax.jit(Preparation().apply)({"params": params["prepare"]}, X)
    weights = linen_weights(params, gru, "rzn")
    masks = factors(start.inputs, 0.4, 3), factors(start.state, 0.5, 3)
    expected = unrolled(gru, weights, start.cell, prepared, *masks)
    np.testing.assert_allclose(outputs, expected, rtol=2e-4, atol=2e-5)


def test_a_compiled_cell_sees_the_rate_of_each_call():
    """Rates are static for the compiled step, or its arguments."""
    kind = nn.jit(nn.GRUCell)
    variables = None
    for rate in (0.5, 0.2, jnp.float32(0.3)):
        cell = jaxdrop.linen.VariationalCell(
            kind(UNITS), state_rate=rate, deterministic=False
        )
        variables, start, outputs = run_linen(cell, 1, variables)
        weights = linen_weights(variables["params"]["cell"], gru, "rzn")
        masks = factors(start.state, float(rate), 3)
        expected = unrolled(gru, weights, start.cell, X, [1.0] * 3, masks)
        np.testing.assert_allclose(outputs, expected, rtol=2e-4, atol=2e-5)


def test_linen_gates_of_a_transformed_cell_have_masks_of_their_own():
    cell = jaxdrop.linen.VariationalCell(
        nn.remat(nn.LSTMCell)(UNITS), **RATES, per_gate=True, deterministic=False
    )
    variables, start, outputs = run_linen(cell)
    assert start.state.shape == (BATCH, 4, UNITS)
    weights = linen_weights(variables["params"]["cell"], lstm, "ifgo")
    masks = factors(start.inputs, 0.4, 4), factors(start.state, 0.5, 4)
    expected = unrolled(lstm, weights, start.cell, X, *masks)
    np.testing.assert_allclose(outputs, expected, rtol=2e-4, atol=2e-5)


def test_what_a_linen_subclass_computes_of_its_own_is_dropped_on_its_way_in():
    cell = jaxdrop.linen.VariationalCell(
        LinenLayers(UNITS), **RATES, deterministic=False
    )
    variables, start, outputs = run_linen(cell)
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), variables["params"]["cell"])
    (mask_x,), (mask_h,) = factors(start.inputs, 0.4, 1), factors(start.state, 0.5, 1)

    def step(_, carry, x, masks_x, masks_h):
        c, h = carry
        z = (x * masks_x) @ p["wx"]["kernel"] + (h * masks_h) @ p["wh"]["kernel"]
        z = (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-6)
        i, f, g, o = np.split(z, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return (c, h), h

    expected = unrolled(step, None, start.cell, X, mask_x, mask_h)
    np.testing.assert_allclose(outputs, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("deterministic", [False, True])
def test_linen_makes_a_table_of_a_cell_with_masked_products(deterministic):
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    for inner in (nn.GRUCell(UNITS), nn.MGUCell(UNITS)):
        cell = jaxdrop.linen.VariationalCell(
            inner, **RATES, deterministic=deterministic
        )
        table = nn.RNN(cell).tabulate(keys, X, console_kwargs={"width": 300})
        variables = jax.eval_shape(nn.RNN(cell).init, keys, X)
        count = sum(leaf.size for leaf in jax.tree.leaves(variables))
        assert (
            f"{type(inner).__name__}" in table and f"Total Parameters: {count}" in table
        )
