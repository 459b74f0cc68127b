"""What an audit lists, and what its assertions say."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from diagnostics.cases import KEY, Net, X, audit, drop, only_site
from flax import nnx

import jaxdrop
from family import for_the_family
from jaxdrop import diagnostics


@for_the_family
def test_every_technique_is_seen_with_its_rate_and_mask(row, key):
    x = jnp.ones(row.shape)
    site = only_site(lambda k, x: row(k, x, 0.25), key, x)
    assert site.technique == row.function.__name__
    assert site.mode == "active"
    assert site.rate == 0.25
    assert site.steps == 1
    draws = 3 if row.shakes else 1  # which, and by what forward and backward
    assert site.random_bits == 32 * draws * np.prod(site.mask_shape)
    assert site.memory == row.held * np.prod(site.mask_shape)
    assert site.source.startswith("family.py:")
    assert not audit(lambda x: row(None, x, 0.25, True), x).active


@for_the_family
def test_a_technique_keeps_its_name_and_rate_in_monte_carlo_prediction(row, key):
    predict = functools.partial(
        jaxdrop.mc.predict, lambda k, x: row(k, 2 * x, 0.25), num_samples=5
    )
    (site,) = audit(predict, key, jnp.ones(row.shape)).sites
    assert (site.technique, site.rate) == (row.function.__name__, 0.25)
    assert site.steps == 5


def test_monte_carlo_prediction_draws_once_a_sample():
    model = Net(nnx.Rngs(0))
    model.eval()
    predict = functools.partial(jaxdrop.mc.predict, jaxdrop.nnx.mc_apply, num_samples=5)
    result = audit(predict, KEY, model, X)
    assert [s.steps for s in result.active] == [5, 5, 5]
    assert not result.findings


def test_assertions_say_what_is_wrong():
    model = nnx.Sequential(
        jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0)), nnx.Linear(8, 8, rngs=nnx.Rngs(1))
    )
    diagnostics.assert_active(model, X)
    with pytest.raises(AssertionError, match="layers/0 draws") as error:
        diagnostics.assert_inactive(model, X)
    assert "1 active, 0 inactive" in str(error.value)
    model.eval()
    diagnostics.assert_inactive(model, X)
    with pytest.raises(AssertionError, match="no site draws"):
        diagnostics.assert_active(model, X)
    with pytest.raises(AssertionError, match="no site draws"):
        diagnostics.assert_active(jnp.sin, X)
    diagnostics.assert_inactive(jnp.sin, X)


def test_a_model_that_is_half_on_or_throws_its_masks_away_is_not_active():
    half = nnx.Sequential(
        jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0)),
        jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(1), deterministic=True),
    )
    with pytest.raises(AssertionError, match="layers/1 is in evaluation"):
        diagnostics.assert_active(half, X)

    def forgotten(key, x):
        drop(key, x)
        return x

    with pytest.raises(AssertionError, match="does not depend"):
        diagnostics.assert_active(forgotten, KEY, X)
    zero = lambda k, x: jaxdrop.dropout(None, drop(k, x), rate=0.0)
    diagnostics.assert_active(zero, KEY, X)
