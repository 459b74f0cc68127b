"""What holds for all noise on inputs."""

import functools
from fractions import Fraction

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chance import normal
from jaxdrop import inputs

IMAGES = (4, 9, 11, 3)
MASK = np.arange(5)[None] < np.array([5, 3, 2, 4])[:, None]


def with_labels(function):
    """A function of examples and labels, as one of examples."""
    eye = lambda n: np.eye(n, dtype=np.float32)
    return lambda key, x, **knobs: function(key, x, eye(len(x)), **knobs)[0]


# A function of key and data, its strength, the shape of its data.
FAMILY = [
    pytest.param(inputs.gaussian_noise, {"stddev": 0.3}, (6, 5), id="gaussian_noise"),
    pytest.param(
        functools.partial(inputs.embedding_noise, mask=MASK),
        {"alpha": 5.0},
        (4, 5, 6),
        id="embedding_noise",
    ),
    pytest.param(inputs.cutout, {"size": 4}, IMAGES, id="cutout"),
    pytest.param(inputs.random_erasing, {"rate": 0.9}, IMAGES, id="random_erasing"),
    pytest.param(with_labels(inputs.mixup), {"alpha": 1.0}, (6, 5), id="mixup"),
    pytest.param(with_labels(inputs.cutmix), {"alpha": 1.0}, IMAGES, id="cutmix"),
]
for_the_family = pytest.mark.parametrize("function, strength, shape", FAMILY)
names = lambda strength: next(iter(strength))


def test_every_public_function_has_a_row():
    public = {name for name in vars(inputs) if not name.startswith("_")}
    assert public == {row.id for row in FAMILY}


@pytest.mark.whole
@for_the_family
def test_deterministic_is_the_identity_and_needs_no_key(function, strength, shape):
    x = jnp.ones(shape)
    assert function(None, x, **strength, deterministic=True) is x


@for_the_family
def test_same_key_same_result_other_key_other_result(function, strength, shape, key):
    x = normal(*shape)
    apply = lambda key: function(key, x, **strength)
    y = np.asarray(apply(key))
    chex.assert_trees_all_equal(np.asarray(apply(key)), y)
    assert (y != apply(jax.random.key(1))).any()
    assert (y != x).any()
    assert x.dtype == y.dtype and y.shape == x.shape


@for_the_family
def test_vmap_is_a_loop(function, strength, shape, key):
    apply = functools.partial(function, **strength)
    keys, xs = jax.random.split(key, 3), normal(3, *shape)
    looped = np.stack([apply(k, x) for k, x in zip(keys, np.asarray(xs), strict=True)])
    mapped = jax.jit(jax.vmap(apply))(keys, xs)
    chex.assert_trees_all_close(mapped, looped, atol=1e-6)


@for_the_family
def test_a_traced_mode_selects_in_one_program_and_jit_changes_nothing(
    function, strength, shape, key
):
    x = normal(*shape)
    apply = jax.jit(lambda flag: function(key, x, **strength, deterministic=flag))
    chex.assert_trees_all_equal(apply(True), x)
    chex.assert_trees_all_close(apply(False), function(key, x, **strength), atol=1e-6)


@for_the_family
def test_a_strength_of_zero_is_the_identity(function, strength, shape, key):
    if "size" in strength:
        pytest.skip("a hole has a size")
    x = normal(*shape)
    zero = {names(strength): 0}
    assert function(None, x, **zero) is x
    traced = jax.jit(lambda s: function(key, x, **{names(strength): s}))(0.0)
    chex.assert_trees_all_equal(traced, x)


@for_the_family
def test_the_strength_is_data(function, strength, shape, key):
    if "size" in strength:
        pytest.skip("the size of a hole is static")
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def apply(value):
        return function(key, jnp.ones(shape), **{names(strength): value})

    for value in np.float32([0.1, 0.9]):
        expected = function(
            key, jnp.ones(shape), **{names(strength): jnp.float32(value)}
        )
        chex.assert_trees_all_close(apply(value), expected, atol=1e-6)


@for_the_family
def test_half_precision_is_that_of_float32_rounded_once(function, strength, shape, key):
    """The same numbers are drawn, and sums are made in float32."""
    dtype = jnp.bfloat16
    x = normal(*shape).astype(dtype)
    half = function(key, x, **strength)
    wide = function(key, x.astype(jnp.float32), **strength)
    assert half.dtype == dtype
    chex.assert_trees_all_equal(half, wide.astype(dtype))


@for_the_family
def test_x64_changes_nothing_drawn(function, strength, shape, key):
    x = normal(*shape)
    narrow = function(key, x, **strength)
    with jax.enable_x64(True):
        chex.assert_trees_all_close(function(key, x, **strength), narrow, atol=1e-6)
        wide = function(key, x.astype(jnp.float64), **strength)
        assert wide.dtype == jnp.float64
        chex.assert_trees_all_close(wide, narrow.astype(jnp.float64), atol=1e-6)


@for_the_family
def test_gradients_are_finite(function, strength, shape, key):
    loss = lambda x: (function(key, x, **strength) ** 2).sum()
    chex.assert_tree_all_finite(jax.grad(loss)(jnp.ones(shape)))


@pytest.mark.whole
@for_the_family
def test_a_missing_key_is_named(function, strength, shape):
    with pytest.raises(ValueError, match="key must be a PRNG key"):
        function(None, jnp.ones(shape), **strength)


@pytest.mark.whole
@for_the_family
def test_a_negative_strength_is_refused(function, strength, shape, key):
    with pytest.raises(ValueError, match=f"{names(strength)}"):
        function(key, jnp.ones(shape), **{names(strength): -1})


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
@for_the_family
def test_a_strength_that_is_refused_as_a_number_is_nan_as_data(
    function, strength, shape, key, bad
):
    if "size" in strength:
        pytest.skip("the size of a hole is static")
    x = jnp.ones(shape)
    with pytest.raises(ValueError, match=names(strength)):
        function(key, x, **{names(strength): bad})
    traced = jax.jit(lambda s: function(key, x, **{names(strength): s}))
    spoiled = np.asarray(jnp.isnan(traced(jnp.float32(bad))))
    # Padding of embedding_noise stays as it is.
    expected = np.broadcast_to(MASK[..., None], shape) if shape == (4, 5, 6) else True
    np.testing.assert_array_equal(spoiled, np.broadcast_to(expected, shape))


@pytest.mark.whole
@for_the_family
def test_strengths_are_numbers_or_refused_by_name(function, strength, shape, key):
    name = names(strength)
    large = () if name == "size" else (10**40, 10**400)
    for number in (*large, "1", None, 1j, True):
        with pytest.raises((TypeError, ValueError), match=name):
            function(key, jnp.ones(shape), **{name: number})
    if name in ("stddev", "alpha"):
        half = function(key, jnp.ones(shape), **{name: 0.5})
        for number in (np.float64(0.5), np.float16(0.5), Fraction(1, 2)):
            same = function(key, jnp.ones(shape), **{name: number})
            chex.assert_trees_all_close(same, half, rtol=1e-6)


@for_the_family
def test_integers_are_refused_where_they_cannot_be_noisy(
    function, strength, shape, key
):
    x = jnp.ones(shape, jnp.uint8)
    if "size" in strength:
        y = function(key, x, **strength)
        assert y.dtype == jnp.uint8 and set(np.unique(y)) == {0, 1}
        return
    with pytest.raises(TypeError, match="got uint8"):
        function(key, x, **strength)
