"""What every technique of the family keeps, on data, rates and keys of every kind."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import PartitionSpec as P
from properties.anything import ALMOST_ONE, FLOATS, KEYS, LONG, RATES, filled, keys

import family
from family import for_the_family

SIZES = [0, 1, 2, 5, 8]
VALUES = [0.0, 1.0, -1.0, 1e-45, float("nan"), float("inf"), "many"]
FINITE = [0.0, 1.0, -1.0, 1e-45, "many"]
kinds_of_floats = st.sampled_from(FLOATS)


def sizes_of(row):
    """Shapes of the rank of a row: as it is, empty, of one, prime, long."""
    _, *rest = row.shape
    return [
        row.shape,
        (0, *rest),
        (1, *rest),
        (7, *rest),
        (LONG, *(1 for _ in rest)) if row.module != "DropBlock" else (31, *rest),
    ]


def rates_of(row):
    """Rates that a row takes, as numbers of every kind."""
    numbers = [rate for rate in RATES if row.unit_rate or rate < 1]
    wide = [np.float32, np.float64, jnp.float32, float]
    return st.builds(
        lambda kind, rate: kind(rate), st.sampled_from(wide), st.sampled_from(numbers)
    )


@for_the_family
@given(data=st.data())
def test_at_rate_zero_the_input_is_passed_through(row, data):
    shape = data.draw(st.sampled_from(sizes_of(row)))
    dtype = data.draw(kinds_of_floats)
    room = data.draw(st.sampled_from(["numpy", "jax"]))
    x = filled(shape, dtype, data.draw(st.sampled_from(VALUES)), room)
    rate = data.draw(st.sampled_from([0, 0.0, np.float32(0), np.int8(0)]))
    assert row(data.draw(st.one_of(st.none(), keys)), x, rate=rate) is x
    if row.evaluation_is_identity:
        assert row(None, x, rate=0.5, deterministic=True) is x


@for_the_family
@given(data=st.data())
def test_shapes_dtypes_and_values_are_kept(row, data):
    """Each entry is dropped, or divided by the probability of keeping it."""
    x64 = data.draw(st.booleans())
    with jax.enable_x64(x64):
        shape = data.draw(st.sampled_from(sizes_of(row)))
        fill = data.draw(st.sampled_from(FINITE))
        x = filled(shape, data.draw(kinds_of_floats), fill, "jax")
        rate = data.draw(rates_of(row))
        y = row(data.draw(keys), x, rate=rate)
        assert (y.shape, y.dtype) == (x.shape, x.dtype)
        if row.zeroes and 0 < float(rate) < 0.9:
            wide = np.asarray(x, np.float64)
            kept = wide / (1 - float(rate))
            found = np.asarray(y, np.float64)
            near = np.abs(found - kept) <= 2 * float(jnp.finfo(x.dtype).eps) * abs(kept)
            small = np.abs(kept) <= 2 * float(jnp.finfo(x.dtype).tiny)
            assert (near | (found == 0) | small | ~np.isfinite(found)).all()
        if float(rate) == 1 and row.zeroes:
            assert (np.asarray(y, np.float64) == 0).all()


def mapped(row, function):
    """One example at a time, under one key: as a batch of one."""
    return lambda key, x, rate: jax.vmap(
        lambda key: function(key, x, rate), out_axes=0
    )(key[None])[0]


def scanned(row, function):
    def once(key, x, rate):
        step = lambda carry, key: (function(key, carry, rate), None)
        return jax.lax.scan(step, x, key[None])[0]

    return once


def sharded(row, function):
    mesh = jax.make_mesh((8,), ("data",))
    return jax.shard_map(
        function, mesh=mesh, in_specs=(P(), P(), P()), out_specs=P(), check_vma=False
    )


def sloped(row, function):
    """The output, beside its derivative."""

    def both(key, x, rate):
        return jax.jvp(lambda x: function(key, x, rate), (x,), (jnp.ones_like(x),))[0]

    return both


TRANSFORMS = {
    "jit": lambda row, function: jax.jit(function),
    "vmap": mapped,
    "scan": scanned,
    "remat": lambda row, function: jax.checkpoint(function),
    "jvp": sloped,
    "shard_map": sharded,
}


@for_the_family
@given(data=st.data())
def test_transforms_of_transforms_leave_every_bit(row, data):
    names = st.lists(st.sampled_from([*TRANSFORMS]), min_size=1, max_size=3)
    chosen = data.draw(names.filter(lambda some: some.count("shard_map") < 2))
    rate = jnp.float32(data.draw(st.sampled_from([2.0**-23, 0.3, 0.5, ALMOST_ONE])))
    key = data.draw(st.sampled_from(["typed", "fused", "light"]))
    x = filled(row.shape, jnp.float32, "many", "jax")
    plain = lambda key, x, rate: row(key, x, rate=rate)
    function = plain
    for name in chosen:
        function = TRANSFORMS[name](row, function)
    key = KEYS[key](3)
    found = jax.jit(function)(key, x, rate)
    expected = jitted(row)(key, x, rate)
    if row.zeroes or row.shakes:
        np.testing.assert_array_equal(found, expected)
    else:  # compilers may contract a product and a sum
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@functools.cache
def jitted(row):
    return jax.jit(lambda key, x, rate: row(key, x, rate=rate))


@functools.cache
def slope(row):
    loss = lambda key, x, rate: jnp.sin(row(key, x, rate=rate)).sum()
    return jax.jit(jax.value_and_grad(loss, argnums=1))


@for_the_family
@given(data=st.data())
def test_gradients_are_finite_where_the_output_is(row, data):
    rate = data.draw(st.sampled_from([r for r in RATES if row.unit_rate or r < 1]))
    fill = data.draw(st.sampled_from([*FINITE, 3e38]))
    x = filled(row.shape, jnp.float32, fill, "jax")
    key = KEYS["typed"](data.draw(st.integers(0, 9)))
    value, gradient = slope(row)(key, x, jnp.float32(rate))
    assert not np.isfinite(value) or np.isfinite(gradient).all()


@functools.cache
def outputs(row):
    draw = lambda key, x, rate: row(key, x, rate=rate)
    return jax.jit(jax.vmap(draw, in_axes=(0, None, None)))


@for_the_family
@given(data=st.data())
def test_the_mean_over_keys_is_the_input(row, data):
    """Of all entries together, within six standard errors of independent keys."""
    if not row.keeps_mean:
        pytest.skip("the technique does not keep the mean")
    rate = data.draw(st.floats(0.03125, 0.875, width=32))
    many = jax.random.split(jax.random.key(data.draw(st.integers(0, 2**31 - 1))), 1000)
    x = jnp.abs(filled(row.shape, jnp.float32, "many", "jax")) + 0.5
    drawn = outputs(row)(many, x, jnp.float32(rate))
    means = np.asarray(drawn, np.float64).reshape(len(many), -1).mean(1)
    error = means.std(ddof=1) / np.sqrt(len(many))
    assert abs(means.mean() - float(x.mean())) < 6 * error + 1e-6


def test_the_table_of_the_family_is_not_empty():
    assert len(family.ROWS) >= 19
