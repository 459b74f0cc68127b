"""What is particular to the subset form: work that is really saved."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxdrop
from chance import assert_mean, assert_uniform_counts

BLOCKS, BATCH, WIDTH = 12, 16, 128


def network(key, x, kernels, *, rate):
    """A residual network with one linear branch per block."""
    for block, kernel in enumerate(kernels):
        branch = lambda x, kernel=kernel: x @ kernel
        block_key = None if key is None else jax.random.fold_in(key, block)
        x = x + jaxdrop.subset_stochastic_depth(block_key, branch, x, rate=rate)
    return x


def flops(function, *args):
    return jax.jit(function).lower(*args).compile().cost_analysis()["flops"]


def test_the_work_falls_in_proportion_to_the_rate(key):
    x = jnp.ones((BATCH, WIDTH))
    kernels = [jnp.full((WIDTH, WIDTH), 0.01)] * BLOCKS

    def work(rate):
        run = lambda kernels, x: network(key, x, kernels, rate=rate).sum()
        return flops(run, kernels, x), flops(jax.grad(run, (0, 1)), kernels, x)

    forward, both = work(0.0)
    products = 2 * BLOCKS * BATCH * WIDTH**2  # forward; and twice that backward
    assert forward > products and both > 2.9 * products
    for rate in (0.5, 0.75):
        saved_forward, saved_both = work(rate)
        assert abs(saved_forward / forward - (1 - rate)) < 0.02
        assert abs(saved_both / both - (1 - rate)) < 0.02


def test_the_expectation_over_keys_is_the_full_network(key):
    x = jax.random.normal(key, (4, 3))
    kernels = 0.2 * jax.random.normal(jax.random.key(1), (BLOCKS, 3, 3))
    draw = jax.jit(jax.vmap(lambda key: network(key, x, kernels, rate=0.5)))
    full = network(None, x, kernels, rate=0)
    assert_mean(draw(jax.random.split(key, 4096)), full)


def test_exactly_the_promised_number_runs_and_all_examples_alike(key):
    x = jnp.ones((10, 2))
    run = lambda key: jaxdrop.subset_stochastic_depth(key, jnp.negative, x, rate=0.3)
    kept = np.asarray(jax.vmap(run)(jax.random.split(key, 2000))[..., 0])
    assert set(np.unique(kept)) == {np.float32(-10 / 7), 0.0}
    assert ((kept != 0).sum(axis=1) == 7).all()
    assert_uniform_counts((kept == 0).sum(axis=0))


@pytest.mark.parametrize("size, rate, kept", [(4, 0.9, 1), (10, 0.9, 1), (8, 0.99, 1)])
def test_at_least_one_example_runs_below_rate_one(key, size, rate, kept):
    seen = []
    branch = lambda x: (seen.append(x.shape[0]), x)[1]
    x = jnp.ones((size, 3))
    y = jaxdrop.subset_stochastic_depth(key, branch, x, rate=rate)
    assert seen == [kept] and float(y.sum()) == pytest.approx(size * 3)


def test_rate_one_compiles_to_zeros_and_has_zero_gradients(key):
    run = lambda x: jaxdrop.subset_stochastic_depth(key, jnp.log, x, rate=1.0)
    x = jnp.zeros((4, 3))
    assert not run(x).any() and run(x).shape == x.shape
    assert not jax.grad(lambda x: run(x).sum())(x).any()
    product = lambda x: jaxdrop.subset_stochastic_depth(
        key, lambda x: x @ jnp.ones((3, 3)), x, rate=1.0
    )
    assert "dot" not in jax.jit(product).lower(x).compile().as_text()


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_batch_norm_in_a_branch_sees_the_examples_on_which_it_runs(key, rate):
    """Also at rate 1 its state stays an array; there it is that of all examples."""
    x = jax.random.normal(key, (8, 3))
    seen = []
    branch = lambda norm: lambda x: norm((seen.append(x), x)[1])
    norm = nnx.BatchNorm(3, momentum=0.0, rngs=nnx.Rngs(0))
    y = jaxdrop.nnx.SubsetStochasticDepth(branch(norm), rate)(x, rngs=key)
    assert len(seen[-1]) == (8 if rate == 1 else 4)
    assert y.any() == (rate < 1)
    np.testing.assert_allclose(norm.mean[...], seen[-1].mean(0), rtol=1e-5, atol=1e-6)
    module = jaxdrop.linen.SubsetStochasticDepth(
        nn.BatchNorm(use_running_average=False, momentum=0.0), rate, deterministic=False
    )
    variables = module.init({"params": key, "dropout": key}, x)
    _, new = module.apply(variables, x, rngs={"dropout": key}, mutable=["batch_stats"])
    assert np.isfinite(new["batch_stats"]["branch"]["mean"]).all()


def test_rows_go_where_they_came_from_on_any_axis_and_from_any_tree(key):
    x = jax.random.normal(key, (3, 8, 2))
    scale = jnp.arange(24.0).reshape(3, 8)
    branch = lambda tree: tree["x"] * tree["scale"][..., None]
    y = jaxdrop.subset_stochastic_depth(
        key, branch, {"x": x, "scale": scale}, rate=0.5, batch_axis=1
    )
    kept = np.asarray((y != 0).any(axis=(0, 2)))
    assert kept.sum() == 4
    expected = np.where(kept[None, :, None], 2 * x * scale[..., None], 0)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_evaluation_and_rate_zero_are_the_branch_itself():
    x = jnp.ones((4, 3))
    for options in ({"rate": 0.5, "deterministic": True}, {"rate": 0}):
        y = jaxdrop.subset_stochastic_depth(None, jnp.negative, x, **options)
        np.testing.assert_array_equal(y, -x)


def test_rejects_what_cannot_be_static(key):
    run = lambda **knobs: jaxdrop.subset_stochastic_depth(
        key, jnp.negative, jnp.ones((4, 3)), **{"rate": 0.5, **knobs}
    )
    with pytest.raises(TypeError, match=r"use jaxdrop\.stochastic_depth"):
        run(rate=jnp.float32(0.5))
    with pytest.raises(TypeError, match=r"use jaxdrop\.stochastic_depth"):
        run(deterministic=jnp.array(True))
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        run(rate=1.5)
    with pytest.raises(ValueError, match="batch_axis: axis 2 is out of bounds"):
        run(batch_axis=2)


def test_rejects_batches_that_do_not_match(key):
    with pytest.raises(ValueError, match=r"one batch size, got \[3, 4\]"):
        jaxdrop.subset_stochastic_depth(
            key, lambda xs: xs[0], (jnp.ones((4, 2)), jnp.ones((3, 2))), rate=0.5
        )
    with pytest.raises(ValueError, match="branch was given 2 examples"):
        jaxdrop.subset_stochastic_depth(
            key, lambda x: x.sum(axis=0, keepdims=True), jnp.ones((4, 2)), rate=0.5
        )


def test_an_explicit_mesh_keeps_features_and_refuses_a_spread_batch(key):
    explicit = (jax.sharding.AxisType.Explicit,)
    mesh = jax.make_mesh((4,), ("d",), axis_types=explicit)
    x = jax.random.normal(key, (8, 16))
    plain = jaxdrop.subset_stochastic_depth(key, jnp.negative, x, rate=0.5)
    with jax.set_mesh(mesh):
        features = jax.device_put(x, jax.NamedSharding(mesh, jax.P(None, "d")))
        y = jaxdrop.subset_stochastic_depth(key, jnp.negative, features, rate=0.5)
        assert jax.typeof(y).sharding.spec == jax.P(None, "d")
        np.testing.assert_array_equal(y, plain)
        batch = jax.device_put(x, jax.NamedSharding(mesh, jax.P("d")))
        with pytest.raises(ValueError, match=r"use jax\.shard_map"):
            jaxdrop.subset_stochastic_depth(key, jnp.negative, batch, rate=0.5)


def test_an_automatic_mesh_gathers_a_spread_batch(key):
    mesh = jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    x = jax.random.normal(key, (8, 16))
    run = jax.jit(
        lambda x: jaxdrop.subset_stochastic_depth(key, jnp.negative, x, rate=0.5)
    )
    batch = jax.device_put(x, jax.NamedSharding(mesh, jax.P("d")))
    np.testing.assert_array_equal(run(batch), run(x))
    program = run.lower(batch).compile().as_text()
    assert "all-reduce" in program or "all-gather" in program


def test_a_rate_that_drops_less_than_one_example_drops_none():
    x = jnp.ones((4, 3))
    y = jaxdrop.subset_stochastic_depth(None, lambda x: 2 * x, x, rate=0.1)
    np.testing.assert_array_equal(y, 2 * x)
