"""Samples spread over devices are the samples of one device."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from at_once import at_once
from jaxdrop import mc

REDUCERS = {"moments": mc.moments(), "label": mc.categorical(), "votes": mc.votes()}


@pytest.fixture
def mesh():
    return jax.make_mesh((2, 4), ("data", "samples"), axis_types=(AxisType.Auto,) * 2)


def assert_like_one_device(result, net, key, count):
    single = at_once(
        lambda: mc.predict(
            net.apply, key, net.params, net.x, num_samples=count, reducers=REDUCERS
        )
    )()
    assert result.count == count
    for ours, theirs in zip(
        jax.tree.leaves((result.stats, result.stderr)),
        jax.tree.leaves((single.stats, single.stderr)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "count, chunk_size", [(9, 2), pytest.param(3, 4, marks=pytest.mark.slow)]
)
def test_a_mesh_changes_no_sample(count, chunk_size, mesh, net, key):
    predict = jax.jit(
        lambda key, params, x: mc.predict(
            net.apply,
            key,
            params,
            x,
            num_samples=count,
            chunk_size=chunk_size,
            reducers=REDUCERS,
            mesh=mesh,
            axis_name="samples",
            keep_samples=True,
        )
    )
    result = predict(key, net.params, net.x)
    np.testing.assert_array_equal(result.samples, net.samples(key, count))
    assert_like_one_device(result, net, key, count)


@pytest.mark.parametrize("count", [pytest.param(16, marks=pytest.mark.slow), 13])
def test_eight_devices_draw_what_one_does(count, net, key):
    eight = jax.make_mesh((8,), ("samples",), axis_types=(AxisType.Auto,))
    result = mc.predict(
        net.apply,
        key,
        net.params,
        net.x,
        num_samples=count,
        reducers=REDUCERS,
        mesh=eight,
        keep_samples=True,
    )
    np.testing.assert_array_equal(result.samples, net.samples(key, count))
    assert_like_one_device(result, net, key, count)


def test_resuming_and_stopping_work_on_a_mesh(mesh, net, key):
    run = lambda n, **kw: mc.predict(
        net.apply,
        key,
        net.params,
        net.x,
        num_samples=n,
        mesh=mesh,
        axis_name="samples",
        **kw,
    )

    @at_once
    def resumed():
        return run(6, state=run(5).state, keep_samples=True)

    rest, expected = resumed(), net.samples(key, 11)
    np.testing.assert_array_equal(rest.samples, expected[5:])
    np.testing.assert_allclose(rest.stats["mean"], expected.mean(0), atol=1e-6)
    stopped = at_once(run)(400, tol=0.6, check_every=10)
    alone = at_once(mc.predict)(
        net.apply, key, net.params, net.x, num_samples=400, tol=0.6, check_every=10
    )
    assert stopped.count == alone.count and stopped.converged


@pytest.mark.slow
@pytest.mark.parametrize("check_every", [8, 16])
def test_sampling_stops_as_on_one_device(check_every, mesh, key):
    predict = functools.partial(
        mc.predict,
        lambda key: 3 * jax.random.normal(key, (2, 3)),
        key,
        num_samples=200,
        reducers="classification",
        tol=0.05,
        tol_stat="predictive_entropy",
        check_every=check_every,
    )
    alone, spread = predict(), predict(mesh=mesh, axis_name="samples")
    assert spread.converged and spread.count == alone.count < 200
    for name, error in alone.stderr.items():
        np.testing.assert_allclose(spread.stderr[name], error, rtol=1e-3, atol=1e-6)


def test_the_data_axis_stays_with_the_data(mesh, net, key):
    x = jax.device_put(net.x, NamedSharding(mesh, PartitionSpec("data")))
    predict = jax.jit(
        lambda x: mc.predict(
            net.apply,
            key,
            net.params,
            x,
            num_samples=8,
            mesh=mesh,
            axis_name="samples",
        )
    )
    mean = predict(x).stats["mean"]
    assert mean.sharding.spec == PartitionSpec("data")
    np.testing.assert_allclose(mean, net.samples(key, 8).mean(0), atol=1e-6)


@pytest.mark.parametrize(
    "check_vma", [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_an_axis_of_an_outer_shard_map_may_be_used(check_vma, mesh, net, key):
    def predict(x):
        result = mc.predict(
            net.apply, key, net.params, x, num_samples=9, axis_name="samples"
        )
        return result.stats["mean"]

    mapped = jax.shard_map(
        predict,
        mesh=mesh,
        in_specs=PartitionSpec("data"),
        out_specs=PartitionSpec("data"),
        check_vma=check_vma,
    )
    of_half = jax.jit(
        lambda x: mc.predict(net.apply, key, net.params, x, num_samples=9).stats["mean"]
    )
    halves = [of_half(x) for x in np.split(np.asarray(net.x), 2)]
    np.testing.assert_allclose(
        jax.jit(mapped)(net.x), np.concatenate(halves), atol=1e-6
    )


@pytest.mark.slow
def test_explicit_axes_keep_the_sharding_of_the_data(net, key):
    mesh = jax.make_mesh(
        (2, 4), ("data", "samples"), axis_types=(AxisType.Explicit,) * 2
    )
    with jax.set_mesh(mesh):
        x = jax.device_put(net.x, PartitionSpec("data"))
        predict = jax.jit(
            lambda x: mc.predict(
                net.apply,
                key,
                net.params,
                x,
                num_samples=8,
                reducers=REDUCERS,
                mesh=mesh,
                axis_name="samples",
            )
        )
        stats = predict(x).stats["label"]
        assert jax.typeof(stats["mean"]).sharding.spec == PartitionSpec("data", None)
    probs = jax.nn.softmax(net.samples(key, 8)).mean(0)
    np.testing.assert_allclose(stats["mean"], probs, atol=1e-6)


@pytest.mark.slow
def test_gradients_cross_the_mesh(mesh, net, key):
    def loss(params, **kw):
        mean = mc.predict(net.apply, key, params, net.x, num_samples=6, **kw).stats[
            "mean"
        ]
        return (mean**2).sum()

    spread = lambda params: loss(params, mesh=mesh, axis_name="samples")
    gradients = (jax.jit(jax.grad(f))(net.params) for f in (spread, loss))
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_the_axis_must_be_of_the_mesh(mesh, net, key):
    for name in (None, "model"):
        with pytest.raises(ValueError, match=r"axis_name must be an axis of the mesh"):
            mc.predict(
                net.apply,
                key,
                net.params,
                net.x,
                num_samples=2,
                mesh=mesh,
                axis_name=name,
            )
    line = jax.make_mesh((8,), ("only",), axis_types=(AxisType.Auto,))
    result = mc.predict(net.apply, key, net.params, net.x, num_samples=2, mesh=line)
    assert np.isfinite(result.stats["mean"]).all()
