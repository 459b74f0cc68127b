"""Cells that are transformed, derived or made by hand are dropped, or refused.

What is right is computed step by step in NumPy.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from modules.cells import BATCH, INPUTS, TIME, UNITS, StateFirst, X
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


def run_linen(cell, seed=1, variables=None, **options):
    """Variables, the carry that starts and the outputs of steps, one by one."""
    start = cell.initialize_carry(jax.random.key(seed), (BATCH, INPUTS), **options)
    if variables is None:
        variables = cell.init(jax.random.key(4), start, X[:, 0])
    params = {"params": variables["params"]}
    carry, outputs = start, []
    for t in range(TIME):
        carry, y = cell.apply(params, carry, X[:, t])
        outputs.append(y)
    return variables, start, jnp.stack(outputs, axis=1)


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


@pytest.mark.parametrize("deterministic", [False, True])
def test_linen_makes_a_table_of_a_cell_with_masked_products(deterministic):
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    for inner in (nn.GRUCell(UNITS), nn.MGUCell(UNITS)):
        cell = jaxdrop.linen.VariationalCell(
            inner, **RATES, deterministic=deterministic
        )
        table = nn.RNN(cell).tabulate(keys, X, console_kwargs={"width": 300})
        count = sum(map(jnp.size, jax.tree.leaves(nn.RNN(cell).init(keys, X))))
        assert (
            f"{type(inner).__name__}" in table and f"Total Parameters: {count}" in table
        )


def test_linen_layers_of_the_same_name_elsewhere_are_not_masked():
    cell = jaxdrop.linen.VariationalCell(Prepared(UNITS), **RATES, deterministic=False)
    variables, start, outputs = run_linen(cell)
    params = variables["params"]["cell"]
    prepared = Preparation().apply({"params": params["prepare"]}, X)
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


class Forgetful(nnx.GRUCell):
    """A step that calls another one, and not all of its own layers."""

    def __call__(self, carry, inputs):
        """One step."""
        h = jnp.tanh(self.dense_h.__call__(carry)[..., : carry.shape[-1]])
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
    with pytest.raises(ValueError, match="output must be one of"):
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
            assert bool(jnp.isfinite(y).all()) == (is_right or not signs)
