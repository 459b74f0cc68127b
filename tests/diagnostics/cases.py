"""Programs and models to audit, and what is found in them."""

import functools

import jax
import jax.numpy as jnp
import pytest
from flax import linen, nnx
from jax import lax

import jaxdrop
from jaxdrop import diagnostics

KEY = jax.random.key(0)
X = jnp.ones((4, 8))
W = jnp.ones((8, 8))
drop = functools.partial(jaxdrop.dropout, rate=0.5)


def audit(function, *args, **kwargs):
    return diagnostics.audit(function, *args, **kwargs)


def only_site(function, *args, **kwargs):
    (site,) = audit(function, *args, **kwargs).sites
    return site


def attend(key, x):
    q = x.reshape(1, 4, 2, 4)
    return jaxdrop.dot_product_attention(key, q, q, q, rate=0.5).reshape(x.shape)


def slope(function):
    return lambda k, x: jax.grad(lambda x: (function(k, x) ** 2).sum())(x)


class Block(linen.Module):
    """A transformer block, with a functional site in it."""

    @linen.compact
    def __call__(self, x, *, train):
        """Runs it."""
        off = not train
        attention = linen.MultiHeadDotProductAttention(
            2, dropout_rate=0.1, broadcast_dropout=False, deterministic=off
        )
        x = x + jaxdrop.linen.Dropout(0.2)(attention(x), deterministic=off)
        y = linen.Dropout(0.3)(linen.relu(linen.Dense(8)(x)), deterministic=off)
        y = linen.Dense(8)(y)
        return x + jaxdrop.stochastic_depth(
            self.make_rng("dropout") if train else None,
            y,
            rate=0.4,
            deterministic=off,
        )


class Transformer(linen.Module):
    """Two blocks."""

    @linen.compact
    def __call__(self, x, *, train):
        """Runs it."""
        for _ in range(2):
            x = Block()(x, train=train)
        return linen.Dense(3)(x)


TOKENS = jnp.ones((2, 5, 8))


@functools.cache
def transformer():
    module = Transformer()
    return module, module.init(KEY, TOKENS, train=False)


class Net(nnx.Module):
    """One module of each kind, of which one is never called."""

    def __init__(self, rngs):
        self.layers = nnx.List(
            [
                nnx.Linear(8, 8, rngs=rngs),
                jaxdrop.nnx.GaussianDropout(0.5, rngs=rngs),
                nnx.Dropout(0.25, rngs=rngs),
                jaxdrop.nnx.DropConnectLinear(8, 8, rate=0.5, rngs=rngs),
            ]
        )
        self.idle = nnx.Dropout(0.1, rngs=rngs)

    def __call__(self, x):
        """Runs it."""
        for layer in self.layers:
            x = layer(x)
        return x


IMAGES = jnp.ones((2, 6, 6, 3))


def kinds(function, *args, **kwargs) -> set[str]:
    return set(diagnostics.audit(function, *args, **kwargs).kinds)


def by_bernoulli(key, x, rate=0.5):
    """Dropout as everyone writes it."""
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0.0)


for_ours_and_handwritten = pytest.mark.parametrize("drop", [drop, by_bernoulli])


def batch_norm(x):
    mean, variance = x.mean(0, keepdims=True), x.var(0, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + 1e-5)


def layer_norm(x):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + 1e-5)


class Normalized(nnx.Module):
    """Two layers, with a normalization between them."""

    def __init__(self, norm, *, before):
        rngs = nnx.Rngs(0)
        self.first, self.last = (nnx.Linear(8, 8, rngs=rngs) for _ in range(2))
        self.norm = norm(8, rngs=rngs)
        self.drop = jaxdrop.nnx.Dropout(0.5, rngs=rngs)
        self.before = before

    def __call__(self, x):
        """Runs it."""
        x = self.first(x)
        if self.before:
            return self.last(nnx.relu(self.norm(self.drop(x))))
        return self.last(self.drop(nnx.relu(self.norm(x))))


def recurrence(key, xs, *, fresh, weights=W):
    def step(h, inputs):
        t, x = inputs
        k = jax.random.fold_in(key, t) if fresh else key
        return jnp.tanh(x + drop(k, h) @ weights), None

    return lax.scan(step, jnp.zeros((4, 8)), (jnp.arange(len(xs)), xs))[0]
