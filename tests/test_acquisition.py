"""Acquisition scores against brute force, and at sizes where products underflow."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from chance import assert_mean
from jaxdrop import acquisition, mc


def logits(samples, points, classes, *, scale=2.0, seed=0):
    rng = np.random.default_rng(seed)
    return (scale * rng.normal(size=(samples, points, classes))).astype(np.float32)


def probabilities(given):
    return special.softmax(np.asarray(given, np.float64), -1)


def joint_information(given, points):
    """I(y_1, ..., y_n; w), by going through all labels, in float64."""
    p = probabilities(given)
    table = np.ones((len(p), 1))
    for point in points:
        table = (table[:, :, None] * p[:, None, point]).reshape(len(p), -1)
    conditional = special.entr(p[:, list(points)]).sum(-1).mean(0).sum()
    return special.entr(table.mean(0)).sum() - conditional


def test_scores_of_single_points_are_those_of_predict():
    samples = logits(20, 7, 4)
    p = probabilities(samples)
    total = special.entr(p.mean(0)).sum(-1)
    information = total - special.entr(p).sum(-1).mean(0)
    ranked = np.sort(p.mean(0), -1)
    votes = [np.bincount(v, minlength=4).max() for v in p.argmax(-1).T]
    expected = {
        acquisition.bald: information,
        acquisition.max_entropy: total,
        acquisition.variation_ratio: 1 - np.array(votes) / 20,
        acquisition.margin: 1 - (ranked[:, -1] - ranked[:, -2]),
    }
    for score, values in expected.items():
        np.testing.assert_allclose(score(samples), values, atol=1e-6)
        log_probs = np.log(p).astype(np.float32)
        np.testing.assert_allclose(score(log_probs), values, atol=1e-6)


SCORES = [
    *(acquisition.bald, acquisition.max_entropy, acquisition.variation_ratio),
    acquisition.margin,
]


@pytest.mark.parametrize("score", SCORES)
def test_logits_may_be_moved_and_short(score):
    """Far beyond where their exponentials end, and in half precision."""
    samples = jnp.round(logits(20, 7, 4) * 16) / 16  # exact when moved, and in halves
    expected = score(samples)
    np.testing.assert_allclose(score(samples + 8192), expected, atol=2e-6)
    np.testing.assert_allclose(score(samples - 8192), expected, atol=2e-6)
    short = score(samples.astype(jnp.float16))
    assert short.dtype == jnp.float32
    np.testing.assert_allclose(short, expected, atol=1e-6)


def test_agreement_is_worth_nothing_and_never_less():
    samples = jnp.stack([jnp.asarray(logits(1, 10_000, 5, scale=3.0)[0])] * 7)
    information = acquisition.bald(samples)
    assert (information >= 0).all() and (information < 1e-6).all()


def test_bald_tells_disagreement_from_doubt():
    disagreement = np.float32([[50, 0], [0, 50]])
    both = np.stack([disagreement, np.zeros((2, 2), np.float32)], axis=1)
    np.testing.assert_allclose(acquisition.bald(both), [np.log(2), 0], atol=1e-6)
    np.testing.assert_allclose(acquisition.max_entropy(both), np.log(2), atol=1e-6)


def test_impossible_classes_are_no_trouble():
    samples = logits(10, 5, 3)
    samples[:, :, 2] = -np.inf
    without = samples[:, :, :2]
    for score in (acquisition.bald, acquisition.max_entropy, acquisition.margin):
        np.testing.assert_allclose(score(samples), score(without), atol=1e-6)
    chosen = acquisition.batch_bald(None, samples, num_points=3)
    expected = acquisition.batch_bald(None, without, num_points=3)
    np.testing.assert_array_equal(chosen.indices, expected.indices)
    np.testing.assert_allclose(chosen.gains, expected.gains, atol=1e-5)


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


def test_drawn_labels_give_what_all_labels_would(key):
    samples = logits(50, 6, 3, scale=3)
    exact = acquisition.batch_bald(None, samples, num_points=4)
    drawn = jax.jit(
        jax.vmap(
            lambda key: acquisition.batch_bald(
                key, samples, num_points=4, num_configurations=20
            )
        )
    )(jax.random.split(key, 60))
    same = (drawn.indices == exact.indices[None]).all(
        -1
    )  # others have a gain of their own
    assert same.mean() > 0.3
    gains = np.asarray(drawn.gains)[np.asarray(same)]
    error = gains.std(0, ddof=1) / np.sqrt(len(gains))
    bias = np.abs(gains.mean(0) - exact.gains)
    np.testing.assert_allclose(
        gains[:, :3], np.tile(exact.gains[:3], (len(gains), 1)), atol=1e-6
    )
    assert (bias <= 4 * error + 1e-6).all()


def test_drawn_labels_estimate_what_a_point_adds_without_bias(key):
    samples = logits(50, 3, 3, scale=3)
    drawn = jax.jit(
        jax.vmap(
            lambda key: acquisition.batch_bald(
                key, samples, num_points=3, num_configurations=4
            )
        )
    )(jax.random.split(key, 2000))
    order = drawn.indices[0]
    assert (drawn.indices == order[None]).all()  # the last one is the one left
    exact = joint_information(samples, order) - joint_information(samples, order[:2])
    assert_mean(drawn.gains[:, 2], exact)


def test_labels_of_several_points_are_drawn_independently(key):
    """Two hypotheses about three coins that are nearly alike: labels often differ."""
    heads = np.array([[0.7, 0.69, 0.68], [0.3, 0.31, 0.32]])
    samples = np.log(np.stack([heads, 1 - heads], -1)).astype(np.float32)
    drawn = jax.jit(
        jax.vmap(
            lambda key: acquisition.batch_bald(
                key, samples, num_points=3, num_configurations=3
            )
        )
    )(jax.random.split(key, 2000))
    assert (drawn.indices == jnp.arange(3)[None]).all()
    exact = acquisition.batch_bald(None, samples, num_points=3)
    assert_mean(drawn.gains[:, 2], exact.gains[2])


def test_what_diverged_is_neither_certain_nor_the_best_choice():
    samples = logits(5, 4, 3)
    samples[1, 2, 0] = np.nan
    scores = {
        name: getattr(acquisition, name)(samples)
        for name in ("bald", "margin", "max_entropy", "variation_ratio")
    }
    scores["epig"] = acquisition.epig(samples, logits(5, 2, 3, seed=1))
    for name, score in scores.items():
        np.testing.assert_array_equal(np.isnan(score), np.arange(4) == 2, name)
    assert np.isnan(acquisition.batch_bald(None, samples, num_points=2).gains).all()


def test_a_copy_of_a_point_adds_less():
    samples = np.repeat(logits(100, 1, 3, scale=4), 3, axis=1)
    gains = acquisition.batch_bald(None, samples, num_points=3).gains
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
    chosen = acquisition.batch_bald(key, samples, num_points=8, num_configurations=27)
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


def test_epig_is_the_information_about_targets():
    pool, targets = logits(40, 5, 3), logits(40, 4, 3, seed=1)
    p, q = probabilities(pool), probabilities(targets)
    joint = np.einsum("tnc,tmd->nmcd", p, q) / 40
    apart = p.mean(0)[:, None, :, None] * q.mean(0)[None, :, None, :]
    expected = special.rel_entr(joint, apart).sum((-1, -2)).mean(1)
    np.testing.assert_allclose(
        jax.jit(acquisition.epig)(pool, targets), expected, atol=1e-6
    )
    brute = np.zeros((5, 4))
    for n, m in itertools.product(range(5), range(4)):
        both = np.stack([pool[:, n], targets[:, m]], axis=1)
        brute[n, m] = (
            joint_information(pool, [n])
            + joint_information(targets, [m])
            - joint_information(both, [0, 1])
        )
    # I(y; w) + I(y*; w) - I(y, y*; w) = I(y; y*), as labels are independent given w
    np.testing.assert_allclose(expected, brute.mean(1), atol=1e-9)


def test_epig_ignores_what_no_target_depends_on():
    pool = logits(200, 2, 2, scale=6)
    targets = pool[:, :1]
    useful, useless = acquisition.epig(pool, targets)
    assert useful > 20 * useless
    assert abs(np.diff(acquisition.bald(pool))[0]) < 0.2


def test_pools_need_not_divide_into_equal_parts():
    samples = logits(5, 130, 3)
    scores = acquisition.epig(samples, samples[:, :2])
    np.testing.assert_allclose(
        scores[100:], acquisition.epig(samples[:, 100:], samples[:, :2]), atol=1e-6
    )


def test_samples_of_shared_draws_are_what_is_scored(key):
    def apply(key, x):
        return x @ jax.random.normal(key, (2, 3))

    pool = jax.random.normal(key, (9, 2))
    samples = mc.samples(apply, key, pool, num_samples=32, draws="shared")
    stats = mc.predict(
        apply, key, pool, num_samples=32, draws="shared", reducers="classification"
    ).stats
    np.testing.assert_allclose(
        acquisition.bald(samples), stats["mutual_information"], atol=1e-6
    )
    chosen = acquisition.batch_bald(key, samples, num_points=3)
    assert len(set(chosen.indices.tolist())) == 3


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"must be \(samples, points, classes\)"):
        acquisition.bald(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="the same samples, got 3 and 4"):
        acquisition.epig(np.zeros((3, 2, 2)), np.zeros((4, 2, 2)))
    with pytest.raises(TypeError, match="logits must hold real numbers"):
        acquisition.margin(np.zeros((3, 2, 2), complex))


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


@pytest.mark.parametrize("chunk_size", [1, 3, 4, 7, 8, 1000])
def test_epig_is_the_same_in_chunks(chunk_size):
    rng = np.random.default_rng(0)
    pool, targets = rng.normal(size=(20, 6, 3)), 3 * rng.normal(size=(20, 4, 3))
    found = acquisition.epig(pool, targets, chunk_size=chunk_size)
    p, q = special.softmax(pool, -1), special.softmax(targets, -1)
    joint = np.einsum("spc,std->ptcd", p, q) / 20
    apart = special.entr(p.mean(0)).sum(-1)[:, None] + special.entr(q.mean(0)).sum(-1)
    expected = (apart - special.entr(joint).sum((-1, -2))).mean(1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_epig_of_many_classes_fits_into_memory():
    shape = lambda *axes: jax.ShapeDtypeStruct(axes, jnp.float32)
    program = jax.jit(acquisition.epig).lower(shape(4, 99, 500), shape(4, 70, 500))
    used = program.compile().memory_analysis().temp_size_in_bytes
    assert used < 2**29  # all pairs of 64 points at once are 4.5 GB


def test_epig_chunks_are_counts():
    logits = np.zeros((2, 2, 2), np.float32)
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        acquisition.epig(logits, logits, chunk_size=0)
    with pytest.raises(TypeError, match=r"chunk_size must be an integer, got 1\.5"):
        acquisition.epig(logits, logits, chunk_size=1.5)


def test_labelled_points_are_not_chosen():
    logits = 3 * jax.random.normal(jax.random.key(0), (50, 6, 3))
    order = acquisition.batch_bald(None, logits, num_points=6, num_configurations=729)
    taken = np.isin(np.arange(6), order.indices[:2])
    for array in (np.asarray, jnp.asarray, list):
        found = acquisition.batch_bald(
            None, logits, num_points=3, labelled=array(taken)
        )
        assert not set(found.indices.tolist()) & set(order.indices[:2].tolist())
    rest = acquisition.batch_bald(None, logits[:, ~taken], num_points=3)
    np.testing.assert_allclose(found.gains, rest.gains, rtol=1e-5)
    none_left = acquisition.batch_bald(
        None, logits, num_points=2, labelled=jnp.ones(6, bool)
    )
    assert (none_left.indices == -1).all() and jnp.isnan(none_left.gains).all()


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
