"""Modules under JAX's own transformations, with keys as arguments.

A module that is given a key advances no stream: a model that holds such modules is a
constant, or a pytree of parameters, for ``jax.jit``, ``grad``, ``vmap``, ``lax.scan``,
``lax.while_loop`` and ``jax.checkpoint``. With a stream of keys inside these raise.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax

import jaxdrop
from specimens import LINEN, NNX

STEPS, SIZE = 3, 4
X = np.ones((2, 3, SIZE), np.float32)
KEY = jax.random.key(7)
KEYS = jax.random.split(KEY, STEPS)
SPECIMENS = {"nnx": NNX, "linen": LINEN}
CELLS = ("RecurrentDropoutLSTMCell", "VariationalCell", "ZoneoutCell")
every_module = pytest.mark.parametrize(
    "framework, name",
    [("nnx", name) for name in NNX]
    + [("linen", name) for name in LINEN if name not in CELLS]
    + [pytest.param("linen", name, marks=pytest.mark.slow) for name in CELLS],
)
every_cell = pytest.mark.parametrize("name", CELLS)


class NNXBlock(nnx.Module):
    """A factor that is learned, and a module."""

    def __init__(self, specimen):
        self.factor = nnx.Param(jnp.float32(1.5))
        self.site = specimen.make(rngs=nnx.Rngs(0))
        self.draws = specimen.draws

    def __call__(self, x, *more, key):
        """Calls the module with an explicit key."""
        x = self.factor[...] * x
        return self.site(x, *more, rngs=key) if self.draws else self.site(x, *more)


class LinenBlock(linen.Module):
    """The same in Linen."""

    site: linen.Module

    @linen.compact
    def __call__(self, x, *more):
        """Calls the module with the key of the call."""
        factor = self.param("factor", linen.initializers.constant(1.5), ())
        return self.site(factor * x, *more)


@cache
def block(framework, name):
    """A function of parameters and a key, that returns an array; and the parameters."""
    specimen = SPECIMENS[framework][name]
    if framework == "linen":
        module = LinenBlock(specimen.make(deterministic=False))
        keys = {"params": KEY, "dropout": KEY}
        params = jax.jit(module.init)(keys, *specimen.data)
        call = lambda p, k: module.apply(p, *specimen.data, rngs={"dropout": k})
    else:
        graph, params, rest = nnx.split(NNXBlock(specimen), nnx.Param, ...)
        call = lambda p, k: nnx.merge(graph, p, rest, copy=True)(*specimen.data, key=k)
    return lambda p, k: jax.tree.leaves(call(p, k))[0], params


def assert_close(a, b):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), a, b
    )


@every_module
def test_loops_and_vmap_over_keys_give_what_calls_give(framework, name):
    run, params = block(framework, name)
    one = jax.jit(run)
    calls = np.stack([one(params, k) for k in KEYS])
    draws = SPECIMENS[framework][name].draws
    assert (calls[0] != calls[1]).any() == draws

    def body(loop):
        i, ys = loop
        return i + 1, ys.at[i].set(run(params, KEYS[i]))

    empty = (0, np.zeros_like(calls))
    ways = {
        "scan": lambda p: lax.scan(lambda _, k: (None, run(p, k)), None, KEYS)[1],
        "while": lambda p: lax.while_loop(lambda loop: loop[0] < STEPS, body, empty)[1],
        "vmap": lambda p: jax.vmap(run, (None, 0))(p, KEYS),
    }
    together = jax.jit(lambda p: {name: way(p) for name, way in ways.items()})
    assert_close(together(params), dict.fromkeys(ways, calls))


@every_module
def test_gradients_through_checkpoints_and_stacked_layers(framework, name):
    run, params = block(framework, name)
    loss = lambda p, k: jnp.sum(jnp.tanh(run(p, k)))
    one = jax.jit(jax.grad(loss))
    layers = jax.tree.map(lambda p: np.multiply.outer([1, 0.5, 2], p), params)
    layers = jax.tree.map(np.float32, layers)
    slopes = [
        one(jax.tree.map(lambda p, i=i: p[i], layers), k) for i, k in enumerate(KEYS)
    ]
    assert jax.tree.structure(slopes[0]) == jax.tree.structure(params)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(slopes))
    assert any((g != 0).any() for g in jax.tree.leaves(slopes))

    def of_layers(layers):
        layer = lambda total, at: (total + jax.checkpoint(loss)(*at), None)
        return lax.scan(layer, jnp.float32(0), (layers, KEYS))[0]

    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *slopes)
    ways = lambda layers: (
        jax.grad(of_layers)(layers),
        jax.vmap(jax.grad(loss))(layers, KEYS),
    )
    assert_close(jax.jit(ways)(layers), (stacked, stacked))


def cell_of(framework, name):
    """How a cell starts with a key, and its step; with the module closed over."""
    specimen = SPECIMENS[framework][name]
    (x,) = specimen.data
    if framework == "nnx":
        cell = specimen.make(rngs=nnx.Rngs(0)).cell
        return lambda key: cell.initialize_carry(x[:, 0].shape, key), cell
    cell = specimen.make(deterministic=False).cell
    start = lambda key: cell.initialize_carry(key, x[:, 0].shape)
    variables = jax.jit(cell.init)(KEY, start(KEY), x[:, 0])
    return start, partial(cell.apply, variables)


@every_cell
@pytest.mark.parametrize("framework", SPECIMENS)
def test_cells_in_a_scan_over_time_give_what_steps_give(framework, name):
    start, step = cell_of(framework, name)
    x = np.swapaxes(SPECIMENS[framework][name].data[0], 0, 1)
    scan = lambda k, x, step=step: lax.scan(step, start(k), x)[1]

    begin, once = jax.jit(start), jax.jit(step)
    expected = []
    for k in KEYS:
        carry, ys = begin(k), []
        for inputs in x:
            carry, y = once(carry, inputs)
            ys.append(y)
        expected.append(np.stack(ys))
    remat = partial(scan, step=jax.checkpoint(step))

    def slope(scan, k, x):
        return jax.value_and_grad(lambda x: jnp.sum(scan(k, x) ** 2))(x)[1]

    ys, slopes, again = jax.jit(
        lambda k, x: (
            jax.vmap(scan, (0, None))(k, x),
            slope(scan, k[0], x),
            slope(remat, k[0], x),
        )
    )(KEYS, x)
    assert_close(ys, np.stack(expected))
    assert np.any(slopes)
    assert_close(again, slopes)
    if framework == "nnx":
        rnn = NNX[name].make(rngs=nnx.Rngs(0))
        assert_close(np.swapaxes(rnn(*NNX[name].data, rngs=KEYS[0]), 0, 1), expected[0])


@pytest.mark.parametrize("name", [name for name in NNX if name not in CELLS])
def test_a_model_may_be_closed_over(name):
    """Except by ``nnx.RNN``, which writes its cell back."""
    model, data = NNXBlock(NNX[name]), NNX[name].data
    run = lambda k: jax.tree.leaves(model(*data, key=k))[0]
    expected = np.stack([run(k) for k in KEYS])
    jitted = jax.jit(run)
    assert_close(np.stack([jitted(k) for k in KEYS]), expected)
    scanned = jax.jit(lambda: lax.scan(lambda _, k: (None, run(k)), None, KEYS)[1])()
    assert_close(scanned, expected)


class Block(nnx.Module):
    """A layer, and a module without a stream."""

    def __init__(self):
        self.linear = nnx.Linear(SIZE, SIZE, rngs=nnx.Rngs(0))
        self.drop = jaxdrop.nnx.Dropout(0.4)

    def __call__(self, x, key):
        """Drops with an explicit key."""
        return self.drop(jnp.tanh(self.linear(x)), rngs=key)


def test_a_model_is_a_pytree_of_its_parameters():
    model = Block()
    assert not jax.tree.leaves(nnx.state(model, nnx.RngState))
    slopes = jax.grad(lambda m: jnp.sum(m(X, KEY) ** 2))(model)
    twice = jax.tree.map(lambda p, g: p - 0.1 * g, model, slopes)
    assert isinstance(twice, Block)
    assert (twice.linear.kernel[...] != model.linear.kernel[...]).any()
    assert twice(X, KEY).shape == X.shape


def test_one_draw_of_a_stream_is_taken_where_the_state_is_carried():
    """With a stream of keys in the model, its state goes through the loop."""
    model = jaxdrop.nnx.Dropout(0.4, rngs=nnx.Rngs(0))
    graph, state = nnx.split(model)

    def step(state, _):
        twin = nnx.merge(graph, state, copy=True)
        y = twin(X)
        return nnx.state(twin), y

    after, scanned = lax.scan(step, state, None, length=STEPS)
    assert_close(scanned, jnp.stack([model(X) for _ in range(STEPS)]))
    assert after["rngs"]["count"][...] == model.rngs.count[...] == STEPS
