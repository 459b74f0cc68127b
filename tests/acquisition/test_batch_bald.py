"""BatchBALD against brute force, and at sizes where products underflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from acquisition.cases import joint_information, logits

from chance import assert_mean
from jaxdrop import acquisition


@pytest.mark.parametrize("classes, num_points", [(3, 2), (2, 4)])
def test_batch_bald_is_the_greedy_choice_by_brute_force(classes, num_points):
    samples = logits(50, 6, classes, scale=3)
    chosen = acquisition.batch_bald(None, samples, num_points=num_points)
    indices, before = [], 0.0
    for gain in chosen.gains:
        scores = {
            point: joint_information(samples, [*indices, point])
            for point in set(range(6)) - set(indices)
        }
        best = max(scores, key=scores.get)
        assert gain == pytest.approx(scores[best] - before, abs=2e-6)
        indices.append(best)
        before = scores[best]
    np.testing.assert_array_equal(chosen.indices, indices)


@pytest.mark.slow
def test_drawn_labels_give_what_all_labels_would(key):
    samples = logits(50, 6, 3, scale=3)
    exact = jax.device_get(acquisition.batch_bald(None, samples, num_points=4))
    run = lambda key: acquisition.batch_bald(
        key, samples, num_points=4, num_configurations=20
    )
    draw = jax.jit(lambda key: jax.vmap(run)(jax.random.split(key, 60)))
    drawn = jax.device_get(draw(key))
    same = (drawn.indices == exact.indices).all(-1)  # others have a gain of their own
    assert same.mean() > 0.3
    gains = drawn.gains[same]
    error = gains.std(0, ddof=1) / np.sqrt(len(gains))
    bias = np.abs(gains.mean(0) - exact.gains)
    np.testing.assert_allclose(
        gains[:, :3], np.tile(exact.gains[:3], (len(gains), 1)), atol=1e-6
    )
    assert (bias <= 4 * error + 1e-6).all()


def test_drawn_labels_estimate_what_a_point_adds_without_bias(key):
    samples = logits(50, 3, 3, scale=3)
    run = lambda key: acquisition.batch_bald(
        key, samples, num_points=3, num_configurations=4
    )
    draw = jax.jit(lambda key: jax.vmap(run)(jax.random.split(key, 2000)))
    drawn = jax.device_get(draw(key))
    order = drawn.indices[0]
    assert (drawn.indices == order).all()  # the last one is the one left
    exact = joint_information(samples, order) - joint_information(samples, order[:2])
    assert_mean(drawn.gains[:, 2], exact)


def test_labels_of_several_points_are_drawn_independently(key):
    """Two hypotheses about three coins that are nearly alike: labels often differ."""
    heads = np.array([[0.7, 0.69, 0.68], [0.3, 0.31, 0.32]])
    samples = np.log(np.stack([heads, 1 - heads], -1)).astype(np.float32)
    run = lambda key: acquisition.batch_bald(
        key, samples, num_points=3, num_configurations=3
    )
    draw = jax.jit(lambda key: jax.vmap(run)(jax.random.split(key, 2000)))
    drawn = jax.device_get(draw(key))
    assert (drawn.indices == np.arange(3)).all()
    exact = acquisition.batch_bald(None, samples, num_points=3)
    assert_mean(drawn.gains[:, 2], exact.gains[2])


def test_a_copy_of_a_point_adds_less():
    samples = np.repeat(logits(100, 1, 3, scale=4), 3, axis=1)
    gains = np.asarray(acquisition.batch_bald(None, samples, num_points=3).gains)
    assert gains[0] > gains[1] > gains[2] > 0
    best = logits(100, 4, 3, scale=4)
    best[:, 1:] = best[:, :1]  # four copies
    spread = np.concatenate([best, logits(100, 1, 3, scale=2, seed=1)], axis=1)
    chosen = acquisition.batch_bald(None, spread, num_points=2)
    assert chosen.indices[1] == 4
    assert (np.argsort(-acquisition.bald(spread))[:2] < 4).all()


@pytest.mark.parametrize("num_configurations", [1, 1024])
def test_a_point_is_not_chosen_again_where_the_others_tell_nothing(
    num_configurations, key
):
    samples = np.zeros((20, 4, 3), np.float32)
    samples[:, 2] = logits(20, 1, 3, scale=1)[:, 0]  # a second label would tell more
    chosen = acquisition.batch_bald(
        key, samples, num_points=4, num_configurations=num_configurations
    )
    assert chosen.indices[0] == 2
    assert sorted(chosen.indices.tolist()) == list(range(4))


def test_every_point_is_chosen_once(key):
    samples = logits(20, 8, 3)
    chosen = acquisition.batch_bald(key, samples, num_points=8, num_configurations=3)
    assert sorted(chosen.indices.tolist()) == list(range(8))
    assert chosen.gains.shape == (8,)


@pytest.mark.slow
def test_hundreds_of_points_do_not_underflow(key):
    points, classes = 300, 10
    samples = logits(30, points, classes, scale=1)
    chosen = jax.jit(
        lambda key, samples: acquisition.batch_bald(
            key, samples, num_points=points, num_configurations=300
        )
    )(key, samples)
    information = chosen.gains.sum()
    assert jnp.isfinite(chosen.gains).all()
    assert 0 < information <= 1.05 * np.log(30)  # 30 samples hold no more than log 30
    assert (chosen.gains[-100:] < 1e-3).all()  # by then the sample is known


def test_a_key_is_only_needed_to_draw_labels():
    samples = logits(10, 6, 4)
    acquisition.batch_bald(None, samples, num_points=2)
    with pytest.raises(ValueError, match="batch_bald: key must be a PRNG key"):
        acquisition.batch_bald(None, samples, num_points=4, num_configurations=16)
    with pytest.raises(ValueError, match="from 1 to the number of points, 6, got 7"):
        acquisition.batch_bald(None, samples, num_points=7)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: acquisition.margin(x[..., :1]), "at least two classes"),
        (lambda x: acquisition.epig(x, x[:, :0]), "must have targets"),
        (lambda x: acquisition.batch_bald(None, x, num_points=2.5), "num_points"),
        (lambda x: acquisition.batch_bald(None, x, num_points=True), "num_points"),
        (lambda x: acquisition.batch_bald(None, x, num_points=0), "num_points"),
        (
            lambda x: acquisition.batch_bald(
                None, x, num_points=2, num_configurations=0
            ),
            "num_configurations",
        ),
    ],
)
def test_says_what_is_wrong(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(logits(4, 3, 2))


def test_labelled_points_are_not_chosen():
    pool = logits(50, 6, 3, scale=3)
    order = acquisition.batch_bald(None, pool, num_points=2)
    taken = np.isin(np.arange(6), order.indices)
    for array in (np.asarray, jnp.asarray, list):
        found = acquisition.batch_bald(None, pool, num_points=2, labelled=array(taken))
        assert not set(found.indices.tolist()) & set(order.indices.tolist())
    rest = acquisition.batch_bald(None, pool[:, ~taken], num_points=2)
    np.testing.assert_allclose(found.gains, rest.gains, rtol=1e-5)
    none_left = acquisition.batch_bald(
        None, pool, num_points=2, labelled=jnp.ones(6, bool)
    )
    assert (np.asarray(none_left.indices) == -1).all()
    assert np.isnan(none_left.gains).all()


@pytest.mark.parametrize(
    ("labelled", "error", "message"),
    [
        (np.arange(6) > 0, ValueError, "num_points must be at most .* labelled, 1"),
        (np.zeros(5, bool), ValueError, r"one bool for each point, of shape \(6,\)"),
        (np.zeros(6, int), TypeError, "labelled must hold bools, got"),
    ],
)
def test_labelled_fits_the_pool(labelled, error, message):
    with pytest.raises(error, match=message):
        acquisition.batch_bald(
            None, np.zeros((2, 6, 2)), num_points=np.int64(2), labelled=labelled
        )
