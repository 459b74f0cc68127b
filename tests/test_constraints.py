"""Constraints land where NumPy says, and decay masks know a bias by its name."""

import functools

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx
from flax.core import freeze
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from sklearn.linear_model import Lasso

from at_once import at_once
from chance import normal
from jaxdrop import constraints
from jaxdrop._paths import map_with_name

NUM_LAYERS = 12


@pytest.fixture
def promoting():
    """For what runs Flax or optax inside, which promote where we do not."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def applied(constraint, params, updates):
    """The parameters after one step of a constraint alone."""

    @jax.jit
    def step(params, updates):
        new, _ = constraint.update(updates, constraint.init(params), params)
        return optax.apply_updates(params, new)

    return step(params, updates)


def by_name(tree) -> dict:
    """The leaves of a tree under their paths."""
    found = {}
    map_with_name(lambda name, leaf: found.update({name: leaf}), tree)
    return found


def clipped(weights, radius, axes):
    """NumPy's own max-norm."""
    weights = np.asarray(weights, np.float64)
    length = np.sqrt((weights**2).sum(axis=axes, keepdims=True))
    return weights * np.minimum(1, radius / np.maximum(length, 1e-300))


# Per-unit constraints.


@pytest.mark.parametrize(
    "name, shape, axes",
    [
        ("Dense_0/kernel", (7, 5), (0,)),
        ("Conv_0/kernel", (3, 3, 4, 6), (0, 1, 2)),
        ("MultiHeadDotProductAttention_0/query/kernel", (6, 2, 3), (0,)),
        ("MultiHeadDotProductAttention_0/key/kernel", (6, 2, 3), (0,)),
        ("MultiHeadDotProductAttention_0/value/kernel", (6, 2, 3), (0,)),
        ("MultiHeadDotProductAttention_0/out/kernel", (2, 3, 6), (0, 1)),
    ],
)
def test_max_norm_clips_the_weights_that_lead_into_a_unit(name, shape, axes):
    params = {name: normal(*shape)}
    updates = {name: normal(*shape, seed=1)}
    after = applied(constraints.max_norm(1.5), params, updates)[name]
    free = np.asarray(params[name], np.float64) + np.asarray(updates[name], np.float64)
    np.testing.assert_allclose(after, clipped(free, 1.5, axes), rtol=2e-6, atol=1e-6)
    lengths = np.sqrt((np.asarray(after, np.float64) ** 2).sum(axis=axes))
    assert lengths.max() <= 1.5 * (1 + 1e-6)
    assert (np.sqrt((free**2).sum(axis=axes)) > 1.5).any()


def test_a_unit_inside_the_ball_keeps_its_update_bit_for_bit():
    params = {"kernel": jnp.asarray(normal(6, 2) * np.float32([[0.1, 9.0]]))}
    updates = {"kernel": jnp.full((6, 2), 1e-3)}
    constraint = constraints.max_norm(2.0)
    new, _ = jax.jit(constraint.update)(updates, constraint.init(params), params)
    kept, moved = np.asarray(new["kernel"]).T
    np.testing.assert_array_equal(kept, np.float32(1e-3))
    assert (moved != np.float32(1e-3)).any()


@pytest.mark.parametrize("axis", [1, lambda path, leaf: 1])
def test_the_axis_can_be_given_or_computed(key, axis):
    layer = eqx.nn.Linear(5, 3, key=key)  # its weight is (units, inputs)
    params = jax.tree.map(lambda leaf: 10 * leaf, eqx.filter(layer, eqx.is_array))
    zeros = jax.tree.map(jnp.zeros_like, params)
    after = applied(constraints.max_norm(1.0, axis=axis), params, zeros)
    np.testing.assert_allclose(np.linalg.norm(after.weight, axis=1), 1.0, rtol=1e-5)
    chex.assert_trees_all_equal(after.bias, params.bias)


def test_stacked_layers_are_constrained_one_by_one():
    kernels = 3 * np.asarray(normal(NUM_LAYERS, 6, 2, 3))
    params = {"ScanBlock_0": {"query": {"kernel": kernels}}}
    zeros = jax.tree.map(np.zeros_like, params)
    together = applied(
        constraints.max_norm(1.0, stacked="ScanBlock_0/*"), params, zeros
    )
    of_one = jax.jit(functools.partial(applied, constraints.max_norm(1.0)))
    alone = [
        of_one(
            {"query": {"kernel": kernel}},
            {"query": {"kernel": np.zeros_like(kernel)}},
        )["query"]["kernel"]
        for kernel in kernels
    ]
    chex.assert_trees_all_close(
        together["ScanBlock_0"]["query"]["kernel"], np.stack(alone), rtol=1e-6
    )


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("spec", [P("d", None), P(None, "d"), P("m", "d")])
@pytest.mark.parametrize(
    "constraint",
    [constraints.max_norm(1.0), constraints.unit_norm()],
    ids=["max_norm", "unit_norm"],
)
def test_spread_weights_are_constrained_as_whole_ones(constraint, spec, axis_type):
    weights, updates = 2 * normal(16, 8), normal(16, 8)
    whole = applied(constraint, {"kernel": weights}, {"kernel": updates})["kernel"]
    mesh = jax.make_mesh((4, 2), ("d", "m"), axis_types=(axis_type,) * 2)
    with jax.set_mesh(mesh):
        spread = NamedSharding(mesh, spec)
        weights, updates = (jax.device_put(x, spread) for x in (weights, updates))
        part = applied(constraint, {"kernel": weights}, {"kernel": updates})["kernel"]
    assert part.sharding.is_equivalent_to(spread, 2)
    np.testing.assert_allclose(part, whole, rtol=1e-6)


def test_biases_scales_and_embeddings_are_left_alone_unless_selected():
    nines = lambda *shape: np.full(shape, 9.0, np.float32)
    params = {
        "dense": {"kernel": nines(4, 4), "bias": nines(4)},
        "norm": {"scale": nines(12, 4)},
        "embed": {"embedding": nines(5, 4)},
    }
    zeros = jax.tree.map(np.zeros_like, params)
    only_embedding = lambda path, _: "embed" in path
    for where, expected in (
        (None, "dense/kernel"),
        (only_embedding, "embed/embedding"),
    ):
        after = applied(constraints.max_norm(1.0, where=where), params, zeros)
        leaves = by_name(jax.device_get(after)).items()
        assert {name for name, leaf in leaves if (leaf != 9).any()} == {expected}


def test_unit_norm_normalizes_and_leaves_zero_at_zero():
    kernel = np.array(normal(5, 4))
    kernel[:, 1] = 0
    params = {"kernel": kernel}
    after = applied(constraints.unit_norm(), params, {"kernel": jnp.zeros((5, 4))})
    lengths = np.linalg.norm(after["kernel"], axis=0)
    np.testing.assert_allclose(lengths, [1, 0, 1, 1], rtol=1e-6)
    expected = np.asarray(kernel, np.float64)
    expected /= np.maximum(np.sqrt((expected**2).sum(axis=0)), 1e-300)
    np.testing.assert_allclose(after["kernel"], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "constraint",
    [
        constraints.max_norm(1.0),
        constraints.unit_norm(),
        constraints.soft_threshold(0.1),
        constraints.group_soft_threshold(0.1),
    ],
)
def test_gradients_through_a_constraint_are_finite_at_zero(constraint):
    zeros = {"kernel": jnp.zeros((4, 3))}

    def loss(params):
        return applied(constraint, params, zeros)["kernel"].sum()

    chex.assert_tree_all_finite(jax.jit(jax.grad(loss))(zeros))
    chex.assert_trees_all_equal(applied(constraint, zeros, zeros), zeros)


def test_complex_weights_are_measured_by_their_modulus():
    params = {"kernel": jnp.full((2, 1), 3 + 4j)}
    after = applied(
        constraints.max_norm(1.0), params, {"kernel": jnp.zeros((2, 1), jnp.complex64)}
    )
    np.testing.assert_allclose(np.linalg.norm(after["kernel"]), 1.0, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_is_measured_in_float32_and_kept(dtype):
    params = {"kernel": jnp.full((16, 2), 300, dtype)}  # 300**2 is too much for float16
    zeros = {"kernel": jnp.zeros((16, 2), dtype)}
    constraint = constraints.max_norm(1000.0)
    new, _ = jax.jit(constraint.update)(zeros, constraint.init(params), params)
    assert new["kernel"].dtype == dtype
    after = optax.apply_updates(params, new)
    chex.assert_trees_all_equal(after, {"kernel": jnp.full((16, 2), 250, dtype)})


@pytest.mark.parametrize(
    "make, formula",
    [
        (constraints.max_norm, lambda w, c: clipped(w, c, (0,))),
        (
            lambda c: constraints.unit_norm(),
            lambda w, c: w / np.linalg.norm(w, axis=0),
        ),
        (
            constraints.group_soft_threshold,
            lambda w, c: w * np.maximum(0, 1 - c * 7**0.5 / np.linalg.norm(w, axis=0)),
        ),
    ],
    ids=["max_norm", "unit_norm", "group_soft_threshold"],
)
def test_double_precision_is_kept_throughout(make, formula):
    with jax.enable_x64(True):
        kernel = jnp.asarray(np.random.default_rng(3).normal(size=(7, 5)))
        params = {"kernel": kernel, "bias": jnp.ones(5)}
        after = applied(make(0.7), params, jax.tree.map(jnp.zeros_like, params))
        assert after["kernel"].dtype == jnp.float64
        expected = formula(np.asarray(kernel), 0.7)
        np.testing.assert_allclose(after["kernel"], expected, rtol=1e-12, atol=1e-15)
        np.testing.assert_array_equal(after["bias"], params["bias"])


def test_bfloat16_weights_a_little_outside_the_ball_are_seen_to_be():
    params = {"kernel": jnp.ones((1001, 1), jnp.bfloat16)}  # 1001 is 1000 in bfloat16
    zeros = jax.tree.map(jnp.zeros_like, params)
    outside, inside = constraints.max_norm(31.63), constraints.max_norm(31.65)
    new, kept = jax.jit(
        lambda params: [
            c.update(zeros, c.init(params), params)[0] for c in (outside, inside)
        ]
    )(params)
    assert (np.asarray(new["kernel"]) < 0).all()
    chex.assert_trees_all_equal(kept, zeros)


# Proximal steps.


def test_soft_threshold_is_numpys():
    params = {"kernel": normal(6, 5)}
    updates = {"kernel": normal(6, 5, seed=1)}
    after = applied(constraints.soft_threshold(0.7), params, updates)["kernel"]
    free = np.asarray(params["kernel"] + updates["kernel"])
    expected = np.sign(free) * np.maximum(np.abs(free) - 0.7, 0)
    np.testing.assert_allclose(after, expected, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(after) == 0, np.abs(free) <= 0.7)


def test_soft_threshold_shortens_complex_weights_and_keeps_their_phase():
    weights = {"kernel": jnp.array([[3 + 4j, 0.3 - 0.4j]])}
    constraint = constraints.soft_threshold(1.0)
    zeros = jax.tree.map(jnp.zeros_like, weights)
    found = applied(constraint, weights, zeros)["kernel"]
    np.testing.assert_allclose(found, [[(3 + 4j) * 0.8, 0]], rtol=1e-6)


def test_gradient_descent_with_soft_threshold_solves_the_lasso():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 10))
    y = x[:, :3] @ np.array([2.0, -1.0, 0.5]) + 0.1 * rng.normal(size=80)
    expected = Lasso(alpha=0.2, fit_intercept=False, tol=1e-12).fit(x, y).coef_
    with jax.enable_x64(True):
        features, targets = jnp.asarray(x), jnp.asarray(y)[:, None]
        rate = 0.3
        optimizer = optax.chain(optax.sgd(rate), constraints.soft_threshold(rate * 0.2))
        params = {"kernel": jnp.zeros((10, 1))}
        loss = lambda p: jnp.mean((targets - features @ p["kernel"]) ** 2) / 2

        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        carry = (params, optimizer.init(params))
        (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, length=400))(carry)
        found = np.asarray(params["kernel"])[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-8)
    assert (found[expected == 0] == 0).all() and (expected == 0).any()


def test_group_soft_threshold_meets_the_conditions_of_a_minimum():
    """Zero is a subgradient of half the squared distance plus the group lasso."""
    kernel = np.asarray(normal(3, 3, 2, 4)) * np.float32([0.1, 0.5, 1, 2])
    params = {"kernel": kernel}
    zeros = {"kernel": np.zeros_like(kernel)}
    strength = 0.5
    after = applied(constraints.group_soft_threshold(strength), params, zeros)
    before = np.asarray(kernel, np.float64).reshape(18, 4)
    after = np.asarray(after["kernel"], np.float64).reshape(18, 4)
    step = strength * np.sqrt(18)
    gone = (after == 0).all(axis=0)
    np.testing.assert_array_equal(gone, np.linalg.norm(before, axis=0) <= step)
    assert gone.any() and not gone.all()
    kept = after[:, ~gone]
    np.testing.assert_allclose(
        kept + step * kept / np.linalg.norm(kept, axis=0), before[:, ~gone], atol=1e-5
    )


# As part of optax.


def test_a_schedule_sets_the_limit_of_each_update_without_recompiling(promoting):
    schedule = optax.piecewise_constant_schedule(3.0, {1: 0.5, 2: 0.5})
    constraint = constraints.max_norm(schedule)
    params = {"kernel": jnp.full((4, 1), jnp.float32(10.0))}
    zeros = {"kernel": jnp.zeros((4, 1))}
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(params, state):
        updates, state = constraint.update(zeros, state, params)
        return optax.apply_updates(params, updates), state

    state, lengths = constraint.init(params), []
    for _ in range(4):
        params, state = step(params, state)
        lengths.append(float(np.linalg.norm(params["kernel"])))
    np.testing.assert_allclose(lengths, [3.0, 1.5, 0.75, 0.75], rtol=1e-6)


def test_limits_can_be_traced_and_injected():
    params = {"kernel": jnp.full((4, 1), 10.0)}
    zeros = {"kernel": jnp.zeros((4, 1))}
    limited = jax.jit(lambda r: applied(constraints.max_norm(r), params, zeros))
    np.testing.assert_allclose(np.linalg.norm(limited(2.5)["kernel"]), 2.5, rtol=1e-6)
    injected = optax.inject_hyperparams(constraints.max_norm)(max_value=4.0)
    state = injected.init(params)
    state.hyperparams["max_value"] = jnp.float32(6.0)
    updates, _ = at_once(injected.update)(zeros, state, params)
    after = np.asarray(params["kernel"]) + np.asarray(updates["kernel"])
    np.testing.assert_allclose(np.linalg.norm(after), 6.0, rtol=1e-6)


def test_constraints_stand_last_in_a_chain_and_inside_masked(promoting):
    params = {"a": {"kernel": jnp.ones((4, 2))}, "b": {"kernel": jnp.ones((4, 2))}}
    grads = jax.tree.map(lambda leaf: -100 * np.asarray(leaf), params)
    only_a = {"a": True, "b": False}
    optimizer = optax.chain(
        optax.adam(1.0), optax.masked(constraints.max_norm(1.0), only_a)
    )
    after = applied(optimizer, params, grads)
    np.testing.assert_allclose(np.linalg.norm(after["a"]["kernel"], axis=0), 1.0)
    assert (np.linalg.norm(after["b"]["kernel"], axis=0) > 2).all()


def test_leaves_without_updates_stay_without():
    params = {"kernel": jnp.full((4, 2), 9.0), "bias": None, "other": jnp.ones((2, 2))}
    updates = {"kernel": jnp.zeros((4, 2)), "bias": None, "other": None}
    constraint = constraints.max_norm(1.0)
    new, _ = jax.jit(constraint.update)(updates, constraint.init(params), params)
    assert new["bias"] is None and new["other"] is None
    after = np.asarray(params["kernel"]) + np.asarray(new["kernel"])
    np.testing.assert_allclose(np.linalg.norm(after, axis=0), 1.0, rtol=1e-6)


def test_an_nnx_optimizer_keeps_the_constraint():
    model = nnx.Linear(6, 4, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(
        model, optax.chain(optax.sgd(10.0), constraints.max_norm(1.0)), wrt=nnx.Param
    )
    x = jnp.ones((3, 6))

    @nnx.jit
    def step(model, optimizer):
        grads = nnx.grad(lambda m: -(m(x) ** 2).mean())(model)
        optimizer.update(model, grads)

    for _ in range(3):
        step(model, optimizer)
        lengths = np.linalg.norm(model.kernel[...], axis=0)
        assert (lengths <= 1 + 1e-6).all()
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-5)


@pytest.mark.whole
@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: constraints.max_norm(-1.0), "max_norm: max_value must be .* got -1.0"),
        (lambda: constraints.max_norm(float("nan")), "at least 0, got nan"),
        (lambda: constraints.soft_threshold(-0.1), "soft_threshold: threshold"),
        (lambda: constraints.group_soft_threshold(np.ones(2)), "must be a scalar"),
    ],
)
def test_rejects_a_limit_that_makes_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_errors_name_the_leaf_and_the_missing_parameters():
    params = {"dense": {"kernel": jnp.ones((2, 2))}}
    constraint = constraints.max_norm(1.0, axis=2)
    with pytest.raises(ValueError, match="dense/kernel: axis 2 is out of bounds"):
        constraint.update(params, constraint.init(params), params)
    with pytest.raises(ValueError, match="max_norm: params is needed"):
        constraint.update(params, constraint.init(params))
    with pytest.raises(TypeError, match="max_value must be a number"):
        constraints.max_norm("3")


# Masks for decay.


class Block(nn.Module):
    """One layer of everything whose parameters have a role of their own."""

    @nn.compact
    def __call__(self, x, _):
        """Normalizes, attends and mixes."""
        y = nn.LayerNorm()(x)
        y = nn.MultiHeadDotProductAttention(2)(y, y)
        y = nn.RMSNorm()(nn.Dense(4)(y))
        y = nn.Conv(4, (3,))(y)
        y = nn.GroupNorm(2)(y) * self.param("gate", nn.initializers.ones, (4,))
        return x + y, None


class Scanned(nn.Module):
    """Twelve blocks under one scan: every leaf gains a leading axis."""

    @nn.compact
    def __call__(self, tokens):
        """Embeds tokens and runs the blocks."""
        x = nn.Embed(7, 4)(tokens)
        x = x + self.param("pos_embedding", nn.initializers.zeros, (1, 3, 4))
        scanned = nn.scan(
            Block, {"params": 0}, split_rngs={"params": True}, length=NUM_LAYERS
        )
        x, _ = scanned()(x, None)
        return nn.Dense(2, name="head")(x)


@pytest.fixture
def scanned_params(promoting):
    shapes = jax.eval_shape(
        Scanned().init, jax.random.key(0), jnp.zeros((2, 3), jnp.int32)
    )
    return jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), shapes["params"])


def test_a_scanned_model_of_twelve_layers_decays_its_kernels_only(scanned_params):
    mask = by_name(
        constraints.decay_mask(scanned_params, stacked=["ScanBlock_0/*", "*/ScanB*"])
    )
    for name, leaf in by_name(scanned_params).items():
        assert mask[name] is name.endswith("/kernel"), name
        if name.startswith("ScanBlock"):
            assert leaf.shape[0] == NUM_LAYERS
    assert sum(mask.values()) == 7 and mask["head/kernel"]
    by_rank = {name: leaf.ndim > 1 for name, leaf in by_name(scanned_params).items()}
    assert by_rank["ScanBlock_0/LayerNorm_0/scale"]  # what a rule by rank gets wrong


def test_only_a_vector_of_an_unusual_name_needs_stacked(scanned_params):
    without = by_name(constraints.decay_mask(scanned_params))
    stated = by_name(constraints.decay_mask(scanned_params, stacked="ScanBlock_0/*"))
    assert {n for n in without if without[n] != stated[n]} == {"ScanBlock_0/gate"}


def test_frozen_dicts_and_abstract_parameters_have_the_same_mask(scanned_params):
    mask = constraints.decay_mask(scanned_params)
    frozen = constraints.decay_mask(freeze(scanned_params))
    assert type(frozen) is type(freeze(scanned_params))
    assert frozen.unfreeze() == mask
    abstract = jax.eval_shape(lambda: scanned_params)
    assert constraints.decay_mask(abstract) == mask


def test_a_step_without_gradients_shrinks_what_is_marked_and_nothing_else(
    scanned_params,
):
    optimizer = optax.adamw(0.1, weight_decay=0.5, mask=constraints.decay_mask)
    zeros = jax.tree.map(jnp.zeros_like, scanned_params)

    @jax.jit
    def step(params):
        updates, _ = optimizer.update(zeros, optimizer.init(params), params)
        return optax.apply_updates(params, updates)

    after = by_name(step(scanned_params))
    mask = by_name(constraints.decay_mask(scanned_params))
    for name, leaf in after.items():
        np.testing.assert_allclose(leaf, 0.95 if mask[name] else 1.0, rtol=1e-6)


class NNXModel(nnx.Module):
    """A model with state that is no parameter beside its parameters."""

    def __init__(self, rngs):
        self.layers = nnx.List(
            [nnx.Linear(4, 4, rngs=rngs), nnx.LayerNorm(4, rngs=rngs)]
        )
        self.attention = nnx.MultiHeadAttention(2, 4, rngs=rngs, decode=False)
        self.embed = nnx.Embed(5, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)


def test_nnx_states_and_modules_are_marked_alike():
    model = NNXModel(nnx.Rngs(0))
    of_state = by_name(constraints.decay_mask(nnx.state(model, nnx.Param)))
    of_module = by_name(constraints.decay_mask(model))
    assert {n for n, decayed in of_state.items() if decayed} == {
        "layers/0/kernel",
        *(f"attention/{part}/kernel" for part in ("query", "key", "value", "out")),
    }
    assert of_state.items() <= of_module.items()
    others = of_module.keys() - of_state.keys()
    assert "norm/mean" in others and not any(of_module[name] for name in others)


@pytest.mark.parametrize("as_function", [True, False])
def test_adamw_takes_the_mask_of_an_nnx_model(promoting, as_function):
    model = NNXModel(nnx.Rngs(0))
    params = nnx.state(model, nnx.Param)
    mask = constraints.decay_mask if as_function else constraints.decay_mask(params)
    optimizer = nnx.Optimizer(
        model, optax.adamw(0.1, weight_decay=0.5, mask=mask), wrt=nnx.Param
    )
    before = by_name(jax.device_get(params))

    @nnx.jit
    def step(model, optimizer):
        optimizer.update(
            model, jax.tree.map(jnp.zeros_like, nnx.state(model, nnx.Param))
        )

    step(model, optimizer)
    marked = by_name(constraints.decay_mask(params))
    for name, leaf in by_name(nnx.state(model, nnx.Param)).items():
        expected = before[name] * (0.95 if marked[name] else 1.0)
        np.testing.assert_allclose(leaf, expected, rtol=1e-6)


class EquinoxBlock(eqx.Module):
    """Attributes whose names say nothing of what they hold."""

    a: eqx.nn.Linear
    n: eqx.nn.LayerNorm
    e: eqx.nn.Embedding
    c: eqx.nn.Conv2d
    m: eqx.nn.Sequential

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.a = eqx.nn.Linear(4, 4, key=keys[0])
        self.n = eqx.nn.LayerNorm(4)
        self.e = eqx.nn.Embedding(3, 4, key=keys[1])
        self.c = eqx.nn.Conv2d(2, 3, 3, key=keys[2])
        self.m = eqx.nn.Sequential(
            [eqx.nn.Linear(4, 4, key=keys[3]), eqx.nn.RMSNorm(4), eqx.nn.Dropout()]
        )

    def __call__(self, x):
        """Makes the module callable, which optax must not take for a function."""
        return x


@pytest.mark.parametrize("layers", [None, NUM_LAYERS])
def test_equinox_leaves_are_known_by_the_class_that_holds_them(key, layers):
    """The weight of a LayerNorm or an Embedding, one or vmapped, is no weight."""
    keys = key if layers is None else jax.random.split(key, layers)
    make = EquinoxBlock if layers is None else eqx.filter_vmap(EquinoxBlock)
    block = eqx.filter_eval_shape(make, keys)
    arrays = eqx.filter(block, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    for tree in (block, arrays):
        mask = constraints.decay_mask(tree)
        assert jax.tree.structure(mask) == jax.tree.structure(tree)
        marked = {name for name, decayed in by_name(mask).items() if decayed}
        # An Equinox convolution's bias has axes of its own, a name all the same.
        assert marked == {"a/weight", "c/weight", "m/layers/0/weight"}


def test_adamw_takes_the_mask_of_a_callable_equinox_module(promoting, key):
    shapes = eqx.filter_eval_shape(EquinoxBlock, key)
    shapes = eqx.filter(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
    zeros = jax.tree.map(np.zeros_like, params)
    for mask in (constraints.decay_mask, constraints.decay_mask(params)):
        optimizer = optax.adamw(0.1, weight_decay=0.5, mask=mask)
        after = applied(optimizer, params, zeros)
        np.testing.assert_allclose(after.a.weight, 0.95, rtol=1e-6)
        chex.assert_trees_all_equal(after.n, params.n)
        chex.assert_trees_all_equal(after.e, params.e)


def test_haiku_names_are_known():
    stacked = jnp.ones((NUM_LAYERS, 4))
    params = {
        "mlp/~/linear_0": {"w": jnp.ones((NUM_LAYERS, 4, 4)), "b": stacked},
        "layer_norm": {"scale": stacked, "offset": stacked},
        "embed": {"embeddings": jnp.ones((7, 4))},
    }
    assert constraints.decay_mask(params) == {
        "mlp/~/linear_0": {"w": True, "b": False},
        "layer_norm": {"scale": False, "offset": False},
        "embed": {"embeddings": False},
    }


def test_exclude_and_include_have_the_last_words():
    kernel, table = jnp.ones((4, 4)), jnp.ones((7, 4))
    params = {
        "Head": {"kernel": kernel},
        "body": {"kernel": kernel, "bias": jnp.ones(4)},
        "embed": {"embedding": table},
    }
    mask = constraints.decay_mask(
        params, exclude="head/*", include=["embed*/*", "bias"]
    )
    assert by_name(mask) == {
        "Head/kernel": False,
        "body/kernel": True,
        "body/bias": True,
        "embed/embedding": True,
    }


def test_a_module_named_like_a_norm_does_not_hide_its_kernels():
    kernel = jnp.ones((4, 4))
    params = {"PreNormBlock_0": {"kernel": kernel}, "embedding": {"kernel": kernel}}
    assert all(by_name(constraints.decay_mask(params)).values())


def test_empty_trees_and_integers_are_no_trouble():
    assert constraints.decay_mask({}) == {}
    assert constraints.decay_mask({"kernel": jnp.ones((2, 2), jnp.int32)}) == {
        "kernel": False
    }
    assert constraints.decay_mask(jnp.ones((2, 2))) is True


@pytest.mark.parametrize("size", [1e-42, 1e-25, 1.0, 100.0])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_norms_neither_overflow_nor_vanish(size, dtype):
    params = {"kernel": jnp.array([[size], [0.0]], dtype)}
    zero = jax.tree.map(jnp.zeros_like, params)

    def landed(constraint):
        return np.float32(applied(constraint, params, zero)["kernel"])

    normal = size > 1e-38  # others are flushed to 0
    clipped = landed(constraints.max_norm(2.0))[0, 0]
    np.testing.assert_allclose(clipped, min(size, 2.0), rtol=1e-2, atol=1e-40)
    unit = landed(constraints.unit_norm())[0, 0]
    np.testing.assert_allclose(unit, 1.0 if normal else 0.0, rtol=1e-2, atol=1e-40)
    kept = landed(constraints.group_soft_threshold(0.0))[0, 0]
    np.testing.assert_allclose(kept, size, rtol=1e-2, atol=1e-40)


@pytest.mark.parametrize("limit", [-2.0, np.nan])
def test_a_traced_limit_out_of_range_gives_nan(limit):
    params = {"kernel": jnp.array([[3.0], [1.0]])}
    zero = jax.tree.map(jnp.zeros_like, params)
    for make in (constraints.max_norm, constraints.soft_threshold):
        for given in (jnp.float32(limit), lambda step: jnp.float32(limit)):
            constraint = make(given)
            state = constraint.init(params)
            updates, _ = at_once(constraint.update)(zero, state, params)
            assert np.isnan(updates["kernel"]).all()


def test_a_limit_may_be_an_integer_of_jax():
    params = {"kernel": jnp.array([[3.0], [0.0]])}
    zero = jax.tree.map(jnp.zeros_like, params)
    constraint = constraints.max_norm(jnp.int32(2))
    updates, _ = at_once(constraint.update)(zero, constraint.init(params), params)
    assert updates["kernel"][0, 0] == -1


CONSTRAINTS = [
    pytest.param(constraints.max_norm, "max_value", id="max_norm"),
    pytest.param(constraints.soft_threshold, "threshold", id="soft_threshold"),
    pytest.param(constraints.group_soft_threshold, "threshold", id="group"),
]
for_each_limit = pytest.mark.parametrize("make, name", CONSTRAINTS)


@pytest.mark.parametrize("bad", [-1.0, np.float64(-1), -1, np.nan, np.inf])
@for_each_limit
def test_a_limit_that_is_refused_as_a_number_is_nan_from_a_schedule(make, name, bad):
    params = {"kernel": jnp.array([[0.5, -2.0]])}
    with pytest.raises(ValueError, match=f"{name} must be finite and at least 0"):
        make(bad)
    for supply in (
        optax.constant_schedule(bad),
        lambda step: np.float32(bad),
        lambda step: jnp.float32(bad),
        nnx.Variable(jnp.float32(bad)),
    ):
        after = applied(make(supply), params, jax.tree.map(jnp.zeros_like, params))
        assert np.isnan(after["kernel"]).all()


def test_a_variable_of_nnx_is_read_at_each_update():
    params = {"kernel": jnp.full((4, 1), 3.0)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    limit = nnx.Variable(jnp.float32(2.0))
    constraint = constraints.max_norm(limit)
    state = constraint.init(params)
    for value in (2.0, 1.0):
        limit[...] = jnp.float32(value)
        updates, state = at_once(constraint.update)(zeros, state, params)
        after = np.asarray(params["kernel"]) + np.asarray(updates["kernel"])
        np.testing.assert_allclose(np.linalg.norm(after), value, rtol=1e-6)


@for_each_limit
def test_limits_that_no_float_holds_are_refused_by_name(make, name):
    for number in (10**40, 10**400, 1e300):
        with pytest.raises(ValueError, match=name):
            make(number)
    for number in ("3", None, 1j, [1.0], True):
        with pytest.raises((TypeError, ValueError), match=name):
            make(number)
    params = {"kernel": jnp.ones((2, 2))}
    for number in (2**40, np.uint64(2**63)):
        constraint = make(number)
        applied(constraint, params, jax.tree.map(jnp.zeros_like, params))
    constraint = make(lambda step: None)
    with pytest.raises(TypeError, match=name):
        constraint.update(params, constraint.init(params), params)


@pytest.mark.parametrize(
    "make",
    [
        functools.partial(constraints.max_norm, 1.0, axis=1),
        functools.partial(constraints.unit_norm, axis=1),
        functools.partial(constraints.soft_threshold, 0.1),
        functools.partial(constraints.group_soft_threshold, 0.1),
    ],
)
def test_a_constraint_of_nothing_raises_unless_that_is_intended(make):
    params = {"embed": {"embedding": jnp.full((3, 4), 5.0)}}
    zeros = jax.tree.map(jnp.zeros_like, params)
    with pytest.raises(ValueError, match=r"without biases.*endswith\('embedding'\)"):
        make().init(params)
    with pytest.raises(ValueError, match="there is nothing to act on"):
        make().update(zeros, optax.EmptyState(), params)
    with pytest.raises(ValueError, match="where selects none among"):
        make(where=lambda path, leaf: path == "embedding").init(params)
    for tree in ({}, {"ids": jnp.arange(3)}):
        with pytest.raises(ValueError, match="there is nothing to act on"):
            make().init(tree)
    idle = make(allow_empty=True)
    chex.assert_trees_all_equal(applied(idle, params, zeros), params)
    chosen = make(where=lambda path, leaf: path.endswith("embedding"))
    assert (applied(chosen, params, zeros)["embed"]["embedding"] < 5).all()


def test_nan_weights_stay_nan_under_every_constraint():
    params = {"kernel": jnp.array([[jnp.nan, 1.0], [1.0, 1.0]])}
    zeros = jax.tree.map(jnp.zeros_like, params)
    for constraint in (
        constraints.max_norm(1.0),
        constraints.unit_norm(),
        constraints.soft_threshold(0.1),
        constraints.group_soft_threshold(0.1),
    ):
        after = applied(constraint, params, zeros)["kernel"]
        assert np.isnan(after[0, 0]) and np.isfinite(after[:, 1]).all()


def test_max_norm_works_in_a_scan():
    optimizer = optax.chain(optax.sgd(0.5), constraints.max_norm(1.0))
    params = {"kernel": jnp.full((4, 3), 0.1)}

    def step(carry, _):
        params, state = carry
        grads = jax.tree.map(lambda w: -jnp.ones_like(w), params)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), jnp.linalg.norm(params["kernel"], axis=0)

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, length=5))
    _, norms = run((params, optimizer.init(params)))
    np.testing.assert_allclose(norms, 1.0, rtol=1e-6)


def test_norms_that_no_float_holds_are_still_norms():
    """Of 64 weights of 3e38 the norm is 2.4e39, beyond float32."""
    params = {"kernel": np.tile(np.float32([3e38, 3.0]), (64, 1))}
    zero = jax.tree.map(jnp.zeros_like, params)
    land = lambda constraint: applied(constraint, params, zero)["kernel"]
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3)
    for radius in (1e36, 1e38):
        expected = clipped(params["kernel"], radius, 0)
        close(land(constraints.max_norm(radius)), expected)
    one = jax.jit(constraints.unit_norm().update)
    update, _ = one(zero, optax.EmptyState(), params)
    close(params["kernel"] + update["kernel"], np.tile([0, 1 / 8], (64, 1)))
    shorter = land(constraints.group_soft_threshold(1e38))
    close(shorter[:, 0], np.full(64, 2e38))
    assert not shorter[:, 1].any()


FORMULAS = {
    "max_norm": (constraints.max_norm, lambda w: clipped(w, 0.25, (0,))),
    "unit_norm": (
        lambda limit: constraints.unit_norm(),
        lambda w: w / np.linalg.norm(w, axis=0),
    ),
    "soft_threshold": (
        constraints.soft_threshold,
        lambda w: np.sign(w) * np.maximum(np.abs(w) - 0.25, 0),
    ),
    "group_soft_threshold": (
        constraints.group_soft_threshold,
        lambda w: w * np.maximum(0, 1 - 0.25 * 6**0.5 / np.linalg.norm(w, axis=0)),
    ),
}
WEIGHTS_AND_UPDATES = [
    ("float32", "bfloat16"),
    ("float32", "float16"),
    ("float16", "bfloat16"),
    ("float32", "int32"),
    ("float64", "float32"),
]


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("weights, updates", WEIGHTS_AND_UPDATES)
def test_updates_of_fewer_digits_than_weights_land_as_well(
    name, weights, updates, promoting
):
    make, formula = FORMULAS[name]
    rng = np.random.default_rng(0)
    with jax.enable_x64(weights == "float64"):
        params = {"kernel": jnp.asarray(rng.normal(size=(6, 8)), weights)}
        moves = {"kernel": jnp.asarray(rng.normal(size=(6, 8)), updates)}
        after = applied(make(0.25), params, moves)["kernel"]
        goal = np.float64(params["kernel"]) + np.float64(moves["kernel"])
        expected, after = formula(goal), np.float64(after)
        error = float(4 * jnp.finfo(weights).eps)
    np.testing.assert_allclose(after, expected, atol=error)
    np.testing.assert_array_equal(after == 0, expected == 0)


@pytest.mark.parametrize("number", [0.0, np.zeros((4, 2)), np.float64(0)])
def test_updates_may_be_numbers_of_the_host(number):
    params = {"kernel": jnp.full((4, 2), 9.0)}
    constraint = constraints.max_norm(1.0)
    new, _ = constraint.update({"kernel": number}, constraint.init(params), params)
    after = np.asarray(params["kernel"]) + np.asarray(new["kernel"])
    np.testing.assert_allclose(np.linalg.norm(after, axis=0), 1.0, rtol=1e-6)


@for_each_limit
def test_a_count_of_updates_that_was_lost_is_missed(make, name):
    """As by a checkpoint of plain dicts, or of a constraint with a constant limit."""
    constraint, params = make(lambda step: 1.0 + step), {"kernel": jnp.ones((4, 2))}
    count = constraint.init(params).num_updates
    for state in ({"num_updates": count}, (count,), optax.EmptyState(), None, params):
        with pytest.raises(TypeError, match=f"state must be a Constr.*as {name} is a"):
            constraint.update(params, state, params)
    for restored in (np.int32(3), 3):
        state = constraints.ConstraintState(restored)
        assert constraint.update(params, state, params)[1].num_updates == 4
