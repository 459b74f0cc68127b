"""Queries that may attend to nothing attend to everything alike, as in ``jax.nn``."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formula

import jaxdrop

RATE = 0.3
LENGTH = 41  # whole in no number of blocks
BLOCK = 16  # so that queries of the first block see a part of the keys alone


def causes():
    """What masks a query throughout, though the plan skips keys it cannot see."""
    seen = np.arange(LENGTH) >= 12  # the first twelve keys are padding
    lowest = np.float32([-np.inf, np.finfo(np.float32).min])[:, None, None, None]
    return {
        "mask": {"mask": seen[None, None, None]},
        "lengths": {"key_value_seq_lengths": np.int32([0, 30])},
        "bias": {"bias": np.where(seen[None, None, None], 0, lowest)},
        "nothing": {},
    }


def expected(key, arrays, options):
    """The weights of jax.nn, read off a transparent value, dropped and multiplied."""
    query, key_, value = arrays
    width = [(0, 0)] * 3 + [(0, LENGTH - query.shape[3])]
    eye = np.broadcast_to(
        np.eye(LENGTH, dtype=np.float32)[None, :, None], (2, LENGTH, 4, LENGTH)
    )
    weights = jax.jit(functools.partial(jax.nn.dot_product_attention, **options))(
        np.pad(query, width), np.pad(key_, width), eye, scale=0.5
    )
    kept = jaxdrop.masks.bernoulli(key, (2, 4, LENGTH, LENGTH), rate=RATE)
    dropped = np.where(kept, np.moveaxis(weights, 1, 2) / (1 - RATE), 0)
    return np.einsum("bnts,bsnh->btnh", dropped, value)


@pytest.mark.parametrize("cause", causes())
@pytest.mark.parametrize(
    "view",
    [
        {},
        {"is_causal": True},
        pytest.param({"local_window_size": (4, 2)}, marks=pytest.mark.slow),
    ],
    ids=["all", "causal", "window"],
)
def test_gives_what_jax_gives_with_the_same_weights_dropped(key, cause, view):
    arrays = list(formula.inputs(2, LENGTH, LENGTH, 4, 4, 4).values())
    options = {**view, **causes()[cause]}
    got = jaxdrop.dot_product_attention(
        key, *arrays, rate=RATE, scale=0.5, block_size=BLOCK, **options
    )
    np.testing.assert_allclose(
        got, expected(key, arrays, options), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "cause", ["mask", pytest.param("bias", marks=pytest.mark.slow)]
)
def test_the_value_alone_gets_its_gradient(key, cause):
    """Weights that depend on nothing have no gradient, and hand it to the values."""
    arrays = list(formula.inputs(2, LENGTH, LENGTH, 4, 4, 4).values())
    options = {"is_causal": True, **causes()[cause]}
    lost = np.arange(LENGTH) < 12

    def loss(query, key_, value):
        y = jaxdrop.dot_product_attention(
            key, query, key_, value, rate=RATE, scale=0.5, block_size=BLOCK, **options
        )
        return jnp.where(lost[None, :, None, None], y, 0).sum()

    of_query, of_key, of_value = jax.jit(jax.grad(loss, (0, 1, 2)))(*arrays)
    assert not np.any(of_query) and not np.any(of_key)
    one = np.zeros_like(arrays[2])
    one[1, 30, 2] = 1  # the loss is linear in the values
    with_one, without = (
        expected(key, [*arrays[:2], value], options)[:, lost].sum()
        for value in (one, np.zeros_like(one))
    )
    np.testing.assert_allclose(of_value[1, 30, 2].sum(), with_one - without, rtol=1e-4)


def test_nothing_is_nan_in_half_precision(key):
    """Logits beyond the range of float16, and masks that leave nothing."""
    arrays = [
        np.float16(150 * x)
        for x in formula.inputs(2, LENGTH, LENGTH, 4, 2, 16).values()
    ]
    logits = np.einsum(
        "btnh,bsnh->bnts", *map(np.float32, (arrays[0][:, :, :2], arrays[1]))
    )
    assert np.abs(logits).max() > np.finfo(np.float16).max

    def loss(*arrays):
        y = jaxdrop.dot_product_attention(
            key,
            *arrays,
            rate=0.5,
            is_causal=True,
            block_size=BLOCK,
            mask=causes()["mask"]["mask"],
            key_value_seq_lengths=np.int32([0, 30]),
        )
        return y.astype(jnp.float32).mean(), y

    run = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))
    (_, y), gradients = run(*arrays)
    assert y.dtype == jnp.float16 and np.isfinite(y).all()
    assert all(np.isfinite(gradient).all() for gradient in gradients)
