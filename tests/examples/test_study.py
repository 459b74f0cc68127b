"""The statistics of the examples: verdicts that chance does not give, and words."""

import numpy as np
import pytest
from scipy import stats

from jaxdrop import metrics
from study import gains, words
from study.calibration import resampled_ece
from study.gains import Gain

TABLES = 200


def wrong(rng, shift=(0.0,), *, seeds=5, examples=1000, spread=0.0):
    """0 and 1 of methods that share how hard their examples are.

    Args:
      rng: draws the table.
      shift: what each method adds to the chance of an error.
      seeds: how many networks each method has.
      examples: how many examples there are.
      spread: the standard deviation of the chance between networks.
    """
    hard = 0.3 * rng.random(examples) ** 4
    tables = {}
    for number, of_method in enumerate(shift):
        own = 0.03 * rng.random(examples)  # each method finds other examples hard
        network = spread * rng.standard_normal((seeds, 1))
        chance = np.clip(hard + own + 0.02 + of_method + network, 0, 1)
        name = "none" if number == 0 else f"method {number}"
        tables[name] = (rng.random((seeds, examples)) < chance).astype(float)
    return tables


@pytest.mark.parametrize(
    ("seeds", "spread", "number", "examples"),
    [
        (3, 0.0, 1, 1000),
        (3, 0.02, 9, 200),
        (5, 0.0, 1, 1000),
        (5, 0.005, 9, 200),
        (5, 0.02, 1, 1000),
        (10, 0.01, 1, 300),
    ],
)
def test_equal_methods_are_not_distinguished(seeds, spread, number, examples):
    """None of one, and none of nine: the correction is for all together."""
    rng = np.random.default_rng(seeds)
    size = {"seeds": seeds, "examples": examples}
    mistakes = 0
    for _ in range(TABLES):
        tables = wrong(rng, [0.0] * (1 + number), spread=spread, **size)
        found = gains.gains(tables)
        mistakes += any(g.verdict != gains.NOT_DISTINGUISHABLE for g in found)
    assert mistakes <= stats.binom.isf(0.001, TABLES, 0.05)


def test_one_method_under_two_names_is_never_distinguished():
    rng = np.random.default_rng(0)
    for _ in range(TABLES):
        table = wrong(rng)["none"]
        (gain,) = gains.gains({"a": table, "b": table})
        assert gain.verdict == gains.NOT_DISTINGUISHABLE and gain.estimate == 0


def crossed(rng, gain, *, seeds, of_seeds, of_examples, examples=500):
    """A baseline and a method whose difference has known standard deviations."""
    noise = rng.standard_normal((seeds, examples))
    noise += of_examples * rng.standard_normal(examples)
    noise += of_seeds * rng.standard_normal((seeds, 1))
    error = np.sqrt(
        1 / (seeds * examples) + of_examples**2 / examples + of_seeds**2 / seeds
    )
    return {"none": np.zeros_like(noise), "method": noise - gain * error}


@pytest.mark.parametrize("seeds", [5, 10])
@pytest.mark.parametrize(
    ("of_seeds", "of_examples"), [(0.0, 0.0), (0.0, 0.5), (0.1, 0.5), (0.2, 0.0)]
)
def test_a_gain_of_several_standard_errors_is_found(seeds, of_seeds, of_examples):
    """Three of them in most tables, with the few seeds that there are; six in all."""
    rng = np.random.default_rng(1)
    for gain, least in ((3, 0.45 if seeds == 5 else 0.65), (6, 0.95)):
        found = 0
        for _ in range(TABLES):
            table = crossed(
                rng, gain, seeds=seeds, of_seeds=of_seeds, of_examples=of_examples
            )
            found += gains.gains(table)[0].verdict == gains.BETTER
        assert found >= least * TABLES, (gain, found)


@pytest.mark.parametrize(("of_seeds", "of_examples"), [(0.0, 0.5), (0.1, 0.5)])
def test_intervals_hold_the_true_gain(of_seeds, of_examples):
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(TABLES):
        shape = {"seeds": 5, "of_seeds": of_seeds, "of_examples": of_examples}
        (gain,) = gains.gains(crossed(rng, 0.0, **shape))
        held += gain.low <= 0 <= gain.high
    assert held >= stats.binom.ppf(0.001, TABLES, 0.95)


def test_the_variance_is_that_of_resampling_seeds_and_examples_together():
    """Without the interaction, which the bootstrap counts three times."""
    rng = np.random.default_rng(3)
    seeds, examples = 20, 300
    both = rng.standard_normal((seeds, 1)) + 3 * rng.standard_normal(examples)
    table = {"none": np.zeros((seeds, examples)), "method": both}
    (gain,) = gains.gains(table)
    resampled = [
        -both[rng.integers(seeds, size=seeds)][
            :, rng.integers(examples, size=examples)
        ].mean()
        for _ in range(4000)
    ]
    half = (gain.high - gain.low) / 2
    assert half == pytest.approx(1.98 * np.std(resampled), rel=0.07)


def test_one_seed_value_without_examples_is_a_paired_t_test():
    rng = np.random.default_rng(4)
    first, second = rng.random(8), rng.random(8) + 0.3
    (gain,) = gains.gains({"none": first, "method": second})
    expected = stats.ttest_rel(first, second)
    low, high = expected.confidence_interval(0.95)
    assert (gain.low, gain.high) == pytest.approx((low, high))
    assert gain.p == pytest.approx(expected.pvalue)


def test_intervals_exclude_zero_exactly_with_a_verdict():
    rng = np.random.default_rng(5)
    shift = (0.0, -0.03, -0.02, -0.01, 0.01, 0.02, 0.04, 0.0)
    verdicts = set()
    for _ in range(10):
        for gain in gains.gains(wrong(rng, shift)):
            outside = gain.low > 0 or gain.high < 0
            assert (
                outside
                == (gain.verdict != gains.NOT_DISTINGUISHABLE)
                == (gain.p < 0.05)
            )
            verdicts.add(gain.verdict)
    assert verdicts == {gains.BETTER, gains.WORSE, gains.NOT_DISTINGUISHABLE}


def test_holm_multiplies_by_the_number_that_is_left():
    p = gains.holm([0.01, 0.04, np.nan, 0.03, 0.5])
    np.testing.assert_allclose(p, [0.04, 0.09, np.nan, 0.09, 0.5])
    assert gains.holm([]).shape == (0,)


def test_gains_of_several_scores_are_tested_together():
    kept = (("a", 1.0, 0.01), ("b", -1.0, 0.02), ("c", 1.0, 0.04), ("d", 1.0, np.nan))
    found = [
        Gain(name, mean, mean - 1, mean + 1, p, gains.TOO_FEW) for name, mean, p in kept
    ]
    a, b, c, d = gains.together(found)
    assert [g.p for g in (a, b, c)] == pytest.approx([0.03, 0.04, 0.04])
    assert (a.verdict, b.verdict, c.verdict) == (
        gains.BETTER,
        gains.WORSE,
        gains.BETTER,
    )
    assert (a.low, a.high, d.verdict) == (0, 2, gains.TOO_FEW)
    again = gains.together([*found, found[2], found[2]])
    assert [g.verdict for g in again[:3]] == [gains.NOT_DISTINGUISHABLE] * 3
    assert gains.together([]) == []


@pytest.mark.parametrize("seeds", [1, 2])
def test_there_is_no_verdict_on_two_seeds_or_fewer(seeds):
    tables = wrong(np.random.default_rng(6), (0.0, 0.5), seeds=seeds)
    (gain,) = gains.gains(tables)
    assert gain.verdict == gains.TOO_FEW and np.isnan([gain.low, gain.p]).all()
    assert gain.estimate == pytest.approx(-0.5, abs=0.05)
    assert gains.ties(tables) == ("none", "method 1")


def test_a_method_that_diverged_is_undefined_and_the_last():
    tables = wrong(np.random.default_rng(7), (0.0, 0.0, 0.2))
    tables["method 1"] = np.full_like(tables["none"], np.nan)
    found = gains.sort(gains.gains(tables))
    assert [gain.verdict for gain in found] == [gains.WORSE, gains.UNDEFINED]
    assert gains.ties(tables) == ("none",)


def test_equal_methods_are_ties_and_a_worse_one_is_not():
    rng = np.random.default_rng(8)
    mistakes = 0
    for _ in range(TABLES):
        tables = wrong(rng, (0.0, 0.0, 0.0, 0.2), examples=300)
        found = gains.ties(tables)
        assert "method 3" not in found
        mistakes += len(found) < 3
    assert mistakes <= stats.binom.isf(0.001, TABLES, 0.05)


def test_a_baseline_may_be_any_method_and_must_be_one():
    tables = wrong(np.random.default_rng(9), (0.0, 0.1))
    (gain,) = gains.gains(tables, baseline="method 1")
    assert gain.name == "none" and gain.verdict == gains.BETTER
    with pytest.raises(ValueError, match="one of none, method 1, got 'nothing'"):
        gains.gains(tables, baseline="nothing")


def test_scores_of_other_examples_are_refused():
    with pytest.raises(
        ValueError, match=r"none has the shape \(5, 3\), b has \(5, 4\)"
    ):
        gains.gains({"none": np.zeros((5, 3)), "b": np.zeros((5, 4))})
    with pytest.raises(ValueError, match=r"\(seeds, examples\) or \(seeds,\)"):
        gains.gains({"none": np.zeros((5, 3, 1)), "b": np.zeros((5, 3, 1))})


def predictions(rng, sharpness, seeds=5, examples=2000):
    """Confidences and whether they were right; calibrated at a sharpness of 1."""
    truth = rng.uniform(0.35, 1, (seeds, examples))
    right = rng.random((seeds, examples)) < truth
    return (truth**sharpness).astype(np.float32), right


def test_the_calibration_error_is_that_of_the_metric():
    confidence, right = predictions(np.random.default_rng(10), 2.0, seeds=3)
    confidence[0, :6] = np.arange(10, 16, dtype=np.float32) / 15  # on the edges
    scores = resampled_ece(confidence, right)
    for row, correct, value in zip(confidence, right, scores.values, strict=True):
        probs = np.stack([row, 1 - row], -1)  # class 0 is predicted where row > 0.5
        sure = row > 0.5
        labels = np.where(correct, 0, 1)
        expected = metrics.expected_calibration_error(probs[sure], labels[sure])
        alone = resampled_ece(row[None, sure], correct[None, sure])
        assert alone.values[0] == pytest.approx(float(expected), abs=1e-6)
        assert 0 < value < 1
    assert scores.replicates.std() > 0


def test_calibration_is_compared_as_means_are():
    rng = np.random.default_rng(11)
    mistakes = 0
    for _ in range(30):
        calibrated, other, sharp = (
            resampled_ece(*predictions(rng, s, examples=400), resamples=60)
            for s in (1.0, 1.0, 2.0)
        )
        table = {"none": calibrated, "same": other, "sharp": sharp}
        same, worse = gains.gains(table)
        mistakes += same.verdict != gains.NOT_DISTINGUISHABLE
        assert worse.verdict == gains.WORSE
    assert mistakes <= stats.binom.isf(0.001, 30, 0.05)


def test_replicates_of_a_mean_give_the_interval_of_the_mean():
    rng = np.random.default_rng(12)
    tables = wrong(rng, (0.0, -0.01), spread=0.01)
    counts = rng.multinomial(1000, [1e-3] * 1000, 4000)
    as_replicates = {
        name: gains.Resampled(table.mean(1), table @ counts.T / 1000)
        for name, table in tables.items()
    }
    (exact,), (resampled,) = gains.gains(tables), gains.gains(as_replicates)
    assert resampled.estimate == pytest.approx(exact.estimate)
    assert resampled.high - resampled.low == pytest.approx(
        exact.high - exact.low, rel=0.1
    )


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([0.07, 0.05, 0.09], 2),
        ([0.23], 2),
        ([0.5], 1),
        ([0.0012], 4),
        ([12.0], 0),
        ([0.1, np.nan, 0.0], 2),
        ([], 4),
    ],
)
def test_a_column_has_the_decimals_that_its_errors_allow(errors, expected):
    assert words.decimals(errors) == expected


def test_columns_have_one_number_of_decimals():
    cells = words.with_errors([[0.02, 0.03], None, [0.05, 0.0507]], scale=100)
    assert cells == ["2.50±0.50", "–", "5.04±0.04"]
    assert words.with_errors([[0.5], [0.25]]) == ["0.50", "0.25"]
    assert words.number(-0.001, 2) == "0.00" and words.number(-0.25, 1) == "−0.2"


def gain(name, estimate, half, verdict):
    return Gain(name, estimate, estimate - half, estimate + half, 0.5, verdict)


SUBJECT = words.Subject(where="On digits")


def test_a_conclusion_names_the_best_its_price_and_the_others():
    found = [
        gain("dropout", 0.004, 0.006, gains.NOT_DISTINGUISHABLE),
        gain("label smoothing", 0.0068, 0.005, gains.BETTER),
        gain("mixup", 0.005, 0.004, gains.BETTER),
        gain("L2", -0.01, 0.004, gains.WORSE),
    ]
    price = [gain("label smoothing", -0.03, 0.01, gains.WORSE)]
    assert words.conclusion(
        found,
        SUBJECT,
        best=("label smoothing", "mixup", "none"),
        prices={"calibration": price, "NLL": []},
    ) == (
        "On digits, label smoothing lowers the error most (0.68 points, 95 % interval "
        "0.18 to 1.18), at the price of calibration. Mixup lowers it as well; the "
        "lead of label smoothing over mixup is not significant; dropout cannot be "
        "distinguished from none; L2 raises it."
    )


def test_a_conclusion_says_when_nothing_is_significant():
    chance = gains.NOT_DISTINGUISHABLE
    found = [gain(name, 0.003, 0.01, chance) for name in ("a", "b")]
    assert words.conclusion(found, SUBJECT) == (
        "On digits, none of the two methods lowers the error significantly: the "
        "largest gain over none is that of a (0.3 points, 95 % interval −0.7 to 1.3)."
    )
    assert "a does not lower the error" in words.conclusion(found[:1], SUBJECT)
    few = [gain("a", 0.1, np.nan, gains.TOO_FEW)]
    assert "too few" in words.conclusion(few, SUBJECT)


def test_a_conclusion_counts_many_names():
    found = [gain("best", 0.02, 0.01, gains.BETTER)]
    found += [gain(name, 0.001, 0.01, gains.NOT_DISTINGUISHABLE) for name in "abcdefgh"]
    text = words.conclusion(found, SUBJECT)
    assert text.endswith("The others cannot be distinguished from none.")
    found.append(gain("bad", -0.02, 0.01, gains.WORSE))
    text = words.conclusion(found, SUBJECT, best=("best", *"abcdef"))
    assert "The lead of best over six others is not significant; eight others" in text
