"""CutMix: one box of another image, and labels that say its area."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs.cases import OWN, N, parts

from chance import assert_mean
from jaxdrop import inputs


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


def test_cutmix_takes_images(key):
    with pytest.raises(ValueError, match="cutmix: x must be images"):
        inputs.cutmix(key, jnp.ones((N, 4, 4)), jnp.eye(N))


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


def test_images_of_one_example_are_not_mixed():
    with pytest.raises(ValueError, match="channel_axis must not be 0"):
        inputs.cutmix(
            jax.random.key(0),
            jnp.ones((4, 8, 8, 1)),
            jnp.ones(4),
            alpha=1.0,
            channel_axis=0,
        )
