"""Prediction with models: Flax's two kinds, through their adapters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import jaxdrop
from at_once import at_once
from chance import normal
from jaxdrop import mc

predict = at_once(mc.predict)
CLASSES = 3


class Net(nnx.Module):
    """Normalization and dropout, with our module; fails on request."""

    def __init__(self, rngs, rate=0.5):
        self.hidden = nnx.Linear(4, 16, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.drop = jaxdrop.nnx.Dropout(rate, rngs=rngs)
        self.output = nnx.Linear(16, CLASSES, rngs=rngs)

    def __call__(self, x, fail=False):
        """The logits; with ``fail`` an error, after a key has been drawn."""
        h = self.drop(nnx.relu(self.norm(self.hidden(x))))
        if fail:
            raise RuntimeError("midway")
        return self.output(h)


class LinenNet(linen.Module):
    """The same network, with the same names."""

    rate: float = 0.5

    @linen.compact
    def __call__(self, x, train=False):
        """The logits."""
        h = linen.Dense(16, name="hidden")(x)
        h = linen.relu(linen.BatchNorm(use_running_average=not train, name="norm")(h))
        h = jaxdrop.linen.Dropout(self.rate, deterministic=not train)(h)
        return linen.Dense(CLASSES, name="output")(h)


@pytest.fixture
def x():
    return normal(6, 4)


@pytest.fixture
def model(x):
    """A network whose running averages have seen something."""
    net = Net(nnx.Rngs(0))
    see = nnx.jit(lambda net, x: net(x))
    for shift in np.float32(range(3)):
        see(net, 2 * np.asarray(x) + shift)
    net.eval()
    return net


def variables_of(model):
    """What Linen calls the state of the network."""
    params, stats = (
        nnx.to_pure_dict(nnx.state(model, kind)) for kind in (nnx.Param, nnx.BatchStat)
    )
    return {"params": params, "batch_stats": stats}


def everything_in(model):
    """Every array of a model, its keys and counts among them, as NumPy arrays."""
    is_key = lambda a: jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
    plain = lambda a: np.array(jax.random.key_data(a) if is_key(a) else a)
    return [plain(a) for a in jax.tree.leaves(nnx.state(model))]


def assert_same(before, after):
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def test_linen_and_nnx_say_the_same_of_one_network(model, x, key):
    count = 2048
    run = jax.jit(
        lambda apply, *args: mc.predict(
            apply, key, *args, num_samples=count, chunk_size=256
        ),
        static_argnums=0,
    )
    ours = run(jaxdrop.nnx.mc_apply, model, x)
    theirs = run(jaxdrop.linen.mc_apply(LinenNet()), variables_of(model), x)
    ours, theirs = jax.device_get((ours, theirs))
    assert (ours.stats["mean"] != theirs.stats["mean"]).any()  # their masks differ
    error = np.hypot(ours.stderr["mean"], theirs.stderr["mean"])
    assert (np.abs(ours.stats["mean"] - theirs.stats["mean"]) < 5 * error).all()
    # The logits are sums of 16 terms: nearly normal, and a variance is then known to
    # its share sqrt(2 / count); twice that allows for heavier tails.
    share = 2 * np.sqrt(2 / count) * np.sqrt(2)
    ratio = ours.stats["var"] / theirs.stats["var"]
    assert (np.abs(np.log(ratio)) < 5 * share).all()
    # Dropout scales while it trains: both means are near the pass without noise only
    # because the layer behind it is linear.
    scaled = np.asarray(nnx.jit(lambda model, x: model(x))(model, x))
    assert (np.abs(ours.stats["mean"] - scaled) < 5 * ours.stderr["mean"]).all()


def test_one_site_with_one_key_has_one_prediction_in_linen_and_nnx(x, key):
    """Where a key is given with the call, masks are equal, and so are statistics."""
    weights = np.cos(np.arange(x.shape[-1] * 5, dtype=np.float32)).reshape(-1, 5)
    of_nnx, of_linen = jaxdrop.nnx.Dropout(0.3), jaxdrop.linen.Dropout(0.3)
    calls = (
        lambda key, x: of_nnx(x, rngs=key) @ weights,
        lambda key, x: of_linen.apply({}, x, False, key) @ weights,
    )
    first, second = (
        jax.jit(
            lambda key, x, call=call: mc.predict(
                call, key, x, num_samples=40, chunk_size=7, reducers="classification"
            )
        )(key, x)
        for call in calls
    )
    for a, b in zip(
        jax.tree.leaves((first.stats, first.stderr)),
        jax.tree.leaves((second.stats, second.stderr)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("fail", [False, True])
def test_a_prediction_leaves_the_model_as_it_was(fail, model, x, key):
    model.train()
    before = everything_in(model)
    keys, count = model.drop.rngs, int(model.drop.rngs.count[...])
    apply = lambda key, model, x: jaxdrop.nnx.mc_apply(key, model, x, fail=fail)
    predict = lambda model: mc.predict(apply, key, model, x, num_samples=4)
    for run in (predict, jax.jit(predict), lambda model: apply(key, model, x)):
        if fail:
            with pytest.raises(RuntimeError, match="midway"):
                run(model)
        else:
            run(model)
        assert_same(before, everything_in(model))
        assert model.drop.rngs is keys and int(keys.count[...]) == count
        assert model.drop.deterministic is False
        assert model.norm.use_running_average is False


def test_linen_variables_stay_as_they_were(model, x, key):
    variables = variables_of(model)
    before = [np.array(a) for a in jax.tree.leaves(variables)]
    apply = jaxdrop.linen.mc_apply(LinenNet())
    predict(apply, key, variables, x, num_samples=4)
    assert_same(before, jax.tree.leaves(variables))


def test_samples_at_rate_0_are_the_pass_of_evaluation(model, x, key):
    """A rate that is a variable may be 0; batch statistics would give other outputs."""
    silent = Net(nnx.Rngs(1), rate=jaxdrop.nnx.Rate(jnp.float32(0)))
    nnx.update(silent, *nnx.state(model, nnx.Param, nnx.BatchStat))
    result = predict(
        jaxdrop.nnx.mc_apply, key, silent, x, num_samples=3, keep_samples=True
    )
    call = nnx.jit(lambda model, x: model(x))
    expected = np.asarray(call(model, x))
    for sample in np.asarray(result.samples):
        np.testing.assert_allclose(sample, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(result.stats["var"], 0, atol=1e-12)
    assert (np.abs(call(silent, x) - expected) > 1e-2).any()  # by batch statistics


def test_a_model_whose_rates_are_0_is_an_error(x, key):
    message = "no output depends on the key"
    silent = Net(nnx.Rngs(0), rate=0.0)
    with pytest.raises(ValueError, match=message):
        mc.predict(jaxdrop.nnx.mc_apply, key, silent, x, num_samples=2)
    apply = jaxdrop.linen.mc_apply(LinenNet(rate=0.0))
    with pytest.raises(ValueError, match=message):
        mc.predict(apply, key, variables_of(silent), x, num_samples=2)


def test_dropout_inside_attention_is_switched_on(key):
    x = normal(2, 5, 8)
    ours = nnx.MultiHeadAttention(
        2, 8, dropout_rate=0.5, decode=False, deterministic=True, rngs=nnx.Rngs(0)
    )
    module = linen.MultiHeadDotProductAttention(
        2, dropout_rate=0.5, deterministic=True, broadcast_dropout=False
    )
    variables = jax.jit(module.init)(jax.random.key(0), x)
    for apply, weights in (
        (jaxdrop.nnx.mc_apply, ours),
        (jaxdrop.linen.mc_apply(module), variables),
    ):
        result = predict(apply, key, weights, x, num_samples=16)
        assert (np.asarray(result.stats["var"]) > 0).all()


def test_a_compiled_predictor_sees_new_weights(x, key):
    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.sgd(0.5), wrt=nnx.Param)
    traces = []

    @jax.jit
    def mean_of(key, model, x):
        traces.append(None)
        stats = mc.predict(jaxdrop.nnx.mc_apply, key, model, x, num_samples=8).stats
        return stats["mean"]

    @nnx.jit
    def step(model, optimizer, x):
        grads = nnx.grad(lambda model: (model(x) ** 2).mean())(model)
        optimizer.update(model, grads)

    before = np.asarray(mean_of(key, model, x))
    step(model, optimizer, x)
    after = np.asarray(mean_of(key, model, x))
    assert len(traces) == 1
    expected = predict(jaxdrop.nnx.mc_apply, key, model, x, num_samples=8)
    np.testing.assert_allclose(after, expected.stats["mean"], rtol=1e-5, atol=1e-6)
    assert (np.abs(after - before) > 1e-3).any()


def test_shared_draws_give_equal_rows_equal_samples(model, x, key):
    doubled = np.concatenate([x, x])
    run = at_once(
        lambda apply, weights, draws: mc.samples(
            apply, key, weights, doubled, num_samples=5, draws=draws
        )
    )
    for apply, weights in (
        (jaxdrop.nnx.mc_apply, model),
        (jaxdrop.linen.mc_apply(LinenNet()), variables_of(model)),
    ):
        shared = np.asarray(run(apply, weights, "shared"))
        np.testing.assert_array_equal(shared[:, :6], shared[:, 6:])
        assert (shared[0] != shared[1]).any()
        independent = np.asarray(run(apply, weights, "independent"))
        assert (independent[:, :6] != independent[:, 6:]).any()
