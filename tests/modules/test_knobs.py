"""Knobs and names: every way to set them works, or the error says what does."""

import inspect

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxdrop
import specimens

X = jnp.ones((4, 6))
PRICES = {"weight_regularizer": 1e-3, "dropout_regularizer": 1e-2}


def by_pure_dict(module, number):
    state = nnx.state(module)
    nnx.replace_by_pure_dict(state, {"rate": number})
    nnx.update(module, state)


WAYS = {
    "index": lambda module, number: module.rate.__setitem__(..., number),
    "set_value": lambda module, number: module.rate.set_value(number),
    "value": lambda module, number: setattr(module.rate, "value", number),
    "raw": lambda module, number: module.rate.set_raw_value(number),
    "update": lambda module, number: nnx.update(module, nnx.State({"rate": number})),
    "pure dict": by_pure_dict,
}
RATED = {
    "Dropout": lambda rate: jaxdrop.nnx.Dropout(rate),
    "StochasticDepth": lambda rate: jaxdrop.nnx.StochasticDepth(rate),
    "DropConnectLinear": lambda rate: jaxdrop.nnx.DropConnectLinear(
        6, 5, rate, rngs=nnx.Rngs(0)
    ),
}


@pytest.mark.filterwarnings("ignore:'.value' setter:DeprecationWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("variable", [jaxdrop.nnx.Rate, nnx.Variable])
def test_a_shared_rate_is_set_in_any_way(way, variable):
    if variable is nnx.Variable and way == "index":
        pytest.skip("a variable that holds a number has no entries to set")
    key = jax.random.key(0)
    for name, make in RATED.items():
        start = 0.5 if variable is jaxdrop.nnx.Rate else jnp.float32(0.5)
        module = make(variable(start))
        WAYS[way](module, 0.25)
        fixed = make(0.25)
        expected = fixed(X, rngs=key)
        np.testing.assert_allclose(module(X, rngs=key), expected, rtol=1e-6)
        compiled = nnx.jit(lambda m, k: m(X, rngs=k))(module, key)
        np.testing.assert_allclose(compiled, expected, rtol=1e-5, err_msg=name)


@pytest.mark.filterwarnings("ignore:'.value' setter:DeprecationWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [1.5, -0.25, float("nan")])
def test_a_number_that_is_no_probability_is_refused(way, number):
    module = jaxdrop.nnx.Dropout(jaxdrop.nnx.Rate(0.5))
    with pytest.raises(ValueError, match=r"rate is the probability .* got"):
        WAYS[way](module, number)
        module(X, rngs=jax.random.key(0))


def test_the_rates_of_cells_are_set_in_any_way():
    rate, key = jaxdrop.nnx.Rate(0.5), jax.random.key(1)
    x = jnp.ones((2, 3, 6))
    cell = jaxdrop.nnx.VariationalCell(
        nnx.SimpleCell(6, 5, rngs=nnx.Rngs(0)), input_rate=rate, state_rate=rate
    )
    fixed = jaxdrop.nnx.VariationalCell(cell.cell, input_rate=0.25, state_rate=0.25)
    nnx.update(cell, nnx.State({"input_rate": 0.25, "state_rate": 0.25}))
    np.testing.assert_allclose(
        nnx.RNN(cell)(x, rngs=key), nnx.RNN(fixed)(x, rngs=key), rtol=1e-5
    )
    cell.state_rate.set_raw_value(2.0)
    with pytest.raises(ValueError, match=r"VariationalCell: \w+_rate .* got 2"):
        nnx.RNN(cell)(x, rngs=key)


def test_other_knobs_may_be_variables_that_hold_numbers():
    make = lambda price, temperature: jaxdrop.nnx.ConcreteDropout(
        nnx.Linear(6, 5, rngs=nnx.Rngs(0)),
        weight_regularizer=price,
        dropout_regularizer=price,
        temperature=temperature,
    )
    fixed, key = make(2e-3, 0.2), jax.random.key(0)
    for number in (2e-3, np.float32(2e-3)):
        knob = nnx.Variable(jnp.float32(1.0))
        module = make(knob, nnx.Variable(0.2))
        nnx.update(module, nnx.State({"weight_regularizer": number}))
        np.testing.assert_allclose(module.penalty(), fixed.penalty(), rtol=1e-5)
        np.testing.assert_allclose(module(X, rngs=key), fixed(X, rngs=key), rtol=1e-5)
    layer = jaxdrop.nnx.VariationalLinear(
        6, 5, threshold=nnx.Variable(-30.0), rngs=nnx.Rngs(0)
    )
    assert layer.sparsity() == 1
    assert not layer(X, deterministic=True).any()


@pytest.mark.parametrize("kind", [ml_dtypes.bfloat16, np.float16, np.float64])
def test_rates_of_any_scalar_type_are_numbers(kind):
    rate, key = kind(0.25), jax.random.key(0)
    expected = jaxdrop.dropout(key, X, rate=0.25)
    linen = jaxdrop.linen.Dropout(rate, deterministic=False)
    for y in (
        jaxdrop.nnx.Dropout(rate)(X, rngs=key),
        jaxdrop.nnx.Dropout(0.5)(X, rngs=key, rate=rate),
        jaxdrop.nnx.Dropout(jaxdrop.nnx.Rate(rate))(X, rngs=key),
        linen.apply({}, X, rng=key),
        jaxdrop.linen.Dropout(0.5).apply({}, X, False, key, rate=rate),
    ):
        np.testing.assert_allclose(y, expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"got 1\.5"):
        jaxdrop.linen.Dropout(kind(1.5))
    with pytest.raises(ValueError, match=r"got 1\.5"):
        jaxdrop.nnx.Dropout(kind(1.5))
    cell = jaxdrop.linen.ZoneoutCell(nn.GRUCell(3), state_rate=rate)
    assert cell.state_rate == 0.25


def test_static_knobs_may_be_lists_and_integer_arrays():
    x, key = jnp.ones((2, 6, 6, 3)), jax.random.key(0)
    expected = jaxdrop.drop_block(key, x, rate=0.3, block_size=(2, 3))
    for size in ([2, 3], np.array([2, 3])):
        module = jaxdrop.nnx.DropBlock(0.3, block_size=size)
        np.testing.assert_array_equal(module(x, rngs=key), expected)
        assert nnx.jit(lambda m: m(x, rngs=key))(module).shape == x.shape
        linen = jaxdrop.linen.DropBlock(0.3, block_size=size)
        np.testing.assert_array_equal(linen.apply({}, x, False, key), expected)
        assert hash(linen) == hash(jaxdrop.linen.DropBlock(0.3, block_size=(2, 3)))
    shared = jaxdrop.nnx.Dropout(0.5, broadcast_dims=np.array([0]))
    assert shared.broadcast_dims == (0,)
    concrete = jaxdrop.nnx.ConcreteDropout(len, **PRICES, broadcast_dims=[1])
    assert concrete.broadcast_dims == (1,)


CELLS = {"RecurrentDropoutLSTMCell", "VariationalCell", "ZoneoutCell"}
"""Specimens inside nnx.RNN, of which Flax itself cannot make a table."""


@pytest.mark.parametrize("name", sorted(specimens.NNX.keys() - CELLS))
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_table_of_a_module_can_be_made(name, deterministic):
    specimen = specimens.NNX[name]
    module = specimen.make(deterministic=deterministic, rngs=nnx.Rngs(0))
    table = nnx.tabulate(module, *specimen.data)
    assert type(module).__name__ in table


def test_a_table_of_a_module_of_ones_own_can_be_made():
    class Halve(jaxdrop.nnx.DropoutModule):
        def _regularize(self, key, x, rate, deterministic):
            return x if deterministic else x / 2

    module = Halve(0.5, deterministic=True)
    assert "Halve" in nnx.tabulate(module, X)
    assert module(X) is X
    assert (module(X, deterministic=False, rngs=jax.random.key(0)) == 0.5).all()


def test_signatures_show_every_keyword():
    for name in jaxdrop.nnx.__all__:
        cls = getattr(jaxdrop.nnx, name)
        if not inspect.isclass(cls) or not issubclass(
            cls, jaxdrop.nnx.StochasticModule
        ):
            continue
        parameters = inspect.signature(cls).parameters
        assert {"deterministic", "rng_collection", "rngs"} <= set(parameters), name
        assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values()), name
    conv = inspect.signature(jaxdrop.nnx.DropConnectConv).parameters
    assert conv["padding"].default == "SAME" and conv["use_bias"].default is True


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: jaxdrop.nnx.Dropout(p=0.5), "'p' is not an argument.*rate="),
        (
            lambda: jaxdrop.linen.Dropout(keep_prob=0.5),
            "keep_prob.*rate=.*1 - keep",
        ),
        (lambda: jaxdrop.nnx.DropBlock(0.1, training=True), "deterministic="),
        (lambda: jaxdrop.linen.SpatialDropout(0.1, train=True), "deterministic="),
        (lambda: jaxdrop.nnx.DropBlock(0.1, block_sze=3), "block_sze .*block_size"),
        (lambda: jaxdrop.nnx.Dropout(nnx.Rngs(0)), r"rate must be a number.*rngs=nnx"),
        (
            lambda: jaxdrop.nnx.ZoneoutCell(None, state_rate=nnx.Rngs(0)),
            "state_rate must be a number, got Rngs",
        ),
    ],
)
def test_keywords_of_other_libraries_are_answered(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_a_subclass_may_have_any_keyword():
    class Mine(jaxdrop.nnx.Dropout):
        def __init__(self, p, **mode):
            super().__init__(p, **mode)

    assert Mine(p=0.5, deterministic=True).rate == 0.5


@pytest.mark.parametrize(
    "package, name, answer",
    [
        (jaxdrop, "DropPath", "jaxdrop.stochastic_depth"),
        (jaxdrop, "Dropout", "jaxdrop.dropout, and modules are in jaxdrop.nnx"),
        (jaxdrop, "label_smoothing", "jaxdrop.penalties.smoothed_cross_entropy"),
        (jaxdrop.nnx, "DropPath", "jaxdrop.nnx.StochasticDepth"),
        (jaxdrop.nnx, "Dropout2d", "jaxdrop.nnx.SpatialDropout"),
        (jaxdrop.nnx, "L0Dense", "jaxdrop.nnx.L0Linear"),
        (jaxdrop.nnx, "MixUp", "jaxdrop.inputs.mixup"),
        (jaxdrop.linen, "drop_path", "jaxdrop.linen.StochasticDepth"),
        (jaxdrop.linen, "DropConnect", "jaxdrop.linen.DropConnectDense"),
        (jaxdrop.linen, "VariationalLinear", "jaxdrop.linen.VariationalDense"),
    ],
)
def test_names_of_other_libraries_are_answered(package, name, answer):
    with pytest.raises(AttributeError, match=f"{name} is {answer}"):
        getattr(package, name)


def test_every_answer_is_a_name_that_exists():
    from jaxdrop import _names

    for function, module in _names._BY_OTHERS.values():
        found = jaxdrop
        for part in function.split(" ")[0].split("."):
            found = getattr(found, part)
        if module:
            assert hasattr(jaxdrop.nnx, module)
            assert hasattr(jaxdrop.linen, _names._IN_LINEN.get(module, module))
    with pytest.raises(AttributeError, match=r"has no attribute 'unheard_of'$"):
        jaxdrop.nnx.unheard_of  # noqa: B018


def test_packages_list_what_they_export():
    for package in (jaxdrop.nnx, jaxdrop.linen):
        assert len(set(package.__all__)) == len(package.__all__)
        assert all(f"``{name}``: " in package.__doc__ for name in package.__all__)


def test_tokens_alone_go_through_a_sequence_of_layers(key):
    x = jax.random.normal(key, (2, 6, 3))
    drop = jaxdrop.nnx.TokenDropout(0.5, return_indices=False)
    tokens, _ = jaxdrop.token_dropout(key, x, rate=0.5)
    np.testing.assert_array_equal(drop(x, rngs=key), tokens)
    rngs = nnx.Rngs(0)
    drop = jaxdrop.nnx.TokenDropout(0.5, return_indices=False, rngs=rngs)
    assert nnx.Sequential(drop, nnx.Linear(3, 4, rngs=rngs))(x).shape == (2, 3, 4)
    drop = jaxdrop.linen.TokenDropout(0.5, return_indices=False, deterministic=False)
    keys = {"params": key, "dropout": key}
    y, _ = nn.Sequential([drop, nn.Dense(4)]).init_with_output(keys, x)
    assert y.shape == (2, 3, 4)


def layers_in_float16():
    """Layers whose second moments or slopes leave float16, in both frameworks."""
    half, rngs = {"dtype": jnp.float16}, nnx.Rngs(0)
    image = jnp.zeros((2, 6, 3), jnp.float16)
    yield "linear", jaxdrop.nnx.VariationalLinear(3, 4, **half, rngs=rngs), image
    yield "conv", jaxdrop.nnx.VariationalConv(3, 4, (3,), **half, rngs=rngs), image
    yield "dense", jaxdrop.linen.VariationalDense(4, **half), image
    yield "linen conv", jaxdrop.linen.VariationalConv(4, (3,), **half), image


def test_gradients_of_noise_are_finite_in_float16(key):
    for name, layer, x in layers_in_float16():
        if isinstance(layer, nn.Module):
            variables = layer.init({"params": key}, x, deterministic=True)
            loss = lambda v, layer=layer, x=x: (
                layer.apply(v, x, False, key).astype(jnp.float32).sum()
            )
            slopes = jax.grad(loss)({"params": variables["params"]})
        else:
            slopes = nnx.grad(lambda m, x=x: m(x, rngs=key).astype(jnp.float32).sum())(
                layer
            )
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(slopes)), name


def test_moments_in_float16_are_those_of_float32():
    """A second moment of 8 * 400**2 / 4 overflows float16."""
    options = {"activation": nnx.relu, "evaluation": "moments", "deterministic": True}
    x = jnp.full((2, 5, 8), 400.0)
    make = {
        "linear": lambda d: jaxdrop.nnx.DropConnectLinear(
            8, 4, 0.5, dtype=d, **options, rngs=nnx.Rngs(0)
        ),
        "conv": lambda d: jaxdrop.nnx.DropConnectConv(
            8, 4, (3,), 0.5, dtype=d, **options, rngs=nnx.Rngs(0)
        ),
    }
    for build in make.values():
        expected = build(jnp.float32)(x)
        y = build(jnp.float16)(x.astype(jnp.float16))
        assert y.dtype == jnp.float16
        np.testing.assert_allclose(y.astype(jnp.float32), expected, rtol=1e-2)
    linen = {
        "dense": lambda d: jaxdrop.linen.DropConnectDense(4, 0.5, dtype=d, **options),
        "conv": lambda d: jaxdrop.linen.DropConnectConv(
            4, (3,), 0.5, dtype=d, **options
        ),
    }
    for build in linen.values():
        expected, variables = build(jnp.float32).init_with_output(jax.random.key(0), x)
        y = build(jnp.float16).apply(variables, x.astype(jnp.float16))
        np.testing.assert_allclose(y.astype(jnp.float32), expected, rtol=1e-2)
