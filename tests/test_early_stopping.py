"""Early stopping: what a table of metrics leads to, under every transformation."""

import dataclasses
import json
import pickle
from decimal import Decimal
from fractions import Fraction

import chex
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
import pytest

from jaxdrop.early_stopping import EarlyStopping

NAN, INF = float("nan"), float("inf")


def run(stopper, metrics):
    """Updates until it says stop, as a training loop does."""
    for metric in metrics:
        stopper = stopper.update(metric)
        if stopper.should_stop:
            break
    return stopper


# Settings, metrics, updates until the stop (None: none), best metric, its update.
TABLE = [
    ({}, [3.0, 2.0, 2.0, 1.0, 1.5, 0.0], 3, 2.0, 1),
    ({"patience": 2}, [3.0, 2.0, 2.0, 1.0, 1.5, 0.0], None, 0.0, 5),
    ({"patience": 2}, [3.0, 2.0, 2.0, 2.0, 0.0], 4, 2.0, 1),
    ({"patience": 3}, [1.0, 2.0, 2.0, 0.5, 2.0, 2.0, 2.0], 7, 0.5, 3),
    ({"mode": "max"}, [0.5, 0.625, 0.625], 3, 0.625, 1),
    ({"mode": "max", "patience": 2}, [0.5, 0.25, 0.75, 0.625], None, 0.75, 2),
    ({"mode": "max"}, [-5.0, -4.0, -6.0], 3, -4.0, 1),
    # An improvement must exceed min_delta, and is measured from the best.
    ({"min_delta": 0.5}, [3.0, 2.5, 1.0], 2, 3.0, 0),
    ({"min_delta": 0.5}, [3.0, 2.0, 1.75], 3, 2.0, 1),
    ({"min_delta": 0.5, "patience": 2}, [3.0, 2.75, 2.25], None, 2.25, 2),
    ({"min_delta": 0.5, "mode": "max"}, [1.0, 2.0, 2.5], 3, 2.0, 1),
    ({"min_delta": 0.25, "relative": True}, [4.0, 3.0, 2.0], 2, 4.0, 0),
    ({"min_delta": 0.25, "relative": True}, [4.0, 2.0, 1.0, 0.875], 4, 1.0, 2),
    ({"min_delta": 0.5, "relative": True}, [-4.0, -5.0, -7.0], 2, -4.0, 0),
    ({"min_delta": 0.5, "relative": True}, [-4.0, -7.0, -8.0], 3, -7.0, 1),
    ({"min_delta": 0.5, "relative": True, "mode": "max"}, [2.0, 4.0, 5.0], 3, 4.0, 1),
    ({"min_delta": 0.5, "relative": True}, [0.0, -1.0, -1.25], 3, -1.0, 1),
    # NaN at any step never improves and never becomes the best.
    ({"patience": 2}, [NAN, 2.0, 1.0], None, 1.0, 2),
    ({"patience": 2}, [NAN, NAN, 1.0], 2, INF, -1),
    ({"patience": 2}, [2.0, NAN, 1.0, NAN, NAN], 5, 1.0, 2),
    ({"mode": "max"}, [1.0, NAN], 2, 1.0, 0),
    ({"patience": 2, "min_delta": 0.1, "relative": True}, [NAN, 2.0], None, 2.0, 1),
    # Infinities.
    ({"patience": 2}, [INF, 5.0, 4.0], None, 4.0, 2),
    ({}, [INF, 5.0], 1, INF, -1),
    ({"min_delta": 0.0, "relative": True}, [1.0, -INF, 0.0], 3, -INF, 1),
    # Warm-up: not looked at.
    ({"warmup": 2}, [0.0, 9.0, 5.0, 4.0, 4.0], 5, 4.0, 3),
    ({"warmup": 2}, [1.0, 1.0, 1.0], None, 1.0, 2),
    ({"warmup": 9}, [1.0, 2.0, 3.0], None, INF, -1),
    # A metric that improves for ever.
    ({}, [3.0, 2.0, 1.0], None, 1.0, 2),
]
for_the_table = pytest.mark.parametrize("settings, metrics, stop, best, at", TABLE)


@for_the_table
def test_the_table_holds_in_a_loop(settings, metrics, stop, best, at):
    stopper = run(EarlyStopping(**{"patience": 1, **settings}), metrics)
    assert bool(stopper.should_stop) is (stop is not None)
    assert int(stopper.step) == (len(metrics) if stop is None else stop)
    assert float(stopper.best) == best
    assert int(stopper.best_step) == at


@for_the_table
def test_a_scan_that_runs_on_ends_where_a_loop_stops(settings, metrics, stop, best, at):
    """And gives parameters with the best metric, and never others afterwards."""
    del stop
    start = EarlyStopping(
        **{"patience": 1, **settings}, best_params={"w": jnp.full(2, -1.0)}
    )

    def body(stopper, inputs):
        metric, index = inputs
        return stopper.update(metric, {"w": jnp.full(2, index)}), stopper.improved

    inputs = (jnp.array(metrics), jnp.arange(len(metrics), dtype=jnp.float32))
    end, _ = jax.jit(lambda s: jax.lax.scan(body, s, inputs))(start)
    loop = run(EarlyStopping(**{"patience": 1, **settings}), metrics)
    for name in ("best", "best_step", "step", "num_bad", "should_stop"):
        np.testing.assert_array_equal(getattr(end, name), getattr(loop, name))
    np.testing.assert_array_equal(end.best_params["w"], [at, at])
    assert float(end.best) == best


def test_updates_return_new_values_of_one_structure():
    before = EarlyStopping(patience=3, best_params={"w": jnp.zeros(2)})
    after = before.update(1.0, {"w": jnp.ones(2)})
    assert float(before.best) == INF and int(before.step) == 0
    assert bool(after.improved) and float(after.best) == 1.0
    chex.assert_trees_all_equal_structs(before, after)
    chex.assert_trees_all_equal_shapes_and_dtypes(before, after)
    with pytest.raises(AttributeError):
        before.best = 3.0


def test_one_compilation_serves_all_updates():
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(stopper, metric, params):
        return stopper.update(metric, params)

    stopper = EarlyStopping(patience=2, best_params={"w": jnp.zeros(2)})
    for metric in np.float32([3.0, NAN, 1.0, 2.0, 2.0, 0.0]):
        stopper = step(stopper, metric, {"w": jnp.full(2, metric)})
    assert bool(stopper.should_stop) and float(stopper.best) == 1.0
    np.testing.assert_array_equal(stopper.best_params["w"], [1.0, 1.0])


def test_a_while_loop_stops_itself():
    losses = jnp.array([5.0, 4.0, 3.0, 3.5, 3.5, 1.0])
    stopper = jax.lax.while_loop(
        lambda s: ~s.should_stop,
        lambda s: s.update(losses[s.step]),
        EarlyStopping(patience=2),
    )
    assert int(stopper.step) == 5 and float(stopper.best) == 3.0


def test_many_runs_stop_each_for_itself():
    metrics = jnp.array([[3.0, 2.0, 1.0], [1.0, 2.0, 0.0], [NAN, NAN, 0.0]])

    def scanned(row):
        start = EarlyStopping(patience=1)
        return jax.lax.scan(lambda s, m: (s.update(m), None), start, row)[0]

    stoppers = jax.vmap(scanned)(metrics)
    np.testing.assert_array_equal(stoppers.should_stop, [False, True, True])
    np.testing.assert_array_equal(stoppers.step, [3, 2, 1])
    np.testing.assert_array_equal(stoppers.best, [1.0, 1.0, INF])


METRICS = [5.0, NAN, 4.0, 4.5, 3.0, 3.5, 3.5, 3.5, 1.0]


def through_pickle(stopper, path):
    del path
    return pickle.loads(pickle.dumps(stopper))


def through_leaves(stopper, path):
    """As with a checkpoint of plain arrays: a new value takes over the leaves."""
    np.savez(path / "leaves.npz", *jax.tree.leaves(stopper))
    fresh = EarlyStopping(patience=3, best_params={"w": jnp.zeros(2)})
    with np.load(path / "leaves.npz") as saved:
        return jax.tree.unflatten(jax.tree.structure(fresh), list(saved.values()))


def through_orbax(stopper, path):
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(path / "stopper", stopper)
        checkpointer.wait_until_finished()
        fresh = EarlyStopping(patience=3, best_params={"w": jnp.zeros(2)})
        return checkpointer.restore(path / "stopper", fresh)


def through_json(stopper, path):
    """A checkpoint of Python numbers and lists."""
    del path
    leaves, tree = jax.tree.flatten(stopper)
    saved = json.loads(json.dumps([leaf.tolist() for leaf in leaves]))
    params = jnp.array(saved.pop(0))
    return jax.tree.unflatten(tree, [params, *saved])


STORES = [through_pickle, through_leaves, through_orbax, through_json]


@pytest.mark.parametrize("store", STORES)
def test_a_resumed_run_ends_like_one_that_was_never_cut(store, tmp_path):
    whole = cut = EarlyStopping(patience=3, best_params={"w": jnp.zeros(2)})
    for index, metric in enumerate(METRICS):
        params = {"w": jnp.full(2, float(index))}
        if index == 4:
            cut = store(cut, tmp_path)
        whole, cut = whole.update(metric, params), cut.update(metric, params)
        chex.assert_trees_all_equal(whole, cut)
    assert bool(cut.should_stop) and int(cut.best_step) == 4
    np.testing.assert_array_equal(cut.best_params["w"], [4.0, 4.0])


def test_parameters_may_be_of_any_kind():
    params = {
        "half": jnp.ones(2, jnp.bfloat16),
        "count": jnp.int32(3),
        "key": jax.random.key(0),
        "number": 1.0,
        "function": jnp.tanh,
        "nothing": None,
    }
    stopper = EarlyStopping(patience=1, best_params=params)
    better = {
        **params,
        "half": jnp.zeros(2, jnp.bfloat16),
        "count": jnp.int32(4),
        "key": jax.random.key(1),
        "number": 2.0,
    }
    stopper = stopper.update(1.0, better).update(2.0, params)
    best = stopper.best_params
    assert best["half"].dtype == jnp.bfloat16 and (best["half"] == 0).all()
    assert int(best["count"]) == 4 and float(best["number"]) == 2.0
    assert (
        jax.random.key_data(best["key"]) == jax.random.key_data(better["key"])
    ).all()
    assert best["function"] is jnp.tanh and best["nothing"] is None


@pytest.mark.parametrize("metric", [2, np.float64(2), jnp.bfloat16(2), jnp.int32(2)])
def test_any_kind_of_number_is_a_metric(metric):
    stopper = EarlyStopping(patience=1).update(metric)
    assert float(stopper.best) == 2.0 and stopper.best.dtype == jnp.float32


NEAR = [
    (1.0, 1.0 - 1e-9),
    (np.float64(0.7), np.float64(0.7) - 1e-15),
    (3_000_000_001, 3_000_000_000),
    (np.int64(2**40 + 1), np.int64(2**40)),
    (Decimal("0.3"), Decimal("0.3") - Decimal("1e-12")),
    (Fraction(1, 3), Fraction(1, 3) - Fraction(1, 10**12)),
    (1e300, 0.5e300),
]


@pytest.mark.parametrize("worse, better", NEAR)
def test_host_metrics_that_float32_cannot_tell_apart_are_compared(worse, better):
    for mode, first, second in (("min", worse, better), ("max", better, worse)):
        stopper = EarlyStopping(patience=1, mode=mode).update(first)
        once = stopper.update(second)
        assert once.improved and float(once.best) == float(second)
        twice = once.update(first)
        assert twice.should_stop and not twice.improved
        assert float(twice.best) == float(second)


def test_host_metrics_keep_their_digits_through_pickles_and_margins(tmp_path):
    stopper = EarlyStopping(patience=1, min_delta=1e-9, baseline=0.5 - 1e-10)
    stopper = stopper.update(0.5 - 1e-9)
    stopper = through_pickle(stopper, tmp_path)
    assert not stopper.update(0.5 - 1.9e-9).improved
    assert stopper.update(0.5 - 2.1e-9).improved
    assert not EarlyStopping(patience=1, baseline=0.5).update(0.5 - 1e-9).should_stop


def test_a_best_of_the_host_goes_into_programs():
    stopper = EarlyStopping(patience=2).update(0.1)
    traced = jax.jit(lambda s, m: s.update(m))(stopper, 0.05)
    assert traced.improved and traced.best == jnp.float32(0.05)
    scanned, _ = jax.lax.scan(
        lambda s, m: (s.update(m), None), stopper, jnp.array([0.2, 0.3])
    )
    assert scanned.should_stop and scanned.best == jnp.float32(0.1)
    assert stopper.update(jnp.float32(0.05)).best == jnp.float32(0.05)
    many = jax.vmap(stopper.update)(jnp.array([0.2, 0.05]))
    assert many.improved.tolist() == [False, True]


def test_in_x64_mode_metrics_keep_their_digits():
    with jax.enable_x64(True):
        stopper = EarlyStopping(patience=1).update(1.0).update(1.0 - 1e-12)
        assert bool(stopper.improved) and stopper.best.dtype == jnp.float64


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"patience": 0}, r"patience must be at least 1 .* got 0"),
        ({"patience": 1, "mode": "auto"}, "mode must be one of"),
        ({"patience": 1, "min_delta": -0.1}, "min_delta must be finite and at least 0"),
        ({"patience": 1, "warmup": -1}, "warmup must be at least 0"),
    ],
)
def test_rejects_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**settings)


def test_rejects_updates_that_do_not_fit():
    stopper = EarlyStopping(patience=1)
    with pytest.raises(ValueError, match=r"metric must be a scalar, got .* \(2,\)"):
        stopper.update(jnp.ones(2))
    with pytest.raises(ValueError, match="parameters like the best_params"):
        stopper.update(1.0, {"w": jnp.ones(2)})
    with pytest.raises(ValueError, match="parameters like the best_params"):
        EarlyStopping(patience=1, best_params={"w": jnp.ones(2)}).update(1.0)


def test_a_tree_of_specifications_keeps_its_nones():
    """As ``in_axes`` and shardings are written: None is a value there."""
    stopper = EarlyStopping(patience=1)
    specs = jax.tree.map(lambda _: None, stopper)
    assert specs.best is None and specs.step is None


def test_best_params_keep_their_shapes_and_dtypes():
    stopper = EarlyStopping(patience=2, best_params={"w": jnp.zeros(2, jnp.bfloat16)})
    better = stopper.update(1.0, {"w": jnp.ones(2)})
    assert better.best_params["w"].dtype == jnp.bfloat16
    assert (better.best_params["w"] == 1).all()
    with pytest.raises(ValueError, match=r"shapes of best_params, \(2,\) at 'w'"):
        stopper.update(1.0, {"w": jnp.ones((3, 2))})


@pytest.mark.parametrize("number", [2.5, float("nan"), True])
@pytest.mark.parametrize("name", ["patience", "warmup"])
def test_counts_are_whole(name, number):
    with pytest.raises(TypeError, match=f"{name} must be an integer"):
        EarlyStopping(**{"patience": 2, name: number})


def test_a_metric_is_real():
    with pytest.raises(ValueError, match="metric must be a real number"):
        EarlyStopping(patience=2).update(1j)


def keras(metrics, *, patience, baseline, min_delta=0.0):
    """The number of updates until Keras' rule stops, written from its description."""
    best, wait = np.inf, 0
    for step, metric in enumerate(metrics):
        wait += 1
        if metric < best - min_delta:
            best = metric
            wait = 0 if metric < baseline - min_delta else wait
        elif wait >= patience:
            return step + 1
    return len(metrics)


@pytest.mark.parametrize("baseline", [-1.0, 0.3, 0.5, 2.0])
@pytest.mark.parametrize("patience", [1, 2, 4])
def test_the_baseline_is_that_of_keras(baseline, patience):
    for seed in range(5):
        values = np.random.default_rng(seed).random(12).astype(np.float32)
        stopper = EarlyStopping(patience=patience, baseline=baseline)
        for value in values:
            stopper = stopper.update(value)
        expected = keras(values, patience=patience, baseline=np.float32(baseline))
        assert stopper.step == expected
        assert stopper.best == values[:expected].min()


def test_a_baseline_is_static_and_survives_trees():
    stopper = EarlyStopping(patience=2, mode="max", baseline=jnp.float32(0.5))
    assert stopper.baseline == 0.5 and isinstance(stopper.baseline, float)
    copied = jax.tree.map(lambda leaf: leaf, stopper)
    assert copied.baseline == 0.5
    assert jax.jit(lambda s: s.update(0.4))(copied).num_bad == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"best": 0.5}, TypeError, "best is a result .* use baseline="),
        ({"num_bad": 1, "step": 1}, TypeError, "step, num_bad is a result"),
        ({"baseline": np.nan}, ValueError, "baseline must be a number, got nan"),
        ({"baseline": "a"}, TypeError, "baseline must be a number, got 'a'"),
        ({"baseline": [1.0]}, ValueError, "baseline must be a scalar"),
        ({"min_delta": 10**400}, ValueError, "min_delta holds a number that is too"),
    ],
)
def test_what_cannot_be_given_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        EarlyStopping(patience=1, **arguments)


def test_counts_beyond_int32_are_never_reached():
    stopper = EarlyStopping(patience=10**10).update(1.0).update(2.0)
    assert stopper.num_bad == 1 and not stopper.should_stop
    waiting = EarlyStopping(patience=1, warmup=10**10).update(1.0)
    assert waiting.best == np.inf and not waiting.should_stop


def test_large_metrics_do_not_wrap():
    stopper = EarlyStopping(patience=2).update(np.int64(100)).update(2**31)
    assert stopper.best == 100 and stopper.num_bad == 1
    diverged = stopper.update(np.float64(1e300))  # more than float32 holds
    assert diverged.num_bad == 2 and diverged.best == 100
    with pytest.raises(ValueError, match="metric holds a number that is too large"):
        stopper.update(10**400)


@pytest.mark.parametrize("make", [np.ones, jnp.ones])
def test_complex_parameters_do_not_replace_real_ones(make):
    stopper = EarlyStopping(patience=1, best_params={"w": make(2)})
    with pytest.raises(ValueError, match="for a parameter that is complex"):
        stopper.update(1.0, {"w": make(2, complex)})


def test_parameters_are_not_truncated():
    stopper = EarlyStopping(patience=1, best_params={"w": jnp.array([1.0])})
    with pytest.raises(ValueError, match=r"best_params holds 1e\+300, and the largest"):
        stopper.update(1.0, {"w": np.array([1e300])})
    for whole, kind in ((jnp.array([1]), "int32"), (np.array([1]), "int64")):
        stopper = EarlyStopping(patience=1, best_params={"w": whole})
        with pytest.raises(
            ValueError, match=rf"holds {kind} for a parameter that is float"
        ):
            stopper.update(1.0, {"w": np.array([1.5])})


def test_wide_parameters_of_the_host_may_enter_a_program():
    stopper = EarlyStopping(patience=3, best_params={"w": np.array([0.1])})
    update = lambda stopper, w: stopper.update(0.5, {"w": w})
    after = jax.jit(update)(stopper.update(1.0, {"w": np.array([0.2])}), jnp.ones(1))
    assert after.improved and after.best_params["w"].dtype == jnp.float32


@pytest.mark.parametrize(
    "value", [0.1, np.float64(1e300), np.array([1 / 3]), 2**40, np.array([0.1 + 1j])]
)
def test_wide_parameters_of_the_host_keep_their_digits(value):
    """Across a step without improvement, and after a change of the array itself."""
    stopper = EarlyStopping(patience=3, best_params={"w": value * 0})
    stopper = stopper.update(2.0, {"w": value}).update(3.0, {"w": value * 3})
    best = stopper.best_params["w"]
    assert isinstance(best, np.ndarray) and best.dtype == np.asarray(value).dtype
    np.testing.assert_array_equal(best, value)
    given = np.array(value)
    stopper = stopper.update(1.0, {"w": given})
    given *= 0
    np.testing.assert_array_equal(stopper.best_params["w"], value)


@pytest.mark.parametrize("leaf", [2**40, np.int64(2**40), np.array([2**40])])
def test_integers_of_parameters_do_not_wrap(leaf):
    small = np.asarray(leaf * 0, np.int32)
    stopper = EarlyStopping(patience=1, best_params={"step": small})
    with pytest.raises(ValueError, match=r"best_params holds .* int32 is too narrow"):
        stopper.update(1.0, {"step": leaf})
    stopper = stopper.update(1.0, {"step": small + 3})
    assert stopper.best_params["step"] == 3


CHANGES = [
    ({"patience": 0}, ValueError),
    ({"patience": 2.5}, TypeError),
    ({"patience": True}, TypeError),
    ({"mode": "auto"}, ValueError),
    ({"min_delta": -1.0}, ValueError),
    ({"min_delta": NAN}, ValueError),
    ({"min_delta": INF}, ValueError),
    ({"min_delta": "a"}, TypeError),
    ({"relative": "no"}, TypeError),
    ({"warmup": -1}, ValueError),
    ({"warmup": 0.5}, TypeError),
    ({"baseline": NAN}, ValueError),
    ({"baseline": np.ones(2)}, ValueError),
]


@pytest.mark.parametrize("settings, error", CHANGES, ids=str)
def test_settings_are_checked_when_they_are_changed_too(settings, error):
    (name,) = settings
    stopper = EarlyStopping(patience=2).update(1.0)
    with pytest.raises(error, match=f"EarlyStopping: {name} must be"):
        EarlyStopping(**{"patience": 2} | settings)
    with pytest.raises(error, match=f"EarlyStopping: {name} must be"):
        dataclasses.replace(stopper, **settings)


def test_a_run_goes_on_with_more_patience():
    stopper = run(EarlyStopping(patience=1), [1.0, 2.0])
    settings = {"patience": np.int64(3), "baseline": jnp.float32(5)}
    longer = dataclasses.replace(stopper, should_stop=False, **settings)
    assert type(longer.patience) is int and type(longer.baseline) is float
    compiled = jax.jit(lambda stopper: stopper.update(0.5))(longer.update(2.0))
    assert compiled.best == 0.5 and compiled.num_bad == 0 and compiled.step == 4


def test_counts_of_updates_end_at_the_largest_int32():
    last = jnp.int32(2**31 - 1)
    stopper = EarlyStopping(patience=9, warmup=2)
    late = dataclasses.replace(stopper, step=last, num_bad=last - 5).update(1.0)
    assert late.step == last and late.improved
    endless = dataclasses.replace(stopper, step=last, num_bad=last).update(INF)
    assert endless.num_bad == last and endless.should_stop


# A parameter, what takes its place, and whether it may.
REPLACED = [
    (jnp.array([True]), jnp.array([0.5]), False),
    (np.array([True]), np.array([7]), False),
    (jnp.array([True]), jnp.array([False]), True),
    (jnp.array([1], jnp.int8), jnp.array([300]), False),
    (np.array([1], np.int8), np.array([300]), False),
    (np.array([1], np.int8), np.array([30]), True),
    (jnp.array([1], jnp.uint8), np.array([-1]), False),
    (jnp.array([1], jnp.uint32), jnp.array([-1]), False),
    (jnp.array([1]), jnp.array([2**32 - 1], jnp.uint32), False),
    (jnp.array([1]), jnp.array([3], jnp.uint16), True),
    (jnp.array([1.0]), jnp.array([3]), True),
    (jnp.array([1.0]), jnp.array([True]), True),
    (jnp.array([1], jnp.float16), np.array([1e6]), False),
    (jnp.array([1], jnp.float16), np.array([100_000]), False),
    (jnp.array([1], jnp.float16), np.array([np.inf]), True),
    (jnp.array([1], jnp.float16), jnp.array([2.5]), True),
    (jnp.array([1], jnp.bfloat16), np.array([1e6]), True),
    (jnp.array([1j]), jnp.array([2.0]), True),
    (jnp.array([1.0]), jnp.array([2j]), False),
    (jax.random.key(0), jax.random.key(1), True),
    (jax.random.key(0), jax.random.key(1, impl="rbg"), False),
    (jax.random.key(0), 1.0, False),
    (1.0, jax.random.key(0), False),
]


@pytest.mark.parametrize("old, new, fits", REPLACED)
def test_a_parameter_keeps_its_dtype_and_its_value(old, new, fits):
    stopper = EarlyStopping(patience=1, best_params={"w": old})
    if not fits:
        with pytest.raises(ValueError, match=r"holds .* for a parameter that is"):
            stopper.update(1.0, {"w": new})
        return
    best = stopper.update(1.0, {"w": new}).best_params["w"]
    assert best.dtype == old.dtype
    if not jnp.issubdtype(best.dtype, jax.dtypes.prng_key):
        rounded = np.asarray(new).astype(best.dtype)
        np.testing.assert_array_equal(np.asarray(best), rounded)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_initial_parameters_do_not_change_with_the_callers_array(dtype):
    given = np.ones(2, dtype)
    stopper = EarlyStopping(patience=2, best_params={"w": given})
    given *= 0
    np.testing.assert_array_equal(stopper.best_params["w"], [1, 1])
    kept = stopper.update(NAN, {"w": given}).best_params["w"]
    np.testing.assert_array_equal(kept, [1, 1])


@pytest.mark.parametrize("mode", ["min", "max"])
def test_margins_beyond_all_floats_are_no_trouble(mode):
    """A warning would be an error here."""
    sign = -1 if mode == "min" else 1
    stopper = EarlyStopping(patience=1, mode=mode, min_delta=3.0, relative=True)
    stopper = stopper.update(sign * 1e308).update(sign * 1.79e308)
    assert stopper.should_stop and stopper.best == sign * 1e308


def test_a_batch_of_runs_takes_a_number_of_the_host():
    each = jax.vmap(EarlyStopping(patience=1).update)(jnp.arange(3.0))
    for metric in (0.5, np.float64(0.5), jnp.float32(0.5)):
        after = each.update(metric)
        assert after.best.tolist() == [0, 0.5, 0.5]
        assert after.should_stop.tolist() == [True, False, False]
