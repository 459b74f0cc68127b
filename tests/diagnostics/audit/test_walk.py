"""Walking a program: through transformations, loops and derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diagnostics.cases import (
    KEY,
    W,
    X,
    attend,
    audit,
    batch_norm,
    drop,
    kinds,
    only_site,
    slope,
)
from flax import linen
from jax import lax

import jaxdrop
from family import for_the_family
from jaxdrop._sites import traits_of


def nested(key, x):
    return jax.jit(jax.jit(drop))(key, x)


def with_derivative(transform):
    """A function that brings its own derivative, which is not asked for here."""
    function = transform(lambda k, x: drop(k, x))
    if transform is jax.custom_jvp:
        function.defjvp(lambda primals, tangents: (drop(*primals), tangents[1]))
    else:
        function.defvjp(lambda k, x: (drop(k, x), None), lambda _, g: (None, g))
    return function


TRANSFORMED = {
    "plain": (drop, 1),
    "jit": (nested, 1),
    "checkpoint": (jax.checkpoint(drop), 1),
    "vmap": (lambda k, x: jax.vmap(drop)(jax.random.split(k, 4), x), 1),
    "vmap of one key": (lambda k, x: jax.vmap(drop, (None, 0))(k, x[None]), 1),
    "grad": (lambda k, x: jax.grad(lambda x: drop(k, x).sum())(x), 1),
    "grad of checkpoint": (
        lambda k, x: jax.grad(jax.checkpoint(lambda x: jnp.sin(drop(k, x)).sum()))(x),
        1,
    ),
    "jvp": (lambda k, x: jax.jvp(lambda x: drop(k, x), (x,), (x,)), 1),
    "scan": (
        lambda k, x: lax.scan(
            lambda c, k: (drop(k, c), None), x, jax.random.split(k, 6)
        ),
        6,
    ),
    "scan in a scan": (
        lambda k, x: lax.scan(
            lambda c, k: (lax.scan(lambda c, k: (drop(k, c), None), c, k)[0], None),
            x,
            jax.random.split(k, (2, 3)),
        ),
        6,
    ),
    "map": (lambda k, x: lax.map(lambda k: drop(k, x), jax.random.split(k, 6)), 6),
    "cond": (lambda k, x: lax.cond(x.sum() > 0, drop, lambda k, x: x, k, x), 1),
    "while": (
        lambda k, x: lax.while_loop(
            lambda s: s[0] < 3,
            lambda s: (s[0] + 1, drop(jax.random.fold_in(k, s[0]), s[1])),
            (0, x),
        ),
        1,
    ),
    "custom_jvp": (with_derivative(jax.custom_jvp), 1),
    "custom_vjp": (with_derivative(jax.custom_vjp), 1),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_a_site_is_seen_under_any_transformation(name):
    function, steps = TRANSFORMED[name]
    site = only_site(function, KEY, X)
    assert (site.technique, site.mode, site.rate) == ("dropout", "active", 0.5)
    assert site.steps == steps
    assert site.random_bits == 32 * steps * np.prod(site.mask_shape)
    assert "unused" not in audit(function, KEY, X).kinds


def by_hand(key, x):
    return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0)


def by_flax(key, x):
    layer = linen.Dropout(0.5, deterministic=False)
    return layer.apply({}, x, rngs={"dropout": key})


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "recomputed"])
@pytest.mark.parametrize("function", [drop, attend, by_hand, by_flax])
def test_the_rate_is_read_from_the_gradient_of_a_scan(function, kept):
    def loss(weights, key, x):
        layer = lambda x, k: (function(k, x) @ weights, None)
        layer = layer if kept else jax.checkpoint(layer)
        return lax.scan(layer, x, jax.random.split(key, 3))[0].sum()

    for step in (jax.grad(loss), jax.jit(jax.grad(loss))):
        result = audit(step, W, KEY, X)
        assert {(site.rate, site.steps) for site in result.sites} == {(0.5, 3)}
        assert "high rate" not in result.kinds


@for_the_family
def test_a_rate_is_right_or_unknown_in_a_gradient(row, key):
    def once(scale, key, x):
        return row(key, x * scale, 0.3).sum()

    def often(scale, key, x):
        layer = lambda x, k: (row(k, x * scale, 0.3), None)
        return lax.scan(layer, x, jax.random.split(key, 3))[0].sum()

    for loss in (once, often, jax.checkpoint(often)):
        (rate,) = {
            s.rate for s in audit(jax.grad(loss), 0.5, key, jnp.ones(row.shape)).sites
        }
        name = row.function.__name__
        is_noise = traits_of(f"jaxdrop.{name}").draws == "noise"
        unknown = is_noise or name in ("drop_head", "embedding_dropout")
        assert rate == 0.3 or (rate is None and unknown)


def test_attention_is_one_site_with_its_rates_in_any_derivative():
    def mapped(key, x, rates):
        def one(key, rate):
            q = x.reshape(1, 4, 2, 4)
            return jaxdrop.dot_product_attention(key, q, q, q, rate=rate)

        return jax.vmap(one)(jax.random.split(key, 3), rates)

    rates = jnp.array([0.1, 0.2, 0.3])
    first = lambda k, x: jax.grad(lambda x: mapped(k, x, rates).sum())(x)
    for function in (lambda k, x: mapped(k, x, rates), first):
        site = only_site(function, KEY, X)
        assert (site.rate, site.mask_shape) == ((0.1, 0.2, 0.3), (3, 1, 2, 4, 4))
    assert only_site(slope(slope(attend)), KEY, X).rate == 0.5


def test_a_site_inside_shard_map_is_seen():
    mesh = jax.make_mesh((4,), ("data",), (jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec
    local = lambda k, x: drop(jaxdrop.keys.shard(k, "data"), x)
    sharded = jax.shard_map(
        local, mesh=mesh, in_specs=(spec(), spec("data")), out_specs=spec("data")
    )
    assert only_site(sharded, KEY, X).mask_shape == (1, 8)


def test_a_traced_mode_is_known_where_its_argument_is():
    run = lambda k, x, off: jaxdrop.dropout(k, x, rate=0.5, deterministic=off).sum()
    assert only_site(run, KEY, X, jnp.bool_(False)).mode == "active"
    assert only_site(run, KEY, X, jnp.bool_(True)).mode == "rate 0"
    unknown = only_site(run, KEY, X, jax.ShapeDtypeStruct((), jnp.bool_))
    assert (unknown.mode, unknown.rate) == ("active", None)


@pytest.mark.parametrize("distance", [1, 2, 4])
def test_noise_that_reaches_a_state_late_is_followed(distance):
    """It is handed on from array to array of a state, one at each step of a loop."""

    def network(key, x):
        def step(carry, k):
            first = drop(k, x)
            return (first, *carry[:-1]), None

        carry = (x,) * (distance + 1)
        carry, _ = lax.scan(step, carry, jax.random.split(key, distance + 2))
        return batch_norm(carry[-1]) @ W

    assert kinds(network, KEY, X) == {"batch norm"}


def test_a_scan_over_layers_is_no_recurrence():
    def network(key, x, kernels):
        def layer(x, inputs):
            k, kernel = inputs
            return jnp.tanh(drop(k, x) @ kernel), None

        return lax.scan(layer, x, (jax.random.split(key, 5), kernels))[0]

    assert not kinds(network, KEY, X, jnp.ones((5, 8, 8)))


def test_a_scan_over_layers_of_shared_weights_is_no_recurrence():
    def network(key, x, scales):
        def layer(x, inputs):
            k, scale = inputs
            x = jnp.tanh(drop(k, x) @ W)
            return x * jnp.broadcast_to(scale, x.shape), None

        return lax.scan(layer, x, (jax.random.split(key, 5), scales))[0]

    for scales in (jnp.ones(5), jnp.ones((5, 8))):
        assert not kinds(network, KEY, X, scales)
    assert kinds(network, KEY, X[0], jnp.ones((5, 8))) == {"recurrent"}


def test_a_mask_that_is_the_same_in_every_step_of_a_loop():
    def accumulate(key, batches, fresh):
        def step(total, inputs):
            t, x = inputs
            k = jaxdrop.keys.site(key, "a", step=t) if fresh else key
            return total + (drop(k, x) @ W).sum(), None

        return lax.scan(step, 0.0, (jnp.arange(len(batches)), batches))[0]

    batches = jnp.ones((5, 4, 8))
    assert kinds(accumulate, KEY, batches, False) == {"frozen in loop"}
    assert not kinds(accumulate, KEY, batches, True)
    powers = lambda k, x: lax.fori_loop(0, 3, lambda _, y: drop(k, y) @ W, x)
    assert kinds(powers, KEY, X) == {"frozen in loop"}
