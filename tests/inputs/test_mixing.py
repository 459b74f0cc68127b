"""Mixup and CutMix: shares, partners, and labels that follow the data."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from chance import assert_distribution, assert_mean, assert_uniform_counts
from jaxdrop import inputs
from jaxdrop.inputs._mixing import partners, symmetric_beta

N = 8
OWN = jnp.arange(float(N))


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 4.0, 50.0])
def test_shares_come_from_beta(key, alpha):
    draw = jax.jit(lambda a: symmetric_beta(key, (40_000,), alpha=a))
    shares = np.asarray(draw(alpha), np.float64)
    beta = stats.beta(alpha, alpha)
    edges = beta.ppf(np.linspace(0, 1, 21))
    assert_uniform_counts(np.histogram(shares, bins=edges)[0])
    # Near 0 a float32 tells shares apart, near 1 it cannot.
    low = shares[shares < 0.5]
    assert_distribution(low, lambda x: 2 * beta.cdf(x))


def test_shares_of_every_strength_are_shares(key):
    for alpha in (0.0, 1e-6, 1e-3, 1e3, 1e6):
        shares = symmetric_beta(key, (1000,), alpha=jnp.float32(alpha))
        assert ((shares >= 0) & (shares <= 1)).all()
    assert (symmetric_beta(key, (1000,), alpha=jnp.float32(0)) == 1).all()


def test_partners_are_a_uniform_permutation(key):
    keys = jax.random.split(key, 6000)
    drawn = np.asarray(jax.vmap(lambda k: partners(k, 3))(keys))
    assert (np.sort(drawn, axis=1) == np.arange(3)).all()
    assert_uniform_counts(np.unique(drawn, axis=0, return_counts=True)[1])
    assert len(np.unique(drawn, axis=0)) == 6


def parts(labels):
    """The own share and the partner of each example, from labels that were one-hot."""
    labels = np.asarray(labels)
    np.testing.assert_allclose(labels.sum(axis=-1), 1, rtol=1e-6)
    assert (labels >= 0).all()
    own = np.diagonal(labels)
    others = labels - np.diag(own)
    partner = np.where(others.max(axis=1) > 0, others.argmax(axis=1), np.arange(N))
    np.testing.assert_allclose(others.sum(axis=1), others.max(axis=1), rtol=1e-6)
    return own, partner


@pytest.mark.parametrize("per_example", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_mixup_mixes_data_as_labels_say(per_example, seed):
    x = jnp.broadcast_to(OWN[:, None], (N, 6))
    key = jax.random.key(seed)
    y, labels = inputs.mixup(key, x, jnp.eye(N), alpha=1.0, per_example=per_example)
    own, partner = parts(labels)
    expected = own * np.arange(N) + (1 - own) * partner
    np.testing.assert_allclose(y, np.broadcast_to(expected[:, None], (N, 6)), rtol=1e-5)
    moved = partner != np.arange(N)
    shares = np.unique(own[moved].round(5))
    assert len(shares) == (moved.sum() if per_example else 1)


@pytest.mark.parametrize("per_example", [False, True])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("channel_axis", [-1, 1])
def test_cutmix_pastes_one_box_and_labels_say_its_area(per_example, seed, channel_axis):
    x = OWN[:, None, None, None] * jnp.ones((N, 12, 16, 2))
    y, labels = inputs.cutmix(
        jax.random.key(seed),
        jnp.moveaxis(x, -1, channel_axis),
        jnp.eye(N),
        per_example=per_example,
        channel_axis=channel_axis,
    )
    y = np.moveaxis(np.asarray(y), channel_axis, -1)
    assert (y == y[..., :1]).all()
    own, partner = parts(labels)
    boxes = set()
    for image in range(N):
        pasted = y[image, :, :, 0] != image
        np.testing.assert_allclose(1 - pasted.mean(), own[image], atol=1e-6)
        if pasted.any():
            assert (y[image, :, :, 0][pasted] == partner[image]).all()
            rows, columns = pasted.any(axis=1), pasted.any(axis=0)
            np.testing.assert_array_equal(pasted, np.outer(rows, columns))
            assert (np.diff(np.flatnonzero(rows)) == 1).all()
            assert (np.diff(np.flatnonzero(columns)) == 1).all()
            boxes.add(pasted.tobytes())
    assert len(boxes) > 1 if per_example else len(boxes) <= 1


def test_the_box_of_cutmix_follows_the_share_it_was_drawn_for(key):
    """At alpha = 1 the square of the side is uniform; all sides and centers counted."""
    side, center = np.arange(32)[:, None], np.arange(32)[None]
    start = center - side // 2
    seen = (np.minimum(start + side, 32) - np.maximum(start, 0)).mean(axis=1) / 32
    probability = (2 * side[:, 0] + 1) / 32**2  # of side <= 32 * sqrt(u) < side + 1
    expected = (probability * seen**2).sum()

    x = jnp.zeros((6000, 32, 32, 1))
    label = jnp.eye(2)[jnp.arange(6000) % 2]
    _, mixed = inputs.cutmix(key, x, label, per_example=True)
    # Half of the partners have the same label, and show nothing.
    assert_mean(jnp.sum(mixed * (1 - label), axis=-1), expected / 2)


def test_any_tree_of_labels_is_mixed_alike(key):
    x, labels = jnp.ones((N, 4)), {"class": jnp.eye(N), "value": OWN}
    _, mixed = inputs.mixup(key, x, labels, alpha=1.0)
    np.testing.assert_allclose(mixed["value"], mixed["class"] @ OWN, rtol=1e-5)


@pytest.mark.parametrize("function", [inputs.mixup, inputs.cutmix])
def test_deterministic_and_zero_return_the_very_labels(function, key):
    x, labels = jnp.ones((N, 4, 4, 1)), jnp.eye(N)
    for knobs in ({"alpha": 1.0, "deterministic": True}, {"alpha": 0}):
        same_x, same_labels = function(None, x, labels, **knobs)
        assert same_x is x and same_labels is labels
    flagged = jax.jit(lambda f: function(key, x, labels, alpha=1.0, deterministic=f))
    chex.assert_trees_all_equal(flagged(True), (x, labels))
    assert (flagged(False)[1] != labels).any()


@pytest.mark.parametrize("function", [inputs.mixup, inputs.cutmix])
def test_labels_that_cannot_be_mixed_are_refused(function, key):
    x = jnp.ones((N, 4, 4, 1))
    with pytest.raises(TypeError, match=r"got int32; use jax.nn.one_hot"):
        function(key, x, jnp.arange(N), alpha=1.0)
    with pytest.raises(ValueError, match="must have the same batch size"):
        function(key, x, jnp.eye(N - 1), alpha=1.0)


def test_cutmix_takes_images(key):
    with pytest.raises(ValueError, match="cutmix: x must be images"):
        inputs.cutmix(key, jnp.ones((N, 4, 4)), jnp.eye(N))


def test_a_batch_of_one_is_mixed_with_itself(key):
    x, labels = jnp.full((1, 4, 4, 1), 3.0), jnp.ones((1, 2))
    for function in (inputs.mixup, inputs.cutmix):
        y, mixed = function(key, x, labels, alpha=1.0)
        np.testing.assert_allclose(y, x, rtol=1e-6)
        np.testing.assert_allclose(mixed, labels, rtol=1e-6)


@pytest.mark.parametrize("alpha", [-0.5, np.nan])
def test_a_traced_alpha_out_of_range_gives_nan(alpha, key):
    x = jnp.ones((4, 6, 6, 3))
    targets = jnp.eye(4)
    for mix in (inputs.mixup, inputs.cutmix):
        run = jax.jit(lambda alpha, mix=mix: mix(key, x, targets, alpha=alpha))
        for part in run(jnp.float32(alpha)):
            assert np.isnan(part).all()


@pytest.mark.parametrize("sides", [(1, 1000), (1000, 1), (1, 7)])
def test_cutmix_pastes_boxes_into_images_of_one_row(sides, key):
    """They span the row, so that their area is that which was drawn."""
    x = jnp.zeros((2000, *sides, 1))
    label = jnp.eye(2)[jnp.arange(2000) % 2]
    y, mixed = inputs.cutmix(key, x.at[1::2].set(1.0), label, per_example=True)
    own = np.asarray(y[..., 0] == (jnp.arange(2000.0) % 2)[:, None, None])
    np.testing.assert_allclose(own.mean(axis=(1, 2)), (mixed * label).sum(1), atol=1e-6)
    assert (own.mean(axis=(1, 2)) < 0.9).mean() > 0.3


def test_cutmix_refuses_images_of_a_single_pixel(key):
    with pytest.raises(ValueError, match=r"of a single pixel.*channel_axis"):
        inputs.cutmix(key, jnp.ones((4, 1, 1, 9)), jnp.eye(4))
