"""Prediction: the same samples whatever way they are drawn, and honest statistics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from at_once import at_once
from chance import assert_mean
from jaxdrop import mc

predict = at_once(mc.predict)
KEPT = {"keep_samples": True}


def test_samples_are_only_kept_on_request(net, key):
    result = predict(net.apply, key, net.params, net.x, num_samples=2)
    assert result.samples is None


@pytest.mark.parametrize(
    "reducers",
    [
        *("auto", pytest.param("classification", marks=pytest.mark.slow)),
        pytest.param(
            {"votes": mc.votes(), "quantiles": mc.quantiles()}, marks=pytest.mark.slow
        ),
    ],
    ids=["moments", "entropies", "counts"],
)
def test_memory_does_not_grow_with_the_number_of_samples(reducers, net, key):
    def temporary(num_samples):
        def predict(key, params, x):
            result = mc.predict(
                net.apply,
                key,
                params,
                x,
                num_samples=num_samples,
                chunk_size=4,
                reducers=reducers,
            )
            return result.stats, result.stderr

        x = jnp.zeros((512, 3))
        compiled = jax.jit(predict).lower(key, net.params, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(8) == pytest.approx(temporary(512), rel=0.01)


def test_a_resumed_prediction_is_the_whole_one(net, key):
    run = lambda n, **kw: mc.predict(
        net.apply, key, net.params, net.x, num_samples=n, **kw
    )

    @at_once
    def both():
        first = run(10)
        return run(6, state=first.state, chunk_size=3, **KEPT), run(16)

    rest, whole = both()
    np.testing.assert_array_equal(rest.samples, net.samples(key, 16)[10:])
    assert rest.count == 16
    for name in ("mean", "var"):
        np.testing.assert_allclose(rest.stats[name], whole.stats[name], rtol=2e-6)


REDUCERS = {
    "moments": mc.moments(),
    "covariance": mc.covariance(),
    "label": mc.categorical(),
    "votes": mc.votes(),
    "quantiles": mc.quantiles(capacity=128),
}


@pytest.mark.slow
def test_every_statistic_of_a_resumed_prediction_is_that_of_the_whole(net, key):
    """40 samples and 24 more are the 64 samples; and merging has no order."""

    @jax.jit
    def predict_both(params, x):
        run = functools.partial(
            mc.predict, net.apply, key, params, x, reducers=REDUCERS, chunk_size=8
        )
        first = run(num_samples=40)
        rest = run(num_samples=24, state=first.state, keep_samples=True)
        return rest, run(num_samples=64, keep_samples=True)

    rest, whole = predict_both(net.params, net.x)
    np.testing.assert_array_equal(rest.samples, whole.samples[40:])
    assert rest.count == whole.count == 64
    pairs = zip(
        jax.tree.leaves_with_path((rest.stats, rest.stderr)),
        jax.tree.leaves((whole.stats, whole.stderr)),
        strict=True,
    )
    for (path, resumed), expected in pairs:
        np.testing.assert_allclose(
            resumed, expected, rtol=1e-5, atol=1e-6, err_msg=jax.tree_util.keystr(path)
        )


@pytest.mark.parametrize("name", REDUCERS)
def test_states_may_be_merged_in_either_order(name):
    """And are then those of a state that goes on with the other's samples."""
    reducer, rng = REDUCERS[name], np.random.default_rng(0)
    start = reducer.init(jax.ShapeDtypeStruct((2, 3), jnp.float32))
    samples = [rng.normal(size=(n, 2, 3)).astype(np.float32) for n in (48, 32)]

    @jax.jit
    def results(*samples):
        a, b = (reducer.update(start, x, jnp.ones(len(x), bool)) for x in samples)
        resumed = reducer.update(a, samples[1], jnp.ones(len(samples[1]), bool))
        states = reducer.merge(a, b), reducer.merge(b, a), resumed
        return [reducer.finalize(state) for state in states]

    one, *others = results(*samples)
    for other in others:
        pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_state_of_something_else_is_refused(net, key):
    state = predict(net.apply, key, net.params, net.x, num_samples=2).state
    with pytest.raises(ValueError, match="state is of other reducers or outputs"):
        predict(
            net.apply,
            key,
            net.params,
            net.x[:2],
            num_samples=2,
            state=state,
        )
    with pytest.raises(ValueError, match="state is of other reducers or outputs"):
        predict(
            net.apply,
            key,
            net.params,
            net.x,
            num_samples=2,
            state=state,
            reducers="classification",
        )


def test_a_rate_that_is_traced_and_zero_gives_no_variance(net, key):
    def apply(key, rate, x):
        return jnp.where(jax.random.uniform(key, x.shape) < rate, 0, x)

    run = functools.partial(mc.predict, num_samples=5, reducers="classification")
    result = jax.device_get(jax.jit(run, static_argnums=0)(apply, key, 0.0, net.x))
    assert (result.stats["var"] == 0).all() and result.count == 5
    np.testing.assert_allclose(result.stats["mutual_information"], 0, atol=1e-6)


def test_variance_of_a_linear_model_is_the_closed_form(key):
    weights, x = np.float32([1.0, -2.0, 0.5]), np.float32([2.0, 1.0, -1.0])
    rate = 0.3

    def apply(key, weights, x):
        keep = jax.random.bernoulli(key, 1 - rate, x.shape)
        return (jnp.where(keep, x / (1 - rate), 0) * weights).sum()

    result = at_once(
        lambda: mc.predict(
            apply, key, weights, x, num_samples=4096, chunk_size=512, **KEPT
        )
    )()
    result = jax.device_get(result)
    assert_mean(result.samples, np.vdot(weights, x))
    squares = (result.samples - np.vdot(weights, x)) ** 2
    assert_mean(squares, rate / (1 - rate) * ((weights * x) ** 2).sum())
    assert result.stats["var"] == pytest.approx(float(squares.mean()), rel=0.01)


def test_new_weights_need_no_new_program(net, key):
    traces = []

    def apply(key, params, x):
        traces.append(None)
        return net.apply(key, params, x)

    predict = jax.jit(
        lambda key, params, x: mc.predict(apply, key, params, x, num_samples=4)
    )
    first = predict(key, net.params, net.x).stats["mean"]
    doubled = predict(key, jax.tree.map(lambda w: 2 * w, net.params), net.x)
    np.testing.assert_allclose(doubled.stats["mean"], 4 * first, rtol=1e-6)
    assert len(traces) == 1


def test_outputs_keep_their_tree(net, key):
    def apply(key, params, x):
        logits = net.apply(key, params, x)
        return {"logits": logits, "pair": (logits.sum(), logits[0] > 0)}

    several = {"label": mc.categorical(of="logits"), "sum": mc.moments(of="pair")}
    run = lambda reducers: mc.predict(
        apply, key, net.params, net.x, num_samples=4, reducers=reducers
    )
    mean, stats = at_once(lambda: (run("auto").stats["mean"], run(several).stats))()
    samples = net.samples(key, 4)
    np.testing.assert_allclose(mean["logits"], samples.mean(0), atol=1e-6)
    np.testing.assert_allclose(mean["pair"][1], (samples[:, 0] > 0).mean(0))
    assert stats["label"]["predictive_entropy"].shape == (6,)
    assert stats["sum"]["var"][0].shape == ()


@pytest.mark.parametrize("chunk_size", [1, 3])
@pytest.mark.parametrize("number", [2**40, np.int64([2**40]), -(2**31) - 5])
def test_host_numbers_among_the_outputs_do_not_wrap(number, chunk_size, key):
    apply = lambda key: (jax.random.normal(key, (2,)), number, None)
    mean = predict(apply, key, num_samples=4, chunk_size=chunk_size).stats["mean"]
    np.testing.assert_array_equal(mean[1], np.float32(number))
    drawn = at_once(mc.samples)(apply, key, num_samples=2, chunk_size=chunk_size)
    np.testing.assert_array_equal(np.asarray(drawn[1])[0], np.float32(number))


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        (np.float64([1e300]), ValueError, r"the output of apply_fn holds 1e\+300"),
        ("text", TypeError, "the output of apply_fn must be an array of numbers"),
        (jax.random.key(0), TypeError, "reducers take real outputs, got key"),
    ],
)
def test_outputs_that_no_reducer_can_take_are_named(output, error, message, key):
    apply = lambda key: (jax.random.normal(key), output)
    with pytest.raises(error, match=message):
        mc.predict(apply, key, num_samples=2)


def test_presets_choose_reducers(net, key):
    run = lambda fn, name: (
        jax.eval_shape(
            lambda: mc.predict(fn, key, net.params, net.x, num_samples=3, reducers=name)
        ).stats
    )
    pair = lambda key, params, x: (net.apply(key, params, x), jnp.ones((6, 4)))
    assert "mutual_information" in run(net.apply, "classification")
    assert set(run(net.apply, "regression")) == {"mean", "var"}
    assert "aleatoric" in run(pair, "regression")
    with pytest.raises(ValueError, match=r"reducers must be one of .*got 'bald'"):
        run(net.apply, "bald")


@pytest.mark.parametrize("tol, chunk_size", [(0.6, 1), (0.3, 7)])
def test_sampling_stops_when_the_error_is_small(tol, chunk_size, net, key):
    until = jax.jit(
        lambda tol: mc.predict(
            net.apply,
            key,
            net.params,
            net.x,
            num_samples=4000,
            chunk_size=chunk_size,
            tol=tol,
            min_samples=20,
            check_every=10,
        )
    )
    result = jax.device_get(until(tol))
    count = int(result.count)
    assert result.converged and result.stderr["mean"].max() <= tol
    assert 20 <= count < 4000 and count % 10 == 0
    before = predict(net.apply, key, net.params, net.x, num_samples=count - 10)
    assert count == 20 or before.stderr["mean"].max() > tol
    expected = net.samples(key, count)
    np.testing.assert_allclose(result.stats["mean"], expected.mean(0), atol=1e-5)


@pytest.mark.parametrize("least, count", [(1, 4), (4, 4), (10, 12)])
def test_no_fewer_samples_are_drawn_than_asked_for(least, count, key):
    """However small their error is, which few samples may underestimate."""
    nearly_equal = lambda key: 1 + 1e-6 * jax.random.normal(key)
    result = predict(
        nearly_equal, key, num_samples=40, tol=1.0, min_samples=least, check_every=4
    )
    assert result.converged and result.count == count


def test_a_tolerance_that_is_not_reached_is_told(net, key):
    result = predict(
        net.apply,
        key,
        net.params,
        net.x,
        num_samples=23,
        tol=1e-9,
        check_every=5,
        **KEPT,
    )
    assert result.count == 23 and not result.converged
    np.testing.assert_array_equal(result.samples, net.samples(key, 23))


def test_samples_that_were_not_drawn_are_nan(net, key):
    result = predict(
        net.apply,
        key,
        net.params,
        net.x,
        num_samples=40,
        tol=1e9,
        min_samples=10,
        check_every=5,
        **KEPT,
    )
    result = jax.device_get(result)
    assert result.count == 10 and result.samples.shape[0] == 40
    np.testing.assert_array_equal(result.samples[:10], net.samples(key, 10))
    assert np.isnan(result.samples[10:]).all()


def test_a_converged_state_draws_no_more(net, key):
    run = lambda **kw: mc.predict(
        net.apply, key, net.params, net.x, num_samples=50, tol=1.0, **kw
    )

    @at_once
    def both():
        first = run()
        return first, run(state=first.state)

    first, again = both()
    assert again.count == first.count and again.converged


def test_the_statistic_to_watch_is_named(net, key):
    run = lambda **kw: predict(
        net.apply, key, net.params, net.x, num_samples=32, tol=0.1, **kw
    )
    several = {"label": mc.categorical()}
    assert run(reducers=several, tol_stat="label/mutual_information").count >= 16
    with pytest.raises(ValueError, match=r"one of \['mean'\], got 'var'"):
        run(tol_stat="var")
    with pytest.raises(ValueError, match=r"tol_stat must name .*'label/mean'"):
        run(reducers=several)


def test_gradients_are_those_of_the_stacked_samples(net, key):
    def streamed(params):
        result = mc.predict(net.apply, key, params, net.x, num_samples=6, chunk_size=4)
        return (result.stats["mean"] ** 2).sum() + result.stats["var"].sum()

    def stacked(params):
        one = lambda t: net.apply(jax.random.fold_in(key, t), params, net.x)
        draws = jax.vmap(one)(jnp.arange(6))
        return (draws.mean(0) ** 2).sum() + draws.var(0, ddof=1).sum()

    for ours, theirs in zip(
        *(jax.jit(jax.grad(f))(net.params) for f in (streamed, stacked)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


def test_a_tolerance_may_be_mapped_over(net, key):
    def count(tol):
        return mc.predict(
            net.apply, key, net.params, net.x, num_samples=64, tol=tol, check_every=8
        ).count

    counts = np.asarray(jax.jit(jax.vmap(count))(np.float32([1e9, 1e-9, 0.8])))
    assert counts[0] == 16 and counts[1] == 64
    assert counts[2] == jax.jit(count)(0.8)


@pytest.mark.slow
def test_what_is_known_raises_no_alarm_about_nan(net, key):
    reducers = {
        "moments": mc.moments(),
        "label": mc.categorical(),
        "votes": mc.votes(),
        "mixture": mc.gaussian_mixture(noise=1.0, targets=jnp.zeros((6, 4))),
        "quantiles": mc.quantiles(capacity=8),
    }
    with jax.debug_nans(True):
        result = at_once(
            lambda: mc.predict(
                net.apply, key, net.params, net.x, num_samples=5, reducers=reducers
            )
        )()
    assert result.count == 5


def test_one_sample_has_a_mean_and_nothing_else(net, key):
    result = predict(net.apply, key, net.params, net.x, num_samples=1)
    np.testing.assert_array_equal(result.stats["mean"], net.samples(key, 1)[0])
    assert np.isnan(result.stats["var"]).all()
    assert np.isnan(result.stderr["mean"]).all()


@pytest.mark.parametrize(
    "name", ["num_samples", "chunk_size", "min_samples", "check_every"]
)
def test_counts_are_positive_integers(name, net, key):
    given = {"num_samples": 4, "tol": 1.0}
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got {wrong}"):
            mc.predict(net.apply, key, net.params, net.x, **given | {name: wrong})
    for wrong in (1.5, True, "8"):
        with pytest.raises(TypeError, match=f"{name} must be an integer, got"):
            mc.predict(net.apply, key, net.params, net.x, **given | {name: wrong})


def test_other_arguments_are_named_too(net, key):
    run = lambda key=key, **kw: mc.predict(
        net.apply, key, net.params, net.x, num_samples=2, **kw
    )
    with pytest.raises(ValueError, match="draws must be one of"):
        run(draws="same")
    with pytest.raises(ValueError, match=r"mc\.predict: key must be a PRNG key"):
        run(key=None)
    with pytest.raises(ValueError, match="one key, got"):
        run(key=jax.random.split(key, 3))
    with pytest.raises(TypeError, match=r"reducers\['a'\] must be a Reducer"):
        run(reducers={"a": mc.moments})


@pytest.mark.whole
@pytest.mark.parametrize("tol", [-0.1, float("nan"), "0.1", np.ones(2)], ids=str)
def test_a_tolerance_that_cannot_be_reached_is_named(tol, net, key):
    with pytest.raises((ValueError, TypeError), match=r"mc\.predict: tol must be"):
        mc.predict(net.apply, key, net.params, net.x, num_samples=4, tol=tol)


def test_what_is_said_of_a_missing_key_can_be_done(net):
    with pytest.raises(ValueError, match=r"got None: pass a new one.*step\)\.$"):
        mc.predict(net.apply, None, net.params, net.x, num_samples=4)


def test_arguments_that_mean_nothing_are_refused_by_name(key):
    predict = functools.partial(mc.predict, jax.random.normal, key, num_samples=4)
    for state in (1, "text", (np.zeros(2),), {"count": 0}):
        with pytest.raises(ValueError, match="state is of other reducers"):
            predict(state=state)
    for axis in (1.5, "0", (None, 1j), [0]):
        with pytest.raises(TypeError, match="batch_axis must hold integers"):
            predict(batch_axis=axis)
    for name in (np.array([0, 3]), 3, np.array([None, 1], object)):
        with pytest.raises(ValueError, match="tol_stat must name a statistic"):
            predict(tol=0.1, tol_stat=name)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.int32])
def test_a_tolerance_may_have_any_dtype(key, dtype):
    draw = lambda key: jax.random.normal(key, (3,))
    result = predict(draw, key, num_samples=64, tol=jnp.asarray(1, dtype))
    assert result.converged and result.count < 64
