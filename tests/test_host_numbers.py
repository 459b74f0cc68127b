"""Host numbers of every kind into public functions: the right value, or a named error.

To cover a function, add a row: a function of one host array, the argument's name, and
what it gives for two numbers in float64, or None if the numbers must be refused.
"""

from decimal import Decimal
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import acquisition, diagnostics, mc, metrics, penalties, schedules
from jaxdrop.early_stopping import EarlyStopping

LABELS = np.array([0, 1])
KINDS = {  # a lower and a higher number that float32 cannot tell apart, or only wraps
    "int64": np.array([3_000_000_000, 3_000_000_001]),
    "uint64": np.array([2**64 - 9, 2**64 - 1], np.uint64),
    "float64": np.array([1.0, 1.0 + 1e-9]),
    "large float64": np.array([1e9, 1e9 + 0.25]),
    "Python integers": [2**31, 2**31 + 1],
    "huge Python integers": [2**70, 2**70 + 5],
    "Decimal": [Decimal("0.3"), Decimal("0.3") + Decimal("1e-12")],
    "Fraction": [Fraction(1, 3), Fraction(1, 3) + Fraction(1, 10**12)],
}


def gap(values):
    """The difference of the two numbers, exact, as a float."""
    low, high = (Fraction(v.item() if hasattr(v, "item") else v) for v in values)
    return float(high - low)


def shifted(values):
    """The same numbers, in a list that is their own."""
    return [values[0], values[0]]


ROWS = {
    "auroc scores": (lambda v: metrics.auroc(v, LABELS), lambda v: 1),
    "average_precision scores": (
        lambda v: metrics.average_precision(v, LABELS),
        lambda v: 1,
    ),
    "fpr_at_tpr scores": (lambda v: metrics.fpr_at_tpr(v, LABELS), lambda v: 0),
    "aurc confidence": (lambda v: metrics.aurc(v, 1 - LABELS), lambda v: 0.25),
    "risk_coverage confidence": (
        lambda v: metrics.risk_coverage(v, 1 - LABELS).risk[0],
        lambda v: 0,
    ),
    "accuracy_rejection confidence": (
        lambda v: metrics.accuracy_rejection(v, LABELS).accuracy[1],
        lambda v: 1,
    ),
    "interval_coverage targets": (
        lambda v: metrics.interval_coverage(shifted(v), shifted(v), v),
        lambda v: 0.5,
    ),
    "interval_width upper": (lambda v: metrics.interval_width(shifted(v), v), "half"),
    "winkler_score targets": (
        lambda v: metrics.winkler_score(shifted(v), shifted(v), v, alpha=0.5),
        lambda v: 2 * gap(v),
    ),
    "pinball_loss targets": (
        lambda v: metrics.pinball_loss(shifted(v), v, level=0.5),
        lambda v: gap(v) / 4,
    ),
    "crps_gaussian targets": (
        lambda v: metrics.crps_gaussian(shifted(v), 0.0, v),
        "half",
    ),
    "crps_samples targets": (
        lambda v: metrics.crps_samples([shifted(v)] * 2, v),
        "half",
    ),
    "regression_calibration targets": (
        lambda v: metrics.regression_calibration(shifted(v), 1.0, v, num_bins=1).uce,
        lambda v: abs(gap(v) ** 2 / 2 - 1),
    ),
    "sharpness std": (metrics.sharpness, lambda v: float(v[1])),
    "negative_log_likelihood logits": (
        lambda v: metrics.negative_log_likelihood([v, v], LABELS),
        lambda v: np.log1p(np.exp(-gap(v))) + gap(v) / 2,
    ),
    "weights": (
        lambda v: metrics.sharpness(np.array([3.0, 3.0]), weights=v),
        lambda v: 3,
    ),
    "bald logits": (lambda v: acquisition.bald([[v], [v]]), lambda v: 0),
    "max_entropy logits": (
        lambda v: acquisition.max_entropy([[v]])[0],
        lambda v: np.log1p(np.exp(-gap(v))) + gap(v) / (1 + np.exp(gap(v))),
    ),
    "late step": (
        lambda v: schedules.late(0.5, cutoff=10**6)(np.asarray(v)),
        lambda v: 0.5 * (float(v[0]) > 1e6),
    ),
    "early cutoff": (
        lambda v: schedules.early(0.5, cutoff=10**6)(np.asarray(v)[0]),
        lambda v: 0.5 * (1 - min(float(v[0]) / (10**6 - 1), 1)),
    ),
    "EarlyStopping metric": (
        lambda v: EarlyStopping(patience=1).update(v[0]).update(2e30).best,
        lambda v: float(v[0]),
    ),
    "dead_units threshold": (
        lambda v: diagnostics.dead_units(jnp.ones((1, 1)), threshold=v[1]),
        lambda v: float(v[1]) >= 1,
    ),
    "activation_sparsity threshold": (
        lambda v: diagnostics.activation_sparsity(jnp.ones((1, 1)), threshold=v[1]),
        lambda v: float(v[1]) >= 1,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", ROWS)
def test_the_value_is_right_or_the_argument_is_named(row, kind):
    function, expected = ROWS[row]
    values = KINDS[kind]
    want = gap(values) / 2 if expected == "half" else expected(values)
    try:
        found = function(values)
    except (TypeError, ValueError) as error:
        assert kind in ("Decimal", "Fraction"), error
        assert row.rsplit(" ", 1)[-1] in str(error)
        return
    np.testing.assert_allclose(np.asarray(found), want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint64, np.int64])
@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_labels_of_any_dtype_name_classes(dtype, array):
    largest = min(int(np.iinfo(dtype).max), 50_256)
    labels = np.array([0, 1, largest], dtype)
    classes = max(largest + 1, 256)
    logits = np.zeros((3, classes), np.float32)
    logits[range(3), labels.astype(int)] = 9
    if array is jnp.asarray and np.dtype(dtype).itemsize == 8:
        labels = labels.astype(np.int32)
    found = metrics.negative_log_likelihood(logits, array(labels))
    assert found == pytest.approx(np.log1p((classes - 1) * np.exp(-9)), rel=1e-4)


@pytest.mark.parametrize("label", [2**32, 2**63, -(2**40), 2**80])
def test_labels_that_would_wrap_name_no_class(label):
    labels = np.array([label])
    assert np.isnan(metrics.negative_log_likelihood(np.zeros((1, 3)), labels))
    assert np.isnan(metrics.brier_score(np.full((1, 2), 0.5), labels))
    assert np.isnan(metrics.auroc(np.zeros(2), [label, 0]))


KEY = jax.random.key(0)
noisy = lambda key, x: x + jax.random.normal(key, x.shape)
STRENGTHS = {
    "tol": lambda v: mc.predict(noisy, KEY, jnp.ones(2), num_samples=2, tol=v).count,
    "noise": lambda v: (
        mc.predict(
            noisy,
            KEY,
            jnp.ones(2),
            num_samples=2,
            reducers=mc.gaussian_mixture(noise=v),
        ).count
    ),
    "threshold": lambda v: diagnostics.dead_units(jnp.ones((2, 2)), threshold=v),
    "sharpness": lambda v: schedules.curriculum(0.5, num_steps=9, sharpness=v)(0),
    "min_delta": lambda v: EarlyStopping(patience=1, min_delta=v).update(1.0).best,
}


@pytest.mark.parametrize("name", STRENGTHS)
def test_strengths_are_numbers_of_any_kind_within_range(name):
    for number in (Decimal("0.5"), Fraction(1, 2), np.int64(2**40), 2**70):
        assert np.isfinite(STRENGTHS[name](number)).all()
    for number in (10**400, 1e300, -1):
        with pytest.raises(ValueError, match=name):
            STRENGTHS[name](number)


COUNTS = {
    "num_samples": lambda n: mc.predict(noisy, KEY, jnp.ones(2), num_samples=n),
    "ddof": lambda n: mc.moments(ddof=n),
    "num_bins": lambda n: metrics.brier_decomposition(
        jnp.full((1, 2), 0.5), jnp.zeros(1, int), num_bins=n
    ),
    "capacity": lambda n: mc.quantiles(capacity=n),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_that_no_program_can_hold_are_named(name):
    with pytest.raises(ValueError, match=f"{name} must be at most 2147483647"):
        COUNTS[name](2**31)


@pytest.mark.parametrize("target", [2**40, np.int64(2**32), 2.0**32])
def test_targets_of_a_mixture_do_not_wrap(target):
    model = lambda key, x: (0 * noisy(key, x), jnp.ones_like(x))
    reducer = mc.gaussian_mixture(targets=[target])
    result = mc.predict(model, KEY, jnp.ones(1), num_samples=2, reducers=reducer)
    expected = -0.5 * float(target) ** 2
    np.testing.assert_allclose(result.stats["log_density"], [expected], rtol=1e-6)


@pytest.mark.parametrize(
    "target",
    [np.float64(1e9 + 0.25), Decimal("1000000000.25"), Fraction(4000000001, 4)],
)
def test_targets_of_a_mixture_keep_the_digits_of_the_host(target):
    model = lambda key, x: (1e9 + 0 * noisy(key, x), jnp.full_like(x, 0.25))
    reducer = mc.gaussian_mixture(targets=[target])
    result = mc.predict(model, KEY, jnp.ones(1), num_samples=2, reducers=reducer)
    expected = -0.5 * 0.25**2 / 0.25 - 0.5 * np.log(2 * np.pi * 0.25)
    np.testing.assert_allclose(result.stats["log_density"], [expected], rtol=1e-6)


@pytest.mark.parametrize(
    ("weights", "reference", "expected"),
    [
        ([1.0, 2.0], [1.0 + 1e-9, 2.0], 1e-18),
        ([1e9], [1e9 + 0.25], 0.0625),
        ([1e9], np.array([10**9 + 3]), 9),
        ([1.0], np.array([2**40]), (2.0**40 - 1) ** 2),
        ([1 + 1j], [1 + 3j], 4),
    ],
)
def test_weights_of_the_host_are_compared_in_their_own_precision(
    weights, reference, expected
):
    trees = {"w": np.array(weights)}, {"w": np.array(reference)}
    found = penalties.toward_reference(*trees)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("entry", [Decimal("1e-50"), Fraction(1, 10**50), 10**400])
def test_activities_that_no_float_holds_are_not_zero(entry):
    activities = np.array([[entry, 0], [0, 0]], object)
    assert diagnostics.activation_sparsity(activities) == 0.75
    assert diagnostics.dead_units(activities).tolist() == [False, True]
    missing = np.array([[entry, 0], [Decimal("NaN"), 0]], object)
    assert np.isnan(diagnostics.activation_sparsity(missing))


def test_the_sparsity_of_nan_is_nan():
    for array in (np.array([[np.nan, 1.0], [0.0, 1.0]]), jnp.array([[jnp.nan, 0.0]])):
        assert np.isnan(diagnostics.activation_sparsity(array))
        by_unit = diagnostics.activation_sparsity(array, axis=-1)
        np.testing.assert_array_equal(np.isnan(by_unit), [True, False])
