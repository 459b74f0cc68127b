"""What draws in a program: techniques, functions of JAX, and each of them once."""

import functools

import jax
import jax.numpy as jnp
import pytest
from diagnostics.cases import KEY, W, X, attend, audit, drop, only_site, slope
from jax import lax

import jaxdrop


def test_relatives_are_seen(key):
    a = jnp.zeros(())
    seen = {
        "concrete_dropout": lambda k: jaxdrop.concrete_dropout(k, X, a),
        "variational_dense": lambda k: jaxdrop.variational_dense(k, X, W, W),
        "hard_concrete": lambda k: jaxdrop.hard_concrete(k, W),
        "layer_drop": lambda k: jaxdrop.layer_drop(k, 6, rate=0.5),
        "shake_drop": lambda k: jaxdrop.shake_drop(k, X, rate=0.5),
        "shake_shake": lambda k: jaxdrop.shake_shake(k, X, X),
        "inputs.cutout": lambda k: jaxdrop.inputs.cutout(
            k, jnp.ones((2, 8, 8, 3)), size=4
        ),
        "inputs.mixup": lambda k: jaxdrop.inputs.mixup(k, X, X, alpha=0.2)[0],
        "inputs.gaussian_noise": lambda k: jaxdrop.inputs.gaussian_noise(
            k, X, stddev=1.0
        ),
        "prng.random_bits": lambda k: jaxdrop.masks.bernoulli(k, (3, 4), rate=0.5),
        "masks.exact": lambda k: jaxdrop.masks.exact(k, (3, 4), num_dropped=1, axis=1),
    }
    for technique, call in seen.items():
        site = only_site(call, key)
        assert site.technique == technique
        assert site.random_bits > 0
    deterministic = [
        lambda: jaxdrop.masksembles(X, jnp.ones((2, 8), bool)),
        lambda: jaxdrop.hard_concrete_penalty(W),
        lambda: jaxdrop.variational_penalty(W, W),
    ]
    assert not any(audit(call).sites for call in deterministic)


def test_rates_that_set_a_size_are_read_from_the_shapes(key):
    tokens = jnp.ones((2, 9, 3))
    some = lambda k, x: jaxdrop.token_dropout(k, x, rate=0.25, num_prefix_tokens=1)[0]
    assert only_site(some, key, tokens).rate == 0.25
    rows = lambda k, x: jaxdrop.subset_stochastic_depth(k, jnp.sin, x, rate=0.5)
    assert only_site(rows, key, X).rate == 0.5


def over_layers(function, key, x):
    layer = lambda x, k: (function(k, x) @ W, None)
    return lax.scan(jax.checkpoint(layer), x, jax.random.split(key, 3))[0].sum()


@pytest.mark.parametrize("function", [drop, attend], ids=["dropout", "attention"])
def test_what_is_drawn_again_for_a_gradient_is_listed_once(function):
    plain = lambda k, x: jax.grad(lambda x: (function(k, x) @ W).sum())(x)
    again = jax.checkpoint(function)
    kept = lambda k, x: jax.grad(lambda x: (again(k, x) @ W).sum())(x)
    stacked = lambda k, x: jax.grad(functools.partial(over_layers, function, k))(x)
    for step in (plain, kept, stacked):
        result = audit(step, KEY, X)
        assert len(result.sites) == 1
        assert "same key" not in result.kinds
    assert audit(stacked, KEY, X).sites[0].steps == 3


def by_platform(tpu, default):
    return lambda k, x: lax.platform_dependent(k, x, tpu=tpu, default=default)


@pytest.mark.parametrize("transform", [lambda f: f, slope], ids=["plain", "grad"])
def test_draws_for_several_platforms_are_one_site_where_they_are_equal(transform):
    nothing = lambda k, x: 2 * x
    less = functools.partial(jaxdrop.dropout, rate=0.25)
    other_key = lambda k, x: drop(jax.random.fold_in(k, 1), x)
    rates = {
        (drop, drop): [0.5],
        (drop, nothing): [0.5],
        (nothing, drop): [0.5],
        (drop, less): [0.5, 0.25],
        (drop, other_key): [0.5, 0.5],
    }
    for branches, expected in rates.items():
        function = transform(by_platform(*branches))
        over = lambda k, x, f=function: lax.scan(
            lambda x, k: (f(k, x), None), x, jax.random.split(k, 3)
        )
        for run, steps in ((function, 1), (over, 3)):
            result = audit(run, KEY, X)
            seen = [(s.rate, s.steps) for s in result.sites]
            assert seen == [(rate, steps) for rate in expected]
            assert "same key" not in result.kinds


def test_masks_drawn_twice_with_one_key_are_two_sites():
    mask = lambda k, x: jaxdrop.masks.bernoulli(k, x.shape, rate=0.5)
    result = audit(lambda k, x: mask(k, x) ^ mask(k, 2 * x), KEY, X)
    assert [s.steps for s in result.sites] == [1, 1]
    assert "same key" in result.kinds


def test_draws_of_jax_random_are_listed():
    def noisy(key, x):
        a, b, c = jax.random.split(key, 3)
        x = x + jax.random.normal(a, x.shape)
        x = jnp.where(jax.random.bernoulli(b, 0.8, x.shape), x, 0)
        return x + jax.random.bits(c, x.shape).astype(jnp.float32)

    sites = audit(noisy, KEY, X).sites
    assert [(s.technique, s.rate) for s in sites] == [
        ("jax.random.normal", None),
        ("jax.random.bernoulli", 0.2),
        ("jax.random.bits", None),
    ]
    assert [s.memory for s in sites] == [128, 32, 128]


def test_other_generators_and_raw_keys_are_seen():
    for key in (
        jax.random.PRNGKey(0),
        jax.random.key(0, impl="rbg"),
        jax.random.key(0, impl=jaxdrop.prng.fused_threefry),
    ):
        assert only_site(drop, key, X).random_bits == 32 * X.size
