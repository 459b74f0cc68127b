"""Prediction and audit of models and functions of every structure."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax

import jaxdrop
from chance import normal
from jaxdrop import diagnostics, mc

KEY = jax.random.key(0)
X = normal(2, 4, 6, seed=1)
W = np.asarray(normal(6, 6, seed=2)) / 3
drop = functools.partial(jaxdrop.dropout, rate=0.5)


def steps(key, x):
    layer = lambda h, k: (drop(k, jnp.tanh(h @ W)), None)
    return lax.scan(layer, x, jax.random.split(key, 3))[0]


def until(key, x):
    def step(state):
        i, h = state
        return i + 1, drop(jax.random.fold_in(key, i), jnp.tanh(h @ W))

    return lax.while_loop(lambda state: state[0] < 3, step, (0, x))[1]


def with_derivative(transform):
    function = transform(lambda k, x: drop(k, jnp.tanh(x @ W)))
    if transform is jax.custom_jvp:
        function.defjvp(lambda p, t: (drop(*p), t[1]))
    else:
        function.defvjp(lambda k, x: (drop(k, x), None), lambda _, g: (None, g))
    return function


MESH = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
ROWS = jax.sharding.PartitionSpec("d")


def sharded(key, x):
    local = lambda key, x: drop(jaxdrop.keys.shard(key, "d"), jnp.tanh(x @ W))
    specs = {"in_specs": (jax.sharding.PartitionSpec(), ROWS), "out_specs": ROWS}
    return jax.shard_map(local, mesh=MESH, **specs)(key, x)


FUNCTIONS = {  # and how often each draws in a pass
    "scan": (steps, 3),
    "while_loop": (until, 1),  # at least
    "cond": (lambda k, x: lax.cond(x.sum() > 99, lambda: x, lambda: drop(k, x)), 1),
    "map": (
        lambda k, x: lax.map(lambda i: drop(*i), (jax.random.split(k, 2), x)),
        2,
    ),
    "custom_jvp": (with_derivative(jax.custom_jvp), 1),
    "custom_vjp": (with_derivative(jax.custom_vjp), 1),
    "remat": (jax.checkpoint(lambda k, x: drop(k, jnp.tanh(x @ W))), 1),
    "shard_map": (sharded, 1),
    "jit in jit": (jax.jit(jax.jit(lambda k, x: drop(k, jnp.tanh(x @ W)))), 1),
    "scan in remat in jit": (jax.jit(jax.checkpoint(steps)), 3),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_predicted_and_audited(name):
    function, times = FUNCTIONS[name]
    run = jax.jit(lambda k, x: mc.samples(function, k, x, num_samples=2, chunk_size=2))
    drawn = np.asarray(run(KEY, X))
    one = jax.jit(function)
    expected = [one(jax.random.fold_in(KEY, t), X) for t in range(2)]
    np.testing.assert_allclose(drawn, np.stack(expected), rtol=1e-5, atol=1e-6)
    assert (drawn[0] != drawn[1]).any()
    found = diagnostics.audit(function, KEY, X)
    assert [(s.technique, s.rate, s.steps) for s in found.active] == [
        ("dropout", 0.5, times)
    ]
    assert not found.inactive
    assert not found.kinds & {"unknown", "frozen", "frozen in loop", "unused"}


class Block(nnx.Module):
    """A layer of a transformer."""

    def __init__(self, rngs):
        self.norm = nnx.LayerNorm(6, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 6, decode=False, rngs=rngs)
        self.drop = jaxdrop.nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        """From (batch, time, 6) to the same."""
        return x + self.drop(self.attention(self.norm(x)))


class Transformer(nnx.Module):
    """Layers in a scan."""

    def __init__(self, rngs):
        self.layers = nnx.vmap(Block, in_axes=(0,), out_axes=0)(rngs.split(3))

    def __call__(self, x):
        """From (batch, time, 6) to the same."""
        axes = {"in_axes": (0, nnx.Carry), "out_axes": nnx.Carry}
        return nnx.scan(lambda block, x: block(x), **axes)(self.layers, x)


def variational_lstm():
    rngs = nnx.Rngs(0)
    cell = jaxdrop.nnx.VariationalCell(
        nnx.LSTMCell(6, 6, rngs=rngs), state_rate=0.5, rngs=rngs
    )
    return nnx.RNN(cell)


@pytest.mark.parametrize(
    "make", [variational_lstm, lambda: Transformer(nnx.Rngs(0))], ids=["RNN", "scan"]
)
def test_models_of_nnx_are_predicted_and_audited(make):
    model = make()
    run = jaxdrop.nnx.mc_apply
    drawn = np.asarray(mc.samples(run, KEY, model, X, num_samples=2))
    one = jax.jit(lambda key: run(key, model, X))
    for t in range(2):
        own = one(jax.random.fold_in(KEY, t))
        np.testing.assert_allclose(drawn[t], own, rtol=1e-4, atol=1e-5)
    assert (drawn[0] != drawn[1]).any()
    found = diagnostics.audit(model, X)
    assert found.active and {site.rate for site in found.active} == {0.5}
    assert "unknown" not in found.kinds
    assert not diagnostics.audit(run, KEY, model, X).kinds & {"unknown", "frozen"}


class Layer(linen.Module):
    """A layer of a transformer."""

    @linen.compact
    def __call__(self, x, _):
        """From (batch, time, 6) to the same, for a scan."""
        y = linen.MultiHeadDotProductAttention(2)(linen.LayerNorm()(x))
        return x + jaxdrop.linen.Dropout(0.5, deterministic=False)(y), None


class Stack(linen.Module):
    """Layers in a scan."""

    @linen.compact
    def __call__(self, x):
        """From (batch, time, 6) to the same."""
        axes = {"variable_axes": {"params": 0}}
        rngs = {"params": True, "dropout": True}
        layers = linen.scan(Layer, **axes, split_rngs=rngs, length=3)
        return layers()(x, None)[0]


def test_models_of_linen_are_predicted_and_audited():
    model = Stack()
    variables = jax.jit(model.init)({"params": KEY, "dropout": KEY}, X)
    run = jaxdrop.linen.mc_apply(model)
    drawn = np.asarray(mc.samples(run, KEY, variables, X, num_samples=2))
    one = jax.jit(run)
    for t in range(2):
        own = one(jax.random.fold_in(KEY, t), variables, X)
        np.testing.assert_allclose(drawn[t], own, rtol=1e-4, atol=1e-5)
    assert (drawn[0] != drawn[1]).any()
    (site,) = diagnostics.audit(model, variables, X, rngs={"dropout": KEY}).active
    assert (site.rate, site.steps) == (0.5, 3)
