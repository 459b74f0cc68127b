"""Entropies of class probabilities: exact cases, identities, bias and errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxdrop import mc

WAYS = [{"chunks": 1}, {"chunks": 5, "junk": 2}, {"chunks": 3, "parts": 4}]


def finalized(reduce, reducer, logits, **way):
    return reduce(reducer, logits, errors=False, **way)[0]


def reference(logits):
    """All statistics by their definitions, in float64, with all samples in memory."""
    logs = special.log_softmax(logits.astype(np.float64), -1)
    p, count = np.exp(logs), len(logits)
    mean, log_mean = p.mean(0), special.logsumexp(logs, 0) - np.log(count)
    total = special.entr(mean).sum(-1)
    expected = special.entr(p).sum(-1).mean(0)
    ranked = np.sort(mean, -1)
    return {
        "mean": mean,
        "log_mean": log_mean,
        "var": p.var(0, ddof=1),
        "predictive_entropy": total,
        "expected_entropy": expected,
        "mutual_information": total - expected,
        "reverse_mutual_information": (mean * (log_mean - logs.mean(0))).sum(-1),
        "max_prob": ranked[..., -1],
        "variation_ratio": 1 - ranked[..., -1],
        "margin": ranked[..., -1] - ranked[..., -2],
    }


@pytest.mark.parametrize("way", WAYS)
def test_one_pass_gives_what_all_samples_would(way, reduce):
    logits = np.random.default_rng(0).normal(0, 2, (25, 6, 4)).astype(np.float32)
    stats = finalized(reduce, mc.categorical(), logits, **way)
    expected = reference(logits)
    assert set(stats) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(stats[name], value, atol=2e-6, err_msg=name)


def test_the_two_informations_are_the_pairwise_divergence(reduce):
    logits = np.random.default_rng(0).normal(0, 2, (7, 5, 3)).astype(np.float32)
    stats = finalized(reduce, mc.categorical(), logits)
    p = special.softmax(logits.astype(np.float64), -1)
    pairs = special.rel_entr(p[:, None], p[None]).sum(-1).mean((0, 1))
    both = stats["mutual_information"] + stats["reverse_mutual_information"]
    np.testing.assert_allclose(both, pairs, rtol=1e-5)


def test_entropies_obey_their_bounds_at_all_extremes(reduce):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (8, 10_000, 5)).astype(np.float32)
    logits[rng.random(logits.shape) < 0.1] = 80
    logits[rng.random(logits.shape) < 0.1] = -80
    logits[..., 1:][rng.random((8, 10_000, 4)) < 0.1] = -np.inf
    stats = finalized(reduce, mc.categorical(), logits, chunks=2)
    for name, value in stats.items():
        assert not np.isnan(value).any(), name
    total, expected = stats["predictive_entropy"], stats["expected_entropy"]
    assert (total <= np.log(5) + 1e-6).all() and (expected <= total + 1e-6).all()
    assert (expected >= 0).all()
    assert (stats["mutual_information"] >= 0).all()


def test_samples_that_agree_have_no_information_to_give(reduce):
    """Where rounding would leave a little less than none in some of many points."""
    one = np.random.default_rng(0).normal(0, 3, (10_000, 5)).astype(np.float32)
    stats = finalized(reduce, mc.categorical(), np.stack([one] * 7), chunks=7)
    information = stats["mutual_information"]
    assert (information >= 0).all() and (information < 1e-6).all()


def test_what_diverged_is_not_certain(reduce):
    logits = np.random.default_rng(0).normal(size=(8, 3, 4)).astype(np.float32)
    logits[5, 1, 0] = np.nan
    diverged = np.arange(3) == 1
    analytic = mc.categorical(debias="analytic")  # whose errors are those of the other
    for reducer, errors in (
        (mc.categorical(), True),
        (analytic, False),
        (mc.votes(), True),
    ):
        for found in reduce(reducer, logits, chunks=2, errors=errors):
            for name, value in (found or {}).items():
                if name != "mode":
                    axes = tuple(range(1, value.ndim))
                    np.testing.assert_array_equal(np.isnan(value).any(axes), diverged)


def test_two_samples_tell_no_error_of_the_mutual_information():
    logits = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
    reducer = mc.categorical()
    start = reducer.init(_shape(5, 4))

    @jax.jit
    def of_two_and_three(logits):
        two = reducer.update(start, logits[:2], jnp.ones(2, bool))
        three = reducer.update(two, logits[2:], jnp.ones(1, bool))
        states = jax.tree.map(lambda *x: jnp.stack(x), two, three)
        return jax.lax.map(reducer.stderr, states)

    errors = jax.device_get(of_two_and_three(logits))
    assert np.isnan(errors["mutual_information"][0]).all()
    assert not np.isnan(errors["predictive_entropy"][0]).any()
    assert (errors["mutual_information"][1] > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(1,) * 8, (3, 5), (7, 1)])
def test_merged_states_know_the_errors_of_one(sizes):
    logits = np.random.default_rng(0).normal(size=(8, 5, 4)).astype(np.float32)
    reducer = mc.categorical(num_groups=6)
    start = reducer.init(jax.ShapeDtypeStruct((5, 4), jnp.float32))
    fill = lambda rows: reducer.update(start, rows, jnp.ones(len(rows), bool))
    parts = np.split(logits, np.cumsum(sizes)[:-1])
    merged = functools.reduce(reducer.merge, map(fill, parts))
    expected = reducer.stderr(fill(logits))
    for name, error in reducer.stderr(merged).items():
        np.testing.assert_allclose(error, expected[name], rtol=1e-3, err_msg=name)


def test_agreement_ignorance_and_disagreement(reduce):
    sure = np.float32([[50.0, 0.0]] * 4)
    unsure = np.zeros((4, 2), np.float32)
    split = np.float32([[50.0, 0.0], [0.0, 50.0]] * 2)
    logits = np.stack([sure, unsure, split], axis=1)
    stats = finalized(reduce, mc.categorical(), logits)
    np.testing.assert_allclose(
        stats["mutual_information"], [0, 0, np.log(2)], atol=1e-6
    )
    np.testing.assert_allclose(
        stats["predictive_entropy"], [0, np.log(2), np.log(2)], atol=1e-6
    )


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_logits_far_apart_stay_finite(dtype, reduce):
    logits = jnp.array([[[1e4, 0.0, -1e4], [9.0, 10.0, 8.0]]] * 3, dtype)
    stats = finalized(reduce, mc.categorical(), logits)
    expected = reference(np.asarray(logits, np.float64))
    assert stats["log_mean"].dtype == jnp.float32
    for name in ("log_mean", "predictive_entropy", "expected_entropy"):
        np.testing.assert_allclose(stats[name], expected[name], rtol=1e-3, atol=1e-3)


def test_one_sample_has_no_information_and_no_variance(reduce):
    logits = np.random.default_rng(0).normal(size=(1, 6, 4)).astype(np.float32)
    reducer = mc.categorical()
    stats, errors = reduce(reducer, logits)
    np.testing.assert_allclose(stats["mutual_information"], 0, atol=1e-6)
    assert np.isnan(stats["var"]).all()
    for error in errors.values():
        assert np.isnan(error).all()


def test_debiasing_finds_the_information_that_few_samples_miss():
    alpha, classes, repeats = np.ones(5), 5, 4000
    p = np.random.default_rng(0).dirichlet(alpha, (10, repeats))
    digamma = special.digamma(alpha + 1) - special.digamma(alpha.sum() + 1)
    truth = np.log(classes) + (alpha / alpha.sum() * digamma).sum()
    logits = np.log(p).astype(np.float32)
    kinds = [mc.categorical(debias=debias) for debias in (None, "analytic")]

    @jax.jit
    def of_both(logits):
        start = kinds[0].init(_shape(*logits.shape[1:]))
        state = kinds[0].update(start, logits, jnp.ones(10, bool))
        return [kind.finalize(state) for kind in kinds]

    plain, debiased = jax.device_get(of_both(logits))
    ratio = lambda stats: float(stats["mutual_information"].mean()) / truth
    assert abs(ratio(debiased) - 1) < 0.02
    assert ratio(plain) < 0.92
    total, expected, information = (
        debiased[name]
        for name in ("predictive_entropy", "expected_entropy", "mutual_information")
    )
    np.testing.assert_allclose(total - expected, information, atol=1e-6)


@pytest.mark.parametrize(
    "count, chunks", [(200, 7), pytest.param(37, 19, marks=pytest.mark.slow)]
)
def test_standard_errors_are_the_spread_over_repetitions(count, chunks, reduce):
    rng = np.random.default_rng(0)
    logits = rng.normal([1.0, 0.0, -1.0], 1.5, (count, 400, 3)).astype(np.float32)
    reducer = mc.categorical()
    stats, errors = reduce(reducer, logits, chunks=chunks, parts=2)
    assert set(errors) == set(stats) - {"log_mean", "var", "reverse_mutual_information"}
    for name, error in errors.items():
        seen = np.std(stats[name], axis=0, ddof=1)
        ratio = np.sqrt((np.asarray(error) ** 2).mean(0)) / seen
        assert ((ratio > 0.9) & (ratio < 1.1)).all(), (name, ratio)


def test_errors_of_entropies_may_be_left_out(reduce):
    logits = np.zeros((4, 2, 3), np.float32)
    reducer = mc.categorical(num_groups=0)
    stats, errors = reduce(reducer, logits, chunks=2)
    assert set(errors) == {"mean", "expected_entropy"} <= set(stats)
    size = lambda r: sum(x.size for x in jax.tree.leaves(r.init(_shape(2, 3))))
    assert size(reducer) < size(mc.categorical()) / 4


def test_the_mean_has_gradients_where_classes_are_impossible(reduce):
    logits = jnp.array([[1.0, 2.0, -jnp.inf], [0.5, 0.0, -jnp.inf]])[:, None]
    reducer = mc.categorical()

    def information(logits):
        state = reducer.init(_shape(*logits.shape[1:]))
        state = reducer.update(state, logits, jnp.ones(2, bool))
        return reducer.finalize(state)["expected_entropy"].sum()

    assert jnp.isfinite(jax.jit(jax.grad(information))(logits)).all()


def test_variation_ratios_of_probabilities_and_of_votes(reduce):
    # Two members with p = (.7, .3) and (.6, .4): soft .35, and no vote differs.
    logits = np.log(np.float32([[[0.7, 0.3]], [[0.6, 0.4]]]))
    soft = finalized(reduce, mc.categorical(), logits)["variation_ratio"]
    hard = finalized(reduce, mc.votes(), logits)["variation_ratio"]
    np.testing.assert_allclose(soft, [0.35], rtol=1e-6)
    np.testing.assert_allclose(hard, [0], atol=1e-7)


@pytest.mark.parametrize("way", WAYS)
def test_votes_are_counted(way, reduce):
    ballots = np.random.default_rng(0).integers(0, 3, (25, 6))
    ballots[:, 0] = 1
    logits = np.eye(3, dtype=np.float32)[ballots]
    reducer = mc.votes()
    stats, errors = reduce(reducer, logits, **way)
    counts = np.stack([np.bincount(b, minlength=3) for b in ballots.T])
    np.testing.assert_allclose(stats["votes"], counts / 25, rtol=1e-6)
    np.testing.assert_array_equal(stats["mode"], counts.argmax(-1))
    np.testing.assert_allclose(
        stats["variation_ratio"], 1 - counts.max(-1) / 25, atol=1e-6
    )
    differ = [np.mean(b[:, None] != b[None]) * 25 / 24 for b in ballots.T]
    np.testing.assert_allclose(stats["disagreement"], differ, atol=1e-6)
    share = counts[2, 1] / 25
    assert errors["votes"][2, 1] == pytest.approx(np.sqrt(share * (1 - share) / 24))
    assert errors["variation_ratio"][0] == 0


def test_votes_of_a_missing_sample_have_no_mode(reduce):
    logits = np.float32([[[0, 1], [0, 1]], [[0, np.nan], [0, 1]]])
    stats = finalized(reduce, mc.votes(), logits)
    assert stats["mode"].tolist() == [-1, 1]
    np.testing.assert_array_equal(np.isnan(stats["variation_ratio"]), [True, False])


def test_a_tie_goes_to_the_lowest_class(reduce):
    logits = np.float32([[[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]])
    stats = finalized(reduce, mc.votes(), logits)
    assert stats["mode"] == 0 and stats["variation_ratio"] == 0.5
    assert np.isnan(finalized(reduce, mc.votes(), logits[:1])["disagreement"])


def test_logits_need_classes(reduce):
    for reducer in (mc.categorical(), mc.votes()):
        for shape in ((), (5,), (5, 1), (2, 5, 1), (5, 0)):  # one logit, or none
            with pytest.raises(
                ValueError, match=r"last axis of classes(.|\n)*binary_logits"
            ):
                reduce(reducer, np.zeros((4, *shape), np.float32))
    with pytest.raises(ValueError, match=r"debias must be one of \['analytic'\]"):
        mc.categorical(debias="jackknife")


def _shape(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)
