"""One stochastic pass of an NNX model: what drops is on, what normalizes is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop
from chance import assert_uncorrelated, normal
from specimens import NNX


class Net(nnx.Module):
    """Flax's dropout, ours, attention and normalization in one model."""

    def __init__(self, rngs: nnx.Rngs):
        self.linear = nnx.Linear(6, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.theirs = nnx.Dropout(0.5, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            2, 8, dropout_rate=0.5, decode=False, rngs=rngs
        )
        self.ours = jaxdrop.nnx.Dropout(0.5)  # without keys of its own

    def __call__(self, x):
        """From (batch, time, 6) to (batch, time, 8)."""
        x = self.theirs(self.norm(self.linear(x)))
        return self.ours(x + self.attention(x))


@pytest.fixture
def x():
    return normal(3, 4, 6, seed=1)


def raw(model) -> list:
    state = nnx.state(model)
    unwrap = lambda a: (
        jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a
    )
    return [np.asarray(unwrap(a)) for a in jax.tree.leaves(state)]


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_nnx_passes_depend_on_the_key_alone(x, key, mode):
    model = Net(nnx.Rngs(0))
    getattr(model, mode)()
    one = jaxdrop.nnx.mc_apply(key, model, x)
    np.testing.assert_array_equal(jaxdrop.nnx.mc_apply(key, model, x), one)
    other = jaxdrop.nnx.mc_apply(jax.random.key(2), model, x)
    assert (one != other).any()
    jitted = jax.jit(jaxdrop.nnx.mc_apply)(key, model, x)
    np.testing.assert_allclose(jitted, one, rtol=1e-5, atol=1e-6)


def test_nnx_passes_do_not_depend_on_draws_before(x, key):
    """Counts of draws restart: a model that has trained predicts what its twin does."""
    model = Net(nnx.Rngs(0))
    model.eval()
    before = jaxdrop.nnx.mc_apply(key, model, x)
    for drop in (model.theirs, model.attention):
        drop.rngs.count[...] += 3
    np.testing.assert_array_equal(jaxdrop.nnx.mc_apply(key, model, x), before)


def test_nnx_sites_of_one_pass_draw_apart(key):
    class Twins(nnx.Module):
        def __init__(self):
            self.first, self.second = (jaxdrop.nnx.Dropout(0.5) for _ in range(2))
            self.third = nnx.Dropout(0.5, rngs=nnx.Rngs(0))
            self.fourth = nnx.Dropout(0.5, rngs=nnx.Rngs(0))

        def __call__(self, x):
            layers = (self.first, self.second, self.third, self.fourth)
            return jnp.stack([layer(x) for layer in layers])

    kept = np.asarray(jaxdrop.nnx.mc_apply(key, Twins(), jnp.ones(2000)) != 0)
    for i in range(4):
        for j in range(i):
            assert_uncorrelated(kept[i], kept[j])


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_nnx_leaves_the_model_as_it_was(x, key, mode):
    model = Net(nnx.Rngs(0))
    getattr(model, mode)()
    before, flags = raw(model), model.theirs.deterministic
    jaxdrop.nnx.mc_apply(key, model, x)
    for a, b in zip(before, raw(model), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.theirs.deterministic is flags
    assert model.ours.rngs is None
    assert model.norm.use_running_average is (mode == "eval")


def test_nnx_switches_on_every_site_and_no_normalisation(x, key):
    rate = {"theirs": 0.0, "attention": 0.0, "ours": 0.0}
    model = Net(nnx.Rngs(0))

    def passes(on):
        model.theirs.rate = 0.5 if on == "theirs" else 0.0
        model.attention.dropout_rate = 0.5 if on == "attention" else 0.0
        model.ours.rate = 0.5 if on == "ours" else 0.0
        return [jaxdrop.nnx.mc_apply(jax.random.key(i), model, x) for i in range(2)]

    for site in rate:
        first, second = passes(site)
        assert (first != second).any(), site
    first, second = passes(None)
    np.testing.assert_array_equal(first, second)
    model.eval()
    np.testing.assert_allclose(first, model(x), rtol=1e-6)
    alone = jaxdrop.nnx.mc_apply(key, model, x[:1])
    np.testing.assert_allclose(alone[0], first[0], rtol=1e-5, atol=1e-6)


def test_nnx_refuses_a_pass_that_changes_statistics(x, key):
    class Stubborn(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(6, rngs=rngs)
            self.drop = jaxdrop.nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.drop(self.norm(x, use_running_average=False))

    for run in (jaxdrop.nnx.mc_apply, jax.jit(jaxdrop.nnx.mc_apply)):
        with pytest.raises(
            ValueError, match=r"changed norm/mean.*normalization.*at test_mc.py:\d+"
        ):
            run(key, Stubborn(nnx.Rngs(0)), x)


class Counting(nnx.Module):
    """A statistic of its own, changed in every call, and dropout."""

    def __init__(self):
        self.mean = nnx.BatchStat(jnp.zeros(6))
        self.drop = jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0))

    def __call__(self, x):
        """Any shape with 6 features."""
        self.mean[...] = 0.9 * self.mean[...] + 0.1 * x.mean((0, 1))
        return self.drop(x - self.mean[None, None])


class CountingInJit(Counting):
    """The same behind a transformation."""

    __call__ = nnx.jit(Counting.__call__)


@pytest.mark.parametrize("model", [Counting, CountingInJit])
def test_nnx_refuses_a_pass_that_changes_another_statistic(model, x, key):
    for run in (jaxdrop.nnx.mc_apply, jax.jit(jaxdrop.nnx.mc_apply)):
        with pytest.raises(ValueError, match=r"changed mean of.*normalization"):
            run(key, model(), x)


class Told(nnx.Module):
    """A model that passes its mode on to its layers, as those in Linen do."""

    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(6, rngs=rngs)
        self.theirs = nnx.Dropout(0.5, rngs=rngs)
        self.ours = jaxdrop.nnx.SpatialDropout(0.5, num_spatial_dims=1, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            2, 6, dropout_rate=0.5, decode=False, rngs=rngs
        )

    def __call__(self, x, on, train):
        """From (batch, time, 6) to the same; ``on`` names the layers that are run."""
        x = self.norm(x, use_running_average=not train)
        if "theirs" in on:
            x = self.theirs(x, deterministic=not train)
        if "ours" in on:
            x = self.ours(x, deterministic=not train)
        if "attention" in on:
            x = self.attention(x, deterministic=not train)
        return x


@pytest.mark.parametrize("on", ["theirs", "ours", "attention"])
def test_nnx_overrides_what_the_model_passes_to_its_layers(on, x, key):
    model = Told(nnx.Rngs(0))
    one, other = (
        jaxdrop.nnx.mc_apply(jax.random.key(i), model, x, on, train=False)
        for i in range(2)
    )
    assert (one != other).any()
    with pytest.raises(ValueError, match=r"at test_mc.py:\d+.*train=False"):
        jaxdrop.nnx.mc_apply(key, model, x, on, train=True)
    nothing = jaxdrop.nnx.mc_apply(key, model, x, "", train=False)
    model.eval()
    np.testing.assert_allclose(nothing, model(x, "", False), rtol=1e-6)


class Block(nnx.Module):
    """A layer with statistics, a mask and a weight."""

    def __init__(self, rngs):
        self.linear = nnx.Linear(6, 6, rngs=rngs)
        self.norm = nnx.BatchNorm(6, rngs=rngs)
        self.drop = jaxdrop.nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        """Any shape with 6 features."""
        return self.drop(self.norm(self.linear(x)))


class Lifted(nnx.Module):
    """Blocks under one of Flax's transformations."""

    def __init__(self, name):
        self.name = name
        if name == "scan":
            make = nnx.vmap(Block, in_axes=(0,), out_axes=0)
            self.block = make(nnx.Rngs(0).split(2))
        else:
            self.block = Block(nnx.Rngs(0))

    def __call__(self, x):
        """Any shape with 6 features."""
        call = lambda block, x: block(x)
        if self.name == "scan":
            axes = {"in_axes": (0, nnx.Carry), "out_axes": nnx.Carry}
            return nnx.scan(call, **axes)(self.block, x)
        if self.name == "cond":
            return nnx.cond(x.sum() > 0, call, call, self.block, x)
        return {"jit": nnx.jit, "remat": nnx.remat}[self.name](call)(self.block, x)


@pytest.mark.parametrize("name", ["jit", "remat", "scan", "cond"])
def test_nnx_models_with_transformations_inside_change_nothing(name, x, key):
    model = Lifted(name)
    y = jaxdrop.nnx.mc_apply(key, model, x)
    assert (y != jaxdrop.nnx.mc_apply(jax.random.key(5), model, x)).any()
    run = lambda key, x: jaxdrop.nnx.mc_apply(key, model, x)
    stats = jaxdrop.mc.predict(run, key, x, num_samples=4).stats
    assert (stats["var"] > 0).any()


def test_nnx_stacked_layers_draw_apart(key):
    @nnx.vmap
    def make(rngs):
        return jaxdrop.nnx.Dropout(0.5, rngs=rngs)

    class Stack(nnx.Module):
        def __init__(self):
            self.layers = make(nnx.Rngs(0).split(3))

        def __call__(self, x):
            return nnx.vmap(lambda layer, x: layer(x), in_axes=(0, None))(
                self.layers, x
            )

    rows = jaxdrop.nnx.mc_apply(key, Stack(), jnp.ones(50))
    assert len(np.unique(np.asarray(rows), axis=0)) == 3


def test_nnx_samples_have_the_moments_of_dropout(key):
    model = jaxdrop.nnx.Dropout(0.5)
    keys = jax.random.split(key, 4096)
    samples = jax.vmap(jaxdrop.nnx.mc_apply, (0, None, None))(keys, model, jnp.ones(3))
    np.testing.assert_allclose(samples.mean(0), 1, atol=5 / 64)


@pytest.mark.parametrize("name", [name for name, s in NNX.items() if s.draws])
def test_nnx_switches_on_every_module(name, key):
    specimen = NNX[name]
    model = specimen.make(rngs=nnx.Rngs(0))
    model.eval()
    first, again, other = (
        jax.tree.leaves(jaxdrop.nnx.mc_apply(k, model, *specimen.data))
        for k in (key, key, jax.random.key(3))
    )
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0] != other[0]).any()
