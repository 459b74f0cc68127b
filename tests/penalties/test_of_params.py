"""Penalties of parameters: NumPy's values, on any tree, in any precision."""

import functools
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from flax import nnx
from flax.core import freeze

from at_once import at_once
from chance import normal
from jaxdrop import penalties
from jaxdrop._paths import map_with_name

SHAPES = {
    "dense/kernel": (7, 5),
    "dense/bias": (5,),
    "conv/kernel": (3, 3, 2, 4),
    "attention/query/kernel": (6, 2, 3),
    "attention/out/kernel": (2, 3, 6),
    "norm/scale": (6,),
    "embed/embedding": (9, 6),
}
INPUT_AXES = {  # of the weights, in Flax's layout
    "dense/kernel": (0,),
    "conv/kernel": (0, 1, 2),
    "attention/query/kernel": (0,),
    "attention/out/kernel": (0, 1),
}


def nested(flat: dict) -> dict:
    """A tree of dicts from the paths of its leaves."""
    tree: dict = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        functools.reduce(lambda node, key: node.setdefault(key, {}), parents, tree)[
            name
        ] = leaf
    return tree


def matrix(leaf, axes) -> np.ndarray:
    """A kernel in float64 with a row for each input and a column for each unit."""
    leaf = np.moveaxis(np.asarray(leaf, np.float64), axes, range(len(axes)))
    return leaf.reshape(int(np.prod(leaf.shape[: len(axes)])), -1)


def every(function):
    """A penalty of all leaves in NumPy."""
    return lambda flat: sum(function(np.asarray(w, np.float64)) for w in flat.values())


def of_kernels(function):
    """A penalty of the kernels, as matrices, in NumPy."""
    return lambda flat: sum(
        function(matrix(flat[name], axes)) for name, axes in INPUT_AXES.items()
    )


def numpy_orthogonal(w):
    gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    return ((gram - np.eye(len(gram))) ** 2).sum()


REFERENCES = {name: 0.1 * np.ones(shape) for name, shape in SHAPES.items()}
TOWARD = lambda p, **k: penalties.toward_reference(p, nested(REFERENCES), **k)
ELASTIC = lambda p, coefficient=1.0, **k: penalties.elastic_net(
    p, l1=coefficient, l2=0.5 * jnp.asarray(coefficient), **k
)

# The penalty and its formula in NumPy.
FAMILY = [
    pytest.param(penalties.l1, every(lambda w: np.abs(w).sum()), id="l1"),
    pytest.param(penalties.l2, every(lambda w: (w**2).sum()), id="l2"),
    pytest.param(
        ELASTIC, every(lambda w: (np.abs(w) + 0.5 * w**2).sum()), id="elastic_net"
    ),
    pytest.param(
        penalties.group_lasso,
        of_kernels(lambda w: np.sqrt(len(w)) * np.linalg.norm(w, axis=0).sum()),
        id="group_lasso",
    ),
    pytest.param(TOWARD, every(lambda w: ((w - 0.1) ** 2).sum()), id="toward"),
    pytest.param(penalties.orthogonal, of_kernels(numpy_orthogonal), id="orthogonal"),
    pytest.param(
        penalties.spectral,
        of_kernels(lambda w: np.linalg.norm(w, 2) ** 2),
        id="spectral",
    ),
]
for_the_family = pytest.mark.parametrize("penalty, formula", FAMILY)


@pytest.fixture(scope="module")
def flat():
    rng = np.random.default_rng(0)
    return {
        name: jnp.asarray(rng.normal(size=shape), jnp.float32)
        for name, shape in SHAPES.items()
    }


@for_the_family
def test_the_value_is_numpys_in_float64(penalty, formula, flat):
    value = jax.jit(penalty)(nested(flat))
    assert value.shape == () and value.dtype == jnp.float32
    np.testing.assert_allclose(value, formula(flat), rtol=1e-6)
    with jax.enable_x64(True):
        wide = {name: jnp.asarray(w, jnp.float64) for name, w in flat.items()}
        value = jax.jit(penalty)(nested(wide))
        assert value.dtype == jnp.float64
        np.testing.assert_allclose(value, formula(wide), rtol=1e-12)


@for_the_family
def test_the_gradient_is_that_of_the_formula(penalty, formula, flat):
    """By central differences of the NumPy formula, at the weights themselves."""
    gradient = jax.jit(jax.grad(penalty))(nested(flat))
    found = {}
    map_with_name(lambda name, leaf: found.update({name: leaf}), gradient)
    rng = np.random.default_rng(1)
    direction = {name: rng.normal(size=SHAPES[name]) for name in SHAPES}
    moved = lambda step: formula(
        {n: np.asarray(w, np.float64) + step * direction[n] for n, w in flat.items()}
    )
    expected = (moved(1e-6) - moved(-1e-6)) / 2e-6
    slope = sum((np.asarray(found[n]) * direction[n]).sum() for n in SHAPES)
    np.testing.assert_allclose(slope, expected, rtol=2e-5)


@for_the_family
def test_at_zero_value_and_gradient_are_finite(penalty, formula, flat):
    zeros = jax.tree.map(jnp.zeros_like, nested(flat))
    value, gradient = jax.jit(jax.value_and_grad(penalty))(zeros)
    np.testing.assert_allclose(
        value, formula({n: np.zeros(s) for n, s in SHAPES.items()}), rtol=1e-6
    )
    chex.assert_tree_all_finite(gradient)
    if penalty is not TOWARD:
        chex.assert_trees_all_equal(gradient, zeros)


@for_the_family
def test_a_penalty_of_nothing_raises_unless_that_is_intended(penalty, formula, flat):
    for tree in ({}, (), None, {"a": {}}, {"ids": jnp.arange(3)}):
        with pytest.raises(ValueError, match="there is nothing to act on"):
            penalty(tree)
        value = penalty(tree, allow_empty=True)
        assert value == 0 and value.dtype == jnp.float32
    nothing = lambda path, leaf: path == "dense/kernal"
    with pytest.raises(ValueError, match=r"where selects none .*allow_empty=True"):
        penalty(nested(flat), where=nothing)
    with pytest.raises(ValueError, match="there is nothing to act on"):
        penalties.by_path(functools.partial(penalty, where=nothing), nested(flat))
    assert penalty(nested(flat), where=nothing, allow_empty=True) == 0


@for_the_family
def test_leaves_of_size_zero_cost_nothing(penalty, formula):
    if penalty is TOWARD:
        pytest.skip("its references have other shapes")
    tree = {"kernel": jnp.zeros((0, 4)), "other": {"kernel": jnp.zeros((4, 0))}}
    value, gradient = jax.jit(jax.value_and_grad(penalty))(tree)
    assert value == 0
    chex.assert_trees_all_equal_shapes(gradient, tree)


@for_the_family
def test_a_coefficient_scales_and_may_be_traced(penalty, formula, flat):
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def scheduled(coefficient):
        return penalty(nested(flat), coefficient=coefficient)

    for coefficient in np.float32([0.0, 0.1, 3.0]):
        np.testing.assert_allclose(
            scheduled(coefficient), coefficient * formula(flat), rtol=1e-6
        )
    half = at_once(lambda: penalty(nested(flat), coefficient=jnp.bfloat16(0.5)))()
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, 0.5 * formula(flat), rtol=1e-6)


@pytest.mark.whole
@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
@for_the_family
def test_rejects_a_coefficient_that_makes_no_sense(penalty, formula, flat, bad):
    with pytest.raises(ValueError, match=f"must be finite and at least 0, got {bad}"):
        penalty(nested(flat), coefficient=bad)


@for_the_family
def test_where_sees_path_and_leaf(penalty, formula, flat):
    seen = {}

    def where(path, leaf):
        seen[path] = leaf.shape
        return path == "dense/kernel" and leaf.ndim == 2

    one = {"dense/kernel": flat["dense/kernel"]}
    value, alone = at_once(
        lambda: (penalty(nested(flat), where=where), penalty(nested(one)))
    )()
    assert seen == SHAPES
    np.testing.assert_allclose(value, alone, rtol=1e-6)
    assert value > 0


@for_the_family
def test_by_path_splits_the_sum(penalty, formula, flat):
    parts = jax.jit(lambda tree: penalties.by_path(penalty, tree))(nested(flat))
    assert parts.keys() == SHAPES.keys()
    np.testing.assert_allclose(sum(parts.values()), formula(flat), rtol=1e-6)


@for_the_family
def test_the_kind_of_tree_makes_no_difference(penalty, formula, flat):
    tree = nested(flat)
    expected = jax.make_jaxpr(penalty)(tree)
    state = nnx.State(jax.tree.map(nnx.Param, tree))
    for same in (freeze(tree), state, jax.tree.map(np.asarray, tree)):
        assert str(jax.make_jaxpr(penalty)(same)) == str(expected)


def test_l2_has_no_half():
    """Gradient descent on it equals optax's decay at half the coefficient."""
    params = {"kernel": jnp.array([[1.0, -2.0]])}
    decay = optax.add_decayed_weights(0.6)

    @jax.jit
    def both(params):
        gradient = jax.grad(functools.partial(penalties.l2, coefficient=0.3))(params)
        zeros = jax.tree.map(jnp.zeros_like, params)
        return gradient, decay.update(zeros, decay.init(params), params)[0]

    gradient, decayed = both(params)
    chex.assert_trees_all_close(gradient, decayed, rtol=1e-6)


def test_complex_weights_count_by_their_modulus():
    weights = {"kernel": np.full((2, 2), 3 + 4j, np.complex64)}
    functions = ("l1", "l2", "group_lasso", "spectral")

    @jax.jit
    def found(weights):
        values = [getattr(penalties, name)(weights) for name in functions]
        return values, jax.grad(penalties.l1)(jax.tree.map(jnp.zeros_like, weights))

    values, gradient = found(weights)
    np.testing.assert_allclose(values[:3], [20, 100, 20], rtol=1e-6)
    np.testing.assert_allclose(values[3], 100, rtol=1e-5)
    chex.assert_tree_all_finite(gradient)


def test_groups_follow_the_axis(flat):
    kernel = np.asarray(flat["dense/kernel"], np.float64)
    inputs = np.sqrt(5) * np.linalg.norm(kernel, axis=1).sum()
    lasso = jax.jit(penalties.group_lasso, static_argnames="axis")
    for axis in (1, lambda path, leaf: leaf.ndim - 1):
        value = lasso({"kernel": flat["dense/kernel"]}, axis=axis)
        np.testing.assert_allclose(value, inputs, rtol=1e-6)
    with pytest.raises(ValueError, match="axis of kernel: axis 2 is out of bounds"):
        penalties.group_lasso({"kernel": flat["dense/kernel"]}, axis=2)


@pytest.mark.parametrize(
    "penalty", [penalties.group_lasso, penalties.orthogonal, penalties.spectral]
)
def test_stacked_layers_are_layers(penalty):
    kernels = normal(12, 6, 2, 3)
    stacked = {"ScanBlock_0": {"query": {"kernel": kernels}}}
    each, whole = jax.jit(
        lambda tree: (penalty(tree, stacked="ScanBlock_0/*"), penalty(tree))
    )(stacked)
    of_one = jax.jit(penalty)
    alone = sum(of_one({"query": {"kernel": kernel}}) for kernel in np.asarray(kernels))
    np.testing.assert_allclose(each, alone, rtol=1e-5)
    assert not np.isclose(whole, alone, rtol=1e-2)


def test_equinox_and_nnx_modules_are_trees(key):
    layer = eqx.nn.Linear(4, 3, key=key)
    expected = (np.asarray(layer.weight) ** 2).sum() + (
        np.asarray(layer.bias) ** 2
    ).sum()
    value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(penalties.l2))(layer)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient.weight, 2 * np.asarray(layer.weight), rtol=1e-6)
    model = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    of_model = nnx.grad(lambda m: penalties.l2(nnx.state(m, nnx.Param)))
    gradient = nnx.jit(of_model)(model)
    np.testing.assert_allclose(
        gradient["kernel"][...], 2 * np.asarray(model.kernel[...]), rtol=1e-6
    )


# Toward a reference.


def test_a_reference_may_be_of_another_kind_and_have_more_leaves(flat):
    state = nnx.State({"dense": {"kernel": nnx.Param(flat["dense/kernel"] + 1)}})
    pretrained = nested(flat)  # has other leaves as well
    value = jax.jit(penalties.toward_reference)(state, pretrained)
    np.testing.assert_allclose(value, 35, rtol=1e-5)


def test_no_gradient_reaches_the_reference(flat):
    shift = lambda reference: penalties.toward_reference({"w": jnp.ones(3)}, reference)
    gradient = jax.jit(jax.grad(shift))({"w": jnp.zeros(3)})
    np.testing.assert_array_equal(gradient["w"], jnp.zeros(3))


@pytest.mark.parametrize("reference", [{}, {"w": jnp.ones(4)}, {"params": {"w": 1.0}}])
def test_a_leaf_without_reference_is_an_error_that_names_it(reference):
    with pytest.raises(ValueError, match=r"reference of 'w', .* with where="):
        penalties.toward_reference({"w": jnp.ones(3)}, reference)


def test_what_selects_nothing_sensible_is_named():
    kernel = {"kernel": jnp.eye(2), "temperature": jnp.float32(1)}
    with pytest.raises(TypeError, match=r"where must be a function .* got 'kernel'"):
        penalties.l2(kernel, where="kernel")
    with pytest.raises(TypeError, match=r"axis of kernel must be an integer, got 0\.5"):
        penalties.group_lasso(kernel, axis=0.5)
    with pytest.raises(ValueError, match="stacked matches 'temperature', a scalar"):
        every = lambda path, leaf: True
        penalties.group_lasso(kernel, where=every, stacked="temperature")


@pytest.mark.parametrize(
    "penalty", [penalties.group_lasso, penalties.orthogonal, penalties.spectral]
)
def test_an_embedding_is_penalized_only_if_it_is_selected(penalty):
    params = {"embedding": normal(5, 3)}
    with pytest.raises(ValueError, match=r"without biases.*endswith\('embedding'\)"):
        penalty(params)
    chosen = functools.partial(penalty, where=lambda path, leaf: path == "embedding")
    assert jax.jit(chosen)(params) > 0


NUMBERS = [
    *(2, 2.0, np.int64(2), np.uint64(2), np.float64(2), np.float16(2), np.array(2)),
    *(Fraction(2), Decimal(2), jnp.int8(2), jnp.bfloat16(2), ml_dtypes.bfloat16(2)),
]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: type(n).__name__)
@for_the_family
def test_coefficients_of_every_type_are_numbers(penalty, formula, flat, number):
    if penalty is ELASTIC:
        pytest.skip("computes with the coefficient itself")
    value = jax.jit(lambda tree: penalty(tree, coefficient=number))(nested(flat))
    np.testing.assert_allclose(value, 2 * formula(flat), rtol=1e-6)


@for_the_family
def test_nan_weights_give_nan(penalty, formula, flat):
    spoiled = {**flat, "dense/kernel": flat["dense/kernel"].at[0, 0].set(jnp.nan)}
    assert np.isnan(jax.jit(penalty)(nested(spoiled)))


@pytest.mark.parametrize("size", [1e-25, 1e18])
def test_norms_of_extreme_weights_are_finite(size):
    kernel = np.diag(np.float32([size, size / 10]))
    of_groups = lambda kernel: penalties.group_lasso({"kernel": kernel})
    of_norms = lambda kernel: [
        penalties.spectral({"kernel": kernel}, num_iterations=number)
        for number in (None, 20)
    ]
    lasso, slope = jax.jit(jax.value_and_grad(of_groups))(kernel)
    np.testing.assert_allclose(lasso, np.sqrt(2) * 1.1 * size, rtol=1e-5)
    np.testing.assert_allclose(slope, np.sqrt(2) * np.eye(2), rtol=1e-5)
    single = jax.jit(of_groups)
    for large in (1e30, 1e38, 3e38):
        found = single(np.full((1, 1), large, np.float32))
        np.testing.assert_allclose(found, large, rtol=1e-6)
    for found in jax.jit(of_norms)(kernel):
        np.testing.assert_allclose(found, np.float32(size) ** 2, rtol=1e-4)


def test_arrays_of_another_library_are_named():
    foreign = {"weight": SimpleNamespace(dtype="torch.float32", shape=(2, 2))}
    with pytest.raises(
        ValueError, match=r"l2: there is nothing to act on.*\['weight'\]"
    ):
        penalties.l2(foreign)
