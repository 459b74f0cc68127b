"""What draws cost: shapes, bits and bytes."""

import jax
import jax.numpy as jnp
from diagnostics.cases import KEY, X, drop, only_site
from jax import lax

import jaxdrop


def test_a_choice_costs_what_its_most_expensive_branch_does():
    """One of its branches runs: costs are not those of all of them together."""

    def technique(key, x):
        some = lambda: jaxdrop.prng.uniform(key, (7,)).sum()
        many = lambda: jaxdrop.prng.uniform(key, (9, 2)).sum()
        return lax.cond(x.sum() > 0, some, many) + x

    technique.__name__ = "jaxdrop.dropout"
    site = only_site(lambda k, x: jax.jit(technique)(k, x), KEY, X)
    assert (site.mask_shape, site.random_bits) == ((9, 2), 32 * 18)


def test_attention_draws_its_weights_and_keeps_no_mask():
    q = jnp.ones((1, 1000, 2, 4))
    run = lambda k, q: jaxdrop.dot_product_attention(k, q, q, q, rate=0.1)
    site = only_site(run, KEY, q)
    assert (site.technique, site.rate, site.memory) == ("dot_product_attention", 0.1, 0)
    assert 0.95 < site.random_bits / (32 * 2 * 1000 * 1000) < 1.2
    allowed = lambda k: jaxdrop.drop_key(k, (2, 3, 4, 4), rate=0.2)
    assert only_site(allowed, KEY).mask_shape == (2, 3, 4, 4)


def test_large_masks_cost_what_they_cost():
    site = only_site(lambda k, x: drop(k, x).sum(), KEY, jnp.ones((128, 64)))
    assert (site.random_bits, site.memory) == (32 * 128 * 64, 128 * 64)
    shape = jax.ShapeDtypeStruct((1024, 1024, 1024), jnp.bfloat16)
    assert only_site(drop, KEY, shape).memory == 2**30
