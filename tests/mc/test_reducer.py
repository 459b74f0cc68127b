"""Reducers: of one's own, of a part of the outputs, and in the dtype to sum in."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from at_once import at_once
from jaxdrop import mc
from jaxdrop.mc._reducer import combined, part


def test_states_of_other_keys_are_merged_by_the_reducer(net, key):
    reducer = mc.moments()
    predict = lambda key, n: mc.predict(
        net.apply, key, net.params, net.x, num_samples=n, reducers=reducer
    )
    other = jax.random.fold_in(key, 10**6)

    @at_once
    def in_either_order():
        a, b = predict(key, 9).state.sums, predict(other, 4).state.sums
        merged = reducer.merge(a, b), reducer.merge(b, a)
        return [reducer.finalize(state) for state in merged]

    both = np.concatenate([net.samples(key, 9), net.samples(other, 4)])
    for stats in in_either_order():
        np.testing.assert_allclose(stats["mean"], both.mean(0), atol=1e-6)
        np.testing.assert_allclose(stats["var"], both.var(0, ddof=1), rtol=1e-5)


def test_a_reducer_of_ones_own_needs_five_functions(net, key):
    def update(state, outputs, valid):
        kept = jnp.where(valid[:, None, None], outputs, -jnp.inf)
        return jnp.maximum(state, kept.max(0))

    largest = mc.Reducer(
        init=lambda outputs: jnp.full(outputs.shape, -jnp.inf, outputs.dtype),
        update=update,
        merge=jnp.maximum,
        finalize=lambda state: {"max": state},
        stderr=lambda state: {},
    )
    predict = at_once(mc.predict)
    run = lambda **kw: predict(
        net.apply, key, net.params, net.x, num_samples=7, chunk_size=3, **kw
    )
    expected = net.samples(key, 7).max(0)
    np.testing.assert_array_equal(run(reducers=largest).stats["max"], expected)
    both = run(reducers={"own": largest, "mean": mc.moments()}).stats
    np.testing.assert_array_equal(both["own"]["max"], expected)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Outputs:
    """What a network of two heads returns."""

    logits: jax.Array
    features: jax.Array


def test_a_part_of_a_dataclass_is_named_by_its_attribute(net, key):
    both = lambda key, params, x: Outputs(net.apply(key, params, x), x)
    predict = at_once(mc.predict)
    run = lambda apply, **kw: predict(
        apply, key, net.params, net.x, num_samples=5, reducers=mc.categorical(**kw)
    )
    for ours, theirs in zip(
        jax.tree.leaves(run(both, of="logits").stats),
        jax.tree.leaves(run(net.apply).stats),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_low_precision_is_accumulated_in_float32(reduce):
    samples = jnp.ones((1000, 2), jnp.bfloat16)  # a bfloat16 sum stops growing at 256
    reducer = mc.moments()
    stats = reduce(reducer, samples, chunks=10)[0]
    assert stats["mean"].dtype == jnp.float32
    np.testing.assert_array_equal(stats["mean"], 1)
    counted = reduce(reducer, np.arange(4))[0]
    assert counted["mean"] == 1.5


def test_float64_stays_float64(reduce):
    with jax.enable_x64(True):
        samples = np.random.default_rng(0).normal(size=(9, 1, 2))
        for reducer in (
            mc.covariance(),
            mc.categorical(),
            mc.votes(),
            mc.gaussian_mixture(noise=1.0, targets=samples[0]),
            mc.quantiles(capacity=4),
        ):
            split = lambda r=reducer: reduce(r, samples, chunks=3, parts=2)[0]
            found = jax.eval_shape(split)
            expected = {"int32", "float32"} if "mode" in found else {"float64"}
            assert {str(x.dtype) for x in jax.tree.leaves(found)} == expected
        stats, _ = reduce(mc.moments(), samples, chunks=3)
        np.testing.assert_allclose(stats["var"], samples.var(0, ddof=1), rtol=1e-12)


def test_complex_outputs_are_refused(reduce):
    with pytest.raises(TypeError, match="real outputs, got complex64"):
        reduce(mc.moments(), np.ones((3, 2), np.complex64))


@pytest.mark.parametrize("of", ["loc", lambda out: out["loc"]])
def test_a_part_of_the_outputs_is_named(of, reduce):
    samples = {"loc": np.arange(6.0).reshape(3, 2), "aux": np.ones((3, 1))}
    reducer = mc.moments(of=of)
    stats = reduce(reducer, samples)[0]
    np.testing.assert_allclose(stats["mean"], [2.0, 3.0])
    pair = (samples["loc"], samples["aux"])
    reducer = mc.moments(of=0)
    assert reduce(reducer, pair)[0]["mean"].shape == (2,)


@pytest.mark.whole
@pytest.mark.parametrize("of", [2**70, 10**400, True, np.True_, 1.5, "mean", object()])
def test_what_is_no_part_of_the_outputs_is_refused_by_name(of):
    with pytest.raises(ValueError, match="of must be a name or an index of a part"):
        part([jnp.zeros(3), jnp.ones(3)], of)


def test_nothing_to_reduce_is_refused_by_name():
    with pytest.raises(ValueError, match="must name at least one reducer"):
        combined({})
    with pytest.raises(ValueError, match="the outputs hold no arrays to reduce"):
        mc.moments(of=lambda outputs: ()).init({"loss": jnp.ones(2)})
