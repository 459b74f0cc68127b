"""Layers with noisy weights: DropConnect, concrete and variational dropout."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from scipy import stats

import jaxdrop
from chance import assert_mean

REGULARIZERS = {"weight_regularizer": 1e-3, "dropout_regularizer": 1e-2}


@pytest.fixture
def x(key):
    return jax.random.normal(key, (6, 8))


def drop_connect(**options):
    return jaxdrop.nnx.DropConnectLinear(8, 4, 0.4, rngs=nnx.Rngs(0), **options)


def test_drop_connect_shares_a_mask_or_draws_one_for_each_example(key):
    ones = jnp.ones((6, 8))
    shared = drop_connect()(ones, rngs=key)
    assert (shared == shared[:1]).all()
    layer = drop_connect(per_example=True)
    y = layer(ones, rngs=key)
    assert len(np.unique(y, axis=0)) == 6
    kernels = jaxdrop.drop_connect(
        key, jnp.broadcast_to(layer.kernel[...], (6, 8, 4)), rate=0.4
    )
    np.testing.assert_allclose(y, kernels.sum(axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("per_example", [False, True])
def test_the_mean_over_masks_is_the_plain_layer(key, x, per_example):
    layer = drop_connect(per_example=per_example)
    draw = lambda key: layer(x, rngs=key)
    draws = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(key, 4096)))
    plain = x @ layer.kernel[...] + layer.bias[...][None]
    assert_mean(draws, plain)
    rows = (draws - np.asarray(plain))[:, :, 0]
    correlation = np.corrcoef(rows[:, 0], rows[:, 1])[0, 1] * np.sqrt(4096)
    assert (np.abs(correlation) < 5) == per_example


def test_evaluation_is_the_plain_layer_and_neither_draws_nor_tiles(x):
    for per_example in (False, True):
        layer = drop_connect(per_example=per_example, activation=nnx.relu)
        layer.eval()
        np.testing.assert_array_equal(
            layer(x), nnx.relu(x @ layer.kernel[...] + layer.bias[...][None])
        )
        assert layer.rngs.count[...] == 0
        program = str(jax.make_jaxpr(layer)(x))
        assert "6,8,4" not in program


def test_moments_give_the_expected_activation_over_masks(key):
    """In closed form for a ReLU, and by drawing masks, where means are off by far."""
    rate, width = 0.5, 400
    layer = jaxdrop.nnx.DropConnectLinear(
        width, 5, rate, activation=nnx.relu, evaluation="moments", rngs=nnx.Rngs(0)
    )
    x = jax.random.normal(key, (3, width))
    kernel = np.asarray(layer.kernel[...], np.float64)
    mean = np.asarray(x, np.float64) @ kernel
    deviation = np.sqrt(rate / (1 - rate) * np.square(x) @ np.square(kernel))
    ratio = mean / deviation
    expected = mean * stats.norm.cdf(ratio) + deviation * stats.norm.pdf(ratio)
    layer.eval()
    evaluated = np.asarray(layer(x))
    np.testing.assert_allclose(evaluated, expected, atol=0.012 * deviation.max())
    layer.train()
    draws = jax.jit(jax.vmap(lambda key: layer(x, rngs=key)))(
        jax.random.split(key, 2000)
    )
    error = 5 * draws.std(axis=0) / np.sqrt(2000) + 0.02 * deviation
    assert (np.abs(draws.mean(axis=0) - evaluated) < error).all()
    assert (np.abs(draws.mean(axis=0) - np.maximum(mean, 0)) > error).any()


def test_moments_are_exact_for_polynomials_and_at_the_limits(key, x):
    build = lambda activation: drop_connect(activation=activation, evaluation="moments")
    square = build(jnp.square)
    mean = x @ square.kernel[...] + square.bias[...][None]
    variance = 0.4 / 0.6 * jnp.square(x) @ jnp.square(square.kernel[...])
    run = lambda **knobs: square(x, deterministic=True, **knobs)
    np.testing.assert_allclose(run(), mean**2 + variance, rtol=1e-4)
    for rate in (0.0, jnp.float32(0.0), 1.0):
        np.testing.assert_allclose(run(rate=rate), mean**2, rtol=1e-5, atol=1e-6)
    assert np.isnan(run(rate=jnp.float32(1.5))).all()
    gradient = jax.grad(lambda x: square(x, deterministic=True).sum())
    assert np.isfinite(gradient(jnp.zeros((2, 8)))).all()
    traced = jax.jit(lambda flag: square(x, deterministic=flag, rngs=key))
    np.testing.assert_allclose(traced(True), run(), rtol=1e-5)
    trained = square(x, rngs=key)
    np.testing.assert_allclose(traced(False), trained, rtol=1e-5, atol=1e-6)


def test_linen_and_nnx_drop_connect_agree(key, x):
    options = {"activation": jnp.tanh, "per_example": True, "evaluation": "moments"}
    layer = drop_connect(**options)
    dense = jaxdrop.linen.DropConnectDense(4, 0.4, **options)
    params = {"kernel": layer.kernel[...], "bias": layer.bias[...]}
    run = lambda *mode: dense.apply({"params": params}, x, *mode)
    np.testing.assert_array_equal(run(False, key), layer(x, rngs=key))
    np.testing.assert_array_equal(run(True), layer(x, deterministic=True))


def test_half_precision_is_computed_in_and_masks_stay(key, x):
    layer = drop_connect(dtype=jnp.bfloat16, activation=nnx.relu, evaluation="moments")
    wide = drop_connect(activation=nnx.relu, evaluation="moments")
    for deterministic in (False, True):
        y = layer(x, rngs=key, deterministic=deterministic)
        assert y.dtype == jnp.bfloat16
        expected = wide(x, rngs=key, deterministic=deterministic)
        np.testing.assert_allclose(y.astype(jnp.float32), expected, atol=0.05)


def concrete(layer, **options):
    return jaxdrop.nnx.ConcreteDropout(
        layer, **REGULARIZERS, rngs=nnx.Rngs(dropout=0), **options
    )


def test_concrete_dropout_drops_the_input_and_prices_the_layer(x):
    linear = nnx.Linear(8, 4, rngs=nnx.Rngs(1))
    module = concrete(linear)
    assert float(module.rate) == pytest.approx(0.1)
    key = nnx.Rngs(dropout=0).dropout.fork()()
    dropped = jaxdrop.concrete_dropout(key, x, module.logit_rate[...])
    np.testing.assert_array_equal(module(x), linear(dropped))
    expected = jaxdrop.concrete_penalty(
        module.logit_rate[...], linear.kernel[...], **REGULARIZERS
    )
    np.testing.assert_array_equal(module.penalty(), expected)
    module.eval()
    np.testing.assert_array_equal(module(x), linear(x))
    for twin in (copy.deepcopy(module), nnx.clone(module)):
        np.testing.assert_array_equal(twin(x), linear(x))


def test_concrete_dropout_of_channels_counts_channels(key):
    conv = nnx.Conv(8, 4, (3, 3), rngs=nnx.Rngs(1))
    module = concrete(conv, temperature=2 / 3, broadcast_dims=(1, 2), init_rate=0.3)
    images = jnp.ones((2, 5, 5, 8))
    run = lambda images: module(images, rngs=key)
    assert jax.eval_shape(run, images).shape == (2, 5, 5, 4)
    program = str(jax.make_jaxpr(run)(images))
    assert "u32[2,1,1,8]" in program and "u32[2,5,5,8]" not in program
    expected = jaxdrop.concrete_penalty(
        module.logit_rate[...], conv.kernel[...], **REGULARIZERS, num_inputs=8
    )
    np.testing.assert_array_equal(module.penalty(), expected)


def test_concrete_dropout_learns_its_rate(x):
    module = concrete(nnx.Linear(8, 4, rngs=nnx.Rngs(1)))
    loss = lambda module: (module(x) ** 2).mean() + module.penalty()
    gradient = nnx.grad(loss)(module)
    assert gradient["logit_rate"][...] != 0
    assert (gradient["layer"]["kernel"][...] != 0).any()


def test_linen_concrete_dropout_sows_its_penalty(x, key):
    dense = nn.Dense(4)
    module = jaxdrop.linen.ConcreteDropout(dense, **REGULARIZERS)
    variables = module.init({"params": key, "dropout": key}, x, False)
    assert set(variables) == {"params"}
    params = variables["params"]
    y, sown = module.apply(variables, x, False, key, mutable="penalties")
    dropped = jaxdrop.concrete_dropout(key, x, params["logit_rate"])
    np.testing.assert_array_equal(y, dense.apply({"params": params["layer"]}, dropped))
    expected = jaxdrop.concrete_penalty(
        params["logit_rate"], params["layer"], **REGULARIZERS
    )
    assert jax.tree.leaves(sown) == [expected]
    assert module.apply(variables, method="penalty") == expected
    plain = dense.apply({"params": params["layer"]}, x)
    np.testing.assert_array_equal(module.apply(variables, x, True), plain)


def test_the_prices_may_be_traced(x, key):
    """As in a sweep over strengths, compiled once."""

    def in_nnx(price):
        prices = {"weight_regularizer": price, "dropout_regularizer": 2 * price}
        layer = nnx.Linear(8, 4, rngs=nnx.Rngs(0))
        return jaxdrop.nnx.ConcreteDropout(layer, **prices).penalty()

    def in_linen(price):
        prices = {"weight_regularizer": price, "dropout_regularizer": 2 * price}
        module = jaxdrop.linen.ConcreteDropout(nn.Dense(4), **prices)
        variables = module.init(key, x, True)
        sown = module.apply(variables, x, True, mutable="penalties")[1]
        return sown["penalties"]["value"]

    strengths = jnp.array([1e-3, 1e-1])
    for penalty in (in_nnx, in_linen):
        expected = [penalty(float(price)) for price in strengths]
        np.testing.assert_allclose(
            jax.jit(jax.vmap(penalty))(strengths), expected, rtol=1e-5
        )
        assert np.isfinite(jax.grad(penalty)(0.1))


def test_a_price_in_a_variable_changes_without_recompiling():
    price = nnx.Variable(jnp.float32(0.0))
    module = jaxdrop.nnx.ConcreteDropout(
        nnx.Linear(8, 4, rngs=nnx.Rngs(1)),
        weight_regularizer=price,
        dropout_regularizer=0.0,
    )
    traces = []

    @nnx.jit
    def penalty(module):
        traces.append(1)
        return module.penalty()

    assert penalty(module) == 0
    price[...] = jnp.float32(1.0)
    assert penalty(module) > 0 and len(traces) == 1
    gradient = nnx.grad(lambda module: module.penalty())(module)
    assert set(gradient) == {"layer", "logit_rate"}


def test_a_layer_that_is_called_twice_has_one_price(x, key):
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            layer = jaxdrop.linen.VariationalDense(8, deterministic=True)
            return layer(layer(x))

    variables = Twice().init(key, x)
    _, sown = Twice().apply(variables, x, mutable="penalties")
    (penalty,) = jax.tree.leaves(sown)
    params = variables["params"]["VariationalDense_0"]
    np.testing.assert_array_equal(
        penalty,
        jaxdrop.variational_penalty(params["kernel"], params["kernel_log_variance"]),
    )


def test_variational_layers_compute_the_function_and_agree(x, key):
    layer = jaxdrop.nnx.VariationalLinear(
        8, 4, log_variance_init=-2.0, threshold=0.5, rngs=nnx.Rngs(1)
    )
    layer.bias[...] = jnp.arange(4.0)
    params = {name: getattr(layer, name)[...] for name in ("kernel", "bias")}
    params["kernel_log_variance"] = layer.kernel_log_variance[...]
    dense = jaxdrop.linen.VariationalDense(4, log_variance_init=-2.0, threshold=0.5)
    assert jax.tree.map(jnp.shape, dense.init(key, x, True)["params"]) == jax.tree.map(
        jnp.shape, params
    )
    weights = params["kernel"], params["kernel_log_variance"]
    for mode in (False, True):
        expected = jaxdrop.variational_dense(
            key, x, *weights, threshold=0.5, deterministic=mode
        )
        y = layer(x, rngs=key, deterministic=mode)
        np.testing.assert_array_equal(y, expected + params["bias"][None])
        np.testing.assert_array_equal(dense.apply({"params": params}, x, mode, key), y)
    _, sown = dense.apply({"params": params}, x, True, mutable="penalties")
    for penalty in (layer.penalty(), *jax.tree.leaves(sown)):
        np.testing.assert_array_equal(penalty, jaxdrop.variational_penalty(*weights))
    assert 0 < float(layer.sparsity()) < 1
    assert dense.apply({"params": params}, method="sparsity") == layer.sparsity()


CONVOLUTION = {"strides": 2, "padding": "VALID", "feature_group_count": 2}


@pytest.fixture
def images(key):
    return jax.random.normal(key, (3, 9, 7, 4))


def test_drop_connect_convolutions_agree_with_flax_and_each_other(images, key):
    layer = jaxdrop.nnx.DropConnectConv(
        4, 6, (3, 2), 0.4, **CONVOLUTION, rngs=nnx.Rngs(1)
    )
    params = {"kernel": layer.kernel[...], "bias": jnp.arange(6.0)}
    layer.bias[...] = params["bias"]
    dense = jaxdrop.linen.DropConnectConv(6, (3, 2), 0.4, **CONVOLUTION)
    shapes = jax.tree.map(jnp.shape, dense.init(key, images, True)["params"])
    assert shapes == jax.tree.map(jnp.shape, params)
    plain = nn.Conv(6, (3, 2), **CONVOLUTION)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    for mode in (True, False):
        kernel = jaxdrop.drop_connect(
            key, params["kernel"], rate=0.4, deterministic=mode
        )
        expected = plain.apply({"params": {**params, "kernel": kernel}}, images)
        close(layer(images, rngs=key, deterministic=mode), expected)
        close(dense.apply({"params": params}, images, mode, key), expected)


DILATED = {"kernel_dilation": 2, "padding": "VALID"}
UPSAMPLED = {"input_dilation": 2, "padding": 1, "use_bias": False}


@pytest.mark.parametrize("options", [DILATED, UPSAMPLED, {"padding": "CIRCULAR"}])
def test_convolutions_take_every_option_of_flax(options, images, key):
    """In evaluation all of them are Flax's own layer, with the same parameters."""
    plain = nn.Conv(6, (3, 2), **options)
    variables = plain.init(key, images)
    expected = plain.apply(variables, images)
    close = lambda a: np.testing.assert_allclose(a, expected, rtol=1e-5, atol=1e-5)
    params = variables["params"]
    for ours, args in (("DropConnectConv", (0.4,)), ("VariationalConv", ())):
        of_linen = getattr(jaxdrop.linen, ours)(6, (3, 2), *args, **options)
        own = of_linen.init(key, images, True)["params"]
        close(of_linen.apply({"params": {**own, **params}}, images, True))
        of_nnx = getattr(jaxdrop.nnx, ours)(
            4, 6, (3, 2), *args, **options, rngs=nnx.Rngs(0)
        )
        of_nnx.kernel[...] = params["kernel"]
        if "bias" in params:
            of_nnx.bias[...] = params["bias"]
        close(of_nnx(images, deterministic=True))


def test_convolutions_in_half_precision_are_flaxs(images, key):
    """Parameters stay in float32, and are cast where they are used, the bias too."""
    plain = nn.Conv(6, (3, 2), dtype=jnp.bfloat16)
    params = plain.init(key, images)["params"] | {"bias": jnp.linspace(0.1, 0.7, 6)}
    expected = plain.apply({"params": params}, images)
    for ours, args in (("DropConnectConv", (0.0,)), ("VariationalConv", ())):
        layer = getattr(jaxdrop.nnx, ours)(
            4, 6, (3, 2), *args, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)
        )
        layer.kernel[...], layer.bias[...] = params["kernel"], params["bias"]
        dense = getattr(jaxdrop.linen, ours)(6, (3, 2), *args, dtype=jnp.bfloat16)
        own = dense.init(key, images, True)["params"] | params
        trained = (
            layer(images, rngs=key),
            dense.apply({"params": own}, images, False, key),
        )
        evaluated = layer(images, deterministic=True)
        for y in (*trained, evaluated, dense.apply({"params": own}, images, True)):
            assert y.dtype == jnp.bfloat16
        np.testing.assert_array_equal(evaluated, expected)


def test_convolutions_draw_for_each_example_and_match_moments(images, key):
    layer = jaxdrop.nnx.DropConnectConv(
        4,
        6,
        (3, 2),
        0.4,
        activation=jnp.square,
        per_example=True,
        evaluation="moments",
        rngs=nnx.Rngs(1),
    )
    alike = jnp.tile(images[:1], (3, 1, 1, 1))
    y = layer(alike, rngs=key)
    assert (y[0] != y[1]).any() and (y[1] != y[2]).any()
    draw = jax.jit(jax.vmap(lambda key: layer(images[:1], rngs=key)))
    draws = draw(jax.random.split(key, 4096))
    assert_mean(draws, layer(images[:1], deterministic=True))


def test_variational_convolutions_have_the_moments_of_their_weights(images, key):
    layer = jaxdrop.nnx.VariationalConv(
        4,
        6,
        (3, 2),
        log_variance_init=-2.0,
        threshold=0.5,
        **CONVOLUTION,
        rngs=nnx.Rngs(1),
    )
    mean, log_variance = layer.kernel[...], layer.kernel_log_variance[...]
    plain = nn.Conv(6, (3, 2), use_bias=False, **CONVOLUTION)
    convolve = lambda x, kernel: plain.apply({"params": {"kernel": kernel}}, x)
    draws = jax.vmap(lambda key: layer(images, rngs=key))(jax.random.split(key, 2048))
    center = convolve(images, mean)
    assert_mean(draws, center)
    squares = (np.asarray(draws) - np.asarray(center)) ** 2
    assert_mean(squares, convolve(images**2, jnp.exp(log_variance)), sigmas=6)
    alpha = log_variance - 2 * jnp.log(jnp.abs(mean))
    pruned = convolve(images, jnp.where(alpha < 0.5, mean, 0))
    evaluated = layer(images, deterministic=True)
    np.testing.assert_allclose(evaluated, pruned, rtol=1e-4, atol=1e-5)
    assert float(layer.sparsity()) == pytest.approx(float((alpha >= 0.5).mean()))
    params = {
        "kernel": mean,
        "kernel_log_variance": log_variance,
        "bias": layer.bias[...],
    }
    dense = jaxdrop.linen.VariationalConv(6, (3, 2), threshold=0.5, **CONVOLUTION)
    y, sown = dense.apply({"params": params}, images, False, key, mutable="penalties")
    np.testing.assert_allclose(y, layer(images, rngs=key), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(jax.tree.leaves(sown)[0], layer.penalty())


@pytest.mark.parametrize("per_example", [False, True])
def test_l0_layers_gate_their_inputs_and_count_weights(x, key, per_example):
    layer = jaxdrop.nnx.L0Linear(8, 4, per_example=per_example, rngs=nnx.Rngs(1))
    dense = jaxdrop.linen.L0Dense(4, per_example=per_example)
    params = {
        name: getattr(layer, name)[...] for name in ("kernel", "bias", "log_alpha")
    }
    assert np.abs(params["log_alpha"]).max() < 0.1  # around init_rate=0.5
    shapes = jax.tree.map(jnp.shape, dense.init(key, x, True)["params"])
    assert shapes == jax.tree.map(jnp.shape, params)
    log_alpha = params["log_alpha"][None]
    drawn = jnp.broadcast_to(log_alpha, x.shape) if per_example else log_alpha
    gates = jaxdrop.hard_concrete(key, drawn)
    expected = (x * gates) @ params["kernel"]
    y = layer(x, rngs=key)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(dense.apply({"params": params}, x, False, key), y)
    _, sown = dense.apply({"params": params}, x, True, mutable="penalties")
    for penalty in (layer.penalty(), *jax.tree.leaves(sown)):
        np.testing.assert_allclose(
            penalty, 4 * jaxdrop.hard_concrete_penalty(log_alpha), rtol=1e-6
        )


def test_closed_inputs_are_left_out_in_evaluation(x):
    layer = jaxdrop.nnx.L0Linear(8, 4, rngs=nnx.Rngs(1))
    layer.log_alpha[...] = jnp.array([-9.0] * 6 + [9.0] * 2)
    layer.eval()
    unheard = x.at[:, :6].set(jnp.nan)
    expected = x[:, 6:] @ layer.kernel[...][6:]
    np.testing.assert_allclose(layer(unheard), expected, rtol=1e-5, atol=1e-6)
    assert float(layer.sparsity()) == 0.75
    dense = jaxdrop.linen.L0Dense(4)
    params = {"kernel": layer.kernel[...], "log_alpha": layer.log_alpha[...]}
    assert float(dense.apply({"params": params}, method="sparsity")) == 0.75


def test_penalties_of_a_model_are_summed_over_its_modules(x):
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(
        jaxdrop.nnx.VariationalLinear(8, 4, rngs=rngs),
        nnx.relu,
        jaxdrop.nnx.VariationalLinear(4, 2, rngs=rngs),
    )
    kind = jaxdrop.nnx.VariationalLinear
    total = lambda model: sum(
        module.penalty()
        for _, module in nnx.iter_modules(model)
        if isinstance(module, kind)
    )
    expected = model.layers[0].penalty() + model.layers[2].penalty()
    np.testing.assert_allclose(total(model), expected, rtol=1e-6)
    gradient = nnx.grad(total)(model)
    assert (gradient["layers"][2]["kernel_log_variance"][...] < 0).all()


def test_nnx_layers_follow_the_mode_of_their_model(x):
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(
        concrete(nnx.Linear(8, 8, rngs=rngs)),
        jaxdrop.nnx.VariationalLinear(8, 8, log_variance_init=0.0, rngs=rngs),
        jaxdrop.nnx.DropConnectLinear(8, 4, 0.5, rngs=rngs),
    )
    assert (model(x) != model(x)).any()
    view = nnx.view(model, deterministic=True)
    np.testing.assert_array_equal(view(x), view(x))
    model.eval()
    np.testing.assert_array_equal(model(x), view(x))
    model.train()
    assert (model(x) != view(x)).any()
    twin = pickle.loads(pickle.dumps(drop_connect()))
    np.testing.assert_array_equal(twin(x), drop_connect()(x))


def test_errors_say_what_is_wrong(x, key):
    with pytest.raises(TypeError, match=r"layer must be a module .* got function"):
        concrete(lambda x: x).penalty()
    with pytest.raises(TypeError, match=r"layer must be a module .* got function"):
        jaxdrop.linen.ConcreteDropout(lambda x: x, **REGULARIZERS).apply(
            {"params": {"logit_rate": jnp.float32(0)}}, x, True, mutable="penalties"
        )
    with pytest.raises(ValueError, match=r"per_example needs .* got shape \(8,\)"):
        drop_connect(per_example=True)(jnp.ones(8))
    with pytest.raises(ValueError, match="per_example needs inputs with 4 axes"):
        jaxdrop.nnx.DropConnectConv(
            2, 3, (3, 3), 0.5, per_example=True, rngs=nnx.Rngs(0)
        )(jnp.ones((5, 5, 2)))
    with pytest.raises(ValueError, match="init_rate must be between 0 and 1"):
        concrete(nnx.Linear(8, 4, rngs=nnx.Rngs(0)), init_rate=0.0)
    with pytest.raises(ValueError, match='evaluation="moments" needs the activation'):
        drop_connect(evaluation="moments")
    with pytest.raises(ValueError, match="evaluation must be one of"):
        jaxdrop.linen.DropConnectDense(4, 0.5, evaluation="median")
    with pytest.raises(TypeError, match=r"VariationalLinear: rngs must be nnx\.Rngs"):
        jaxdrop.nnx.VariationalLinear(8, 4)
    with pytest.raises(ValueError, match="VariationalLinear: there are no keys"):
        layer = jaxdrop.nnx.VariationalLinear(8, 4, rngs=nnx.Rngs(0))
        layer.rngs = nnx.data(None)
        layer(jnp.ones((2, 8)))
