"""DropKey: each query loses keys of its own, and never all of them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from chance import assert_frequency, assert_uniform_counts

SHAPE = (2, 4, 16, 16)
CAUSAL = np.tril(np.ones((1, 1, 16, 16), bool))


def test_drops_with_the_rate_what_the_exported_mask_drops(key):
    shape = (4, 4, 32, 64)
    mask = jaxdrop.drop_key(key, shape, rate=0.3)
    np.testing.assert_array_equal(mask, jaxdrop.masks.bernoulli(key, shape, rate=0.3))
    assert_frequency(~np.asarray(mask), 0.3)


def test_a_query_keeps_a_key_that_it_may_attend_to(key):
    mask = np.asarray(jaxdrop.drop_key(key, SHAPE, rate=0.95, mask=CAUSAL))
    assert not (mask & ~CAUSAL).any()
    assert mask.any(axis=-1).all()
    plain = np.asarray(jaxdrop.masks.bernoulli(key, SHAPE, rate=0.95)) & CAUSAL
    rescued = ~plain.any(axis=-1)
    assert rescued.any() and (~rescued).any()
    np.testing.assert_array_equal(mask[~rescued], plain[~rescued])
    assert (mask[rescued].sum(axis=-1) == 1).all()


def test_at_rate_one_a_query_keeps_any_of_its_keys(key):
    mask = np.asarray(jaxdrop.drop_key(key, (4000, 4), rate=1.0))
    assert (mask.sum(axis=-1) == 1).all()
    assert_uniform_counts(mask.sum(axis=0))


def test_a_query_that_may_attend_to_nothing_is_left_so(key):
    allowed = np.arange(16)[:, None] >= np.arange(16)[None] + 3
    mask = np.asarray(jaxdrop.drop_key(key, SHAPE, rate=0.9, mask=allowed))
    np.testing.assert_array_equal(
        mask.any(axis=-1), np.broadcast_to(allowed.any(axis=-1), SHAPE[:-1])
    )


def test_what_is_kept_at_a_rate_is_kept_at_every_lower_rate(key):
    draws = [jaxdrop.drop_key(key, SHAPE, rate=r) for r in (1.0, 0.9, 0.5, 0.1)]
    for higher, lower in itertools.pairwise(draws):
        assert not (higher & ~lower).any()


def test_nothing_is_drawn_where_nothing_is_dropped():
    allowed = jnp.asarray(np.broadcast_to(CAUSAL, SHAPE))
    for off in ({"rate": 0}, {"rate": 0.5, "deterministic": True}):
        kept = jaxdrop.drop_key(None, SHAPE, mask=allowed, **off)
        np.testing.assert_array_equal(kept, allowed)
        assert jaxdrop.drop_key(None, SHAPE, **off).all()


def test_a_traced_rate_compiles_once_and_drops_nothing_if_it_is_none(key):
    run = jax.jit(lambda rate: jaxdrop.drop_key(key, SHAPE, rate=rate, mask=CAUSAL))
    whole = np.broadcast_to(CAUSAL, SHAPE)
    for rate in (0.0, np.nan, 2.0):
        np.testing.assert_array_equal(run(jnp.float32(rate)), whole)
    static = jaxdrop.drop_key(key, SHAPE, rate=0.5, mask=CAUSAL)
    np.testing.assert_array_equal(run(jnp.float32(0.5)), static)
    assert run._cache_size() == 1
    traced = jax.jit(
        lambda mode: jaxdrop.drop_key(key, SHAPE, rate=0.5, deterministic=mode)
    )
    assert traced(True).all() and not traced(False).all()


def test_a_key_a_row_under_vmap_is_each_rows_own_draw(key):
    keys = jax.random.split(key, 2)
    draw = lambda key: jaxdrop.drop_key(key, SHAPE[1:], rate=0.9)
    rows = [draw(key) for key in keys]
    np.testing.assert_array_equal(jax.vmap(draw)(keys), rows)


@pytest.mark.whole
@pytest.mark.parametrize(
    "call, error, message",
    [
        (({"rate": 1.5}, SHAPE), ValueError, "rate is the probability"),
        (({"rate": 0.5, "mask": np.ones(16)}, SHAPE), TypeError, "must be boolean"),
        (({"rate": 0.5, "mask": np.ones(3, bool)}, SHAPE), ValueError, "broadcast"),
        (({"rate": 0.5}, ()), ValueError, "shape must be"),
        (({"rate": 0.5}, 8), TypeError, "shape must be a tuple"),
        (({"rate": 0.5}, b"bytes"), TypeError, "shape must be a tuple"),
        (({"rate": 0.5}, (2, "8")), TypeError, "shape must hold integers"),
        (({"rate": 0.5}, (3, 0)), ValueError, "shape must be"),
    ],
)
def test_says_what_is_wrong(key, call, error, message):
    options, shape = call
    with pytest.raises(error, match=message):
        jaxdrop.drop_key(key, shape, **options)


def test_says_that_a_key_is_missing():
    with pytest.raises(ValueError, match="drop_key: key must be a PRNG key"):
        jaxdrop.drop_key(None, SHAPE, rate=0.5)
