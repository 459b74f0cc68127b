"""Small random models without a framework, and reducers fed with given samples."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax


def dropout(key, x, rate=0.5):
    """Dropout in two lines, so that these tests stand on nothing but jax.random."""
    keep = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(keep, x / (1 - rate), 0)


class Net:
    """A network with one dropout layer before the last matrix.

    Its numbers are sixteenths, so that float32 holds every product and sum exactly, in
    whatever order or with whatever instructions a program takes them.
    """

    def __init__(self, key, dims=(3, 8, 4)):
        of_x, *keys = jax.random.split(key, len(dims))
        pairs = itertools.pairwise(dims)
        self.params = [_sixteenths(k, d) for k, d in zip(keys, pairs, strict=True)]
        self.x = _sixteenths(of_x, (6, dims[0]))

    @staticmethod
    def apply(key, params, x):
        """Matrices and rectifiers, then dropout, then a matrix."""
        *hidden, last = params
        for kernel in hidden:
            x = jax.nn.relu(x @ kernel)
        return dropout(key, x) @ last

    def samples(self, key, count):
        """The samples as they are defined, one by one."""
        apply = jax.jit(self.apply)
        draws = (
            apply(jax.random.fold_in(key, t), self.params, self.x) for t in range(count)
        )
        return np.stack(list(draws))


def _sixteenths(key, shape):
    """Normal numbers, rounded."""
    return jnp.round(16 * jax.random.normal(key, shape)) / 16


@pytest.fixture
def net(key):
    return Net(key)


def reduce(reducer, samples, *, chunks=1, parts=1, junk=0, errors=True):
    """Statistics and errors of samples, in chunks, merged from several parts.

    Each chunk ends with ``junk`` samples, or more, that do not count. Without
    ``errors`` these are None, and nothing is compiled for them.
    """
    total = len(jax.tree.leaves(samples)[0])
    size = math.ceil(math.ceil(total / parts) / chunks) + junk
    places = np.full((parts, chunks, size), total)
    for part, row in zip(np.array_split(np.arange(total), parts), places, strict=True):
        for chunk, place in zip(np.array_split(part, chunks), row, strict=True):
            place[: len(chunk)] = chunk
    tables = jax.tree.map(lambda x: _with_junk(x)[places], samples)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[3:], x.dtype), tables)

    @jax.jit
    def run(tables, valid):
        update = lambda state, chunk: (reducer.update(state, *chunk), None)
        of_part = lambda part: lax.scan(update, reducer.init(shapes), part)[0]
        states = lax.map(of_part, (tables, valid))
        first = jax.tree.map(lambda x: x[0], states)
        others = jax.tree.map(lambda x: x[1:], states)
        merge = lambda merged, state: (reducer.merge(merged, state), None)
        merged = lax.scan(merge, first, others)[0] if parts > 1 else first
        return reducer.finalize(merged), reducer.stderr(merged) if errors else None

    return run(tables, places < total)


def _with_junk(x):
    """Samples, and one that must not count; on the host, where nothing is compiled."""
    x = np.asarray(x)
    x = x.astype(jax.dtypes.canonicalize_dtype(x.dtype))
    blank = np.nan if jnp.issubdtype(x.dtype, jnp.floating) else 0
    return np.concatenate([x, np.full((1, *x.shape[1:]), blank, x.dtype)])


@pytest.fixture(name="reduce")
def reduce_fixture():
    return reduce
