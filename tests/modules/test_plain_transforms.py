"""Modules under JAX's own transformations, with keys as arguments.

A module without ``rngs`` holds no state: a model that holds such modules is a constant,
or a pytree of parameters, for ``jax.jit``, ``grad``, ``vmap``, ``lax.scan``,
``lax.while_loop`` and ``jax.checkpoint``. With a stream of keys inside these raise.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax

import jaxdrop

MODULES = {  # one of each make; test_parity.py tells the others are made alike
    "Dropout": {},
    "GaussianDropout": {},
    "DropBlock": {"block_size": (2,), "num_spatial_dims": 1},
}
STEPS, SIZE = 3, 4
X = jnp.ones((2, 3, SIZE))
KEY = jax.random.key(7)
KEYS = jax.random.split(KEY, STEPS)
both_frameworks = pytest.mark.parametrize("framework", ["nnx", "linen"])
every_module = pytest.mark.parametrize("name", MODULES)


class NNXBlock(nnx.Module):
    """A layer and a site."""

    def __init__(self, name, rngs):
        self.linear = nnx.Linear(SIZE, SIZE, rngs=rngs)
        self.drop = getattr(jaxdrop.nnx, name)(0.4, **MODULES[name])

    def __call__(self, x, key):
        """Drops with an explicit key."""
        return self.drop(jnp.tanh(self.linear(x)), rngs=key)


class LinenBlock(linen.Module):
    """The same in Linen."""

    site: str

    @linen.compact
    def __call__(self, x):
        """Drops with the key of the call."""
        x = jnp.tanh(linen.Dense(SIZE)(x))
        drop = getattr(jaxdrop.linen, self.site)(0.4, **MODULES[self.site])
        return drop(x, deterministic=False)


def block(framework, name):
    """A function of parameters, an input and a key; and the parameters."""
    if framework == "linen":
        module = LinenBlock(name)
        params = module.init({"params": KEY, "dropout": KEY}, X)
        return lambda p, x, k: module.apply(p, x, rngs={"dropout": k}), params
    graph, state = nnx.split(NNXBlock(name, nnx.Rngs(0)))
    return lambda p, x, k: nnx.merge(graph, p)(x, k), state


def assert_close(a, b):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), a, b
    )


@both_frameworks
@every_module
def test_scan_over_time_is_a_loop(framework, name):
    run, params = block(framework, name)
    scanned = lax.scan(lambda x, k: (run(params, x, k), None), X, KEYS)[0]
    looped = X
    for k in KEYS:
        looped = run(params, looped, k)
    assert_close(scanned, looped)
    assert (run(params, X, KEYS[0]) != run(params, X, KEYS[1])).any()


@both_frameworks
@every_module
def test_while_loop_is_a_loop(framework, name):
    run, params = block(framework, name)
    step = lambda s: (s[0] + 1, run(params, s[1], KEYS[s[0]]))
    last = lax.while_loop(lambda s: s[0] < 2, step, (0, X))[1]
    assert_close(last, run(params, run(params, X, KEYS[0]), KEYS[1]))


@both_frameworks
@every_module
def test_gradients_of_a_merged_model_under_jit_and_checkpoint(framework, name):
    run, params = block(framework, name)
    loss = lambda p, k: jnp.sum(run(p, X, k) ** 2)
    plain = jax.grad(loss)(params, KEY)
    assert jax.tree.structure(plain) == jax.tree.structure(params)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(plain))
    assert any((g != 0).any() for g in jax.tree.leaves(plain))
    assert_close(jax.jit(jax.grad(loss))(params, KEY), plain)
    assert_close(jax.jit(jax.grad(jax.checkpoint(loss)))(params, KEY), plain)


@both_frameworks
@every_module
def test_vmap_over_keys_and_over_models(framework, name):
    run, params = block(framework, name)
    mapped = jax.vmap(run, (None, None, 0))(params, X, KEYS)
    assert_close(mapped, jnp.stack([run(params, X, k) for k in KEYS]))
    models = jax.tree.map(lambda p: jnp.stack([p, 2 * p, 3 * p]), params)
    each = jax.vmap(run, (0, None, 0))(models, X, KEYS)
    second = jax.tree.map(lambda p: 2 * p, params)
    assert_close(each[1], run(second, X, KEYS[1]))


@both_frameworks
@every_module
def test_gradient_through_a_scan_over_stacked_layers(framework, name):
    run, params = block(framework, name)
    layers = jax.tree.map(lambda p: jnp.stack([p, 0.5 * p, 2 * p]), params)

    def loss(layers, keys):
        def layer(x, inputs):
            return jax.checkpoint(run)(inputs[0], x, inputs[1]), None

        return jnp.sum(lax.scan(layer, X, (layers, keys))[0] ** 2)

    def unrolled(layers, keys):
        x = X
        for i in range(STEPS):
            x = run(jax.tree.map(lambda p, i=i: p[i], layers), x, keys[i])
        return jnp.sum(x**2)

    assert_close(
        jax.jit(jax.grad(loss))(layers, KEYS), jax.grad(unrolled)(layers, KEYS)
    )


@every_module
def test_a_model_without_streams_may_be_closed_over(name):
    model = NNXBlock(name, nnx.Rngs(0))
    expected = [model(X, k) for k in KEYS]
    assert_close(jax.jit(lambda k: model(X, k))(KEYS[0]), expected[0])
    assert_close(jax.vmap(lambda k: model(X, k))(KEYS), jnp.stack(expected))
    scanned = lax.scan(lambda _, k: (None, model(X, k)), None, KEYS)[1]
    assert_close(scanned, jnp.stack(expected))
    assert not jax.tree.leaves(nnx.state(model, nnx.RngState))


def test_a_model_is_a_pytree_of_its_parameters():
    model = NNXBlock("Dropout", nnx.Rngs(0))
    slopes = jax.grad(lambda m: jnp.sum(m(X, KEY) ** 2))(model)
    twice = jax.tree.map(lambda p, g: p - 0.1 * g, model, slopes)
    assert isinstance(twice, NNXBlock)
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
