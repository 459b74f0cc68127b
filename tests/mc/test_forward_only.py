"""Results of sampling until a tolerance have forward gradients and no others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import mc
from jaxdrop.mc._forward_only import forward_only


def test_a_tolerance_has_forward_gradients_and_says_that_it_has_no_others(net, key):
    def mean(params):
        return (
            mc.predict(net.apply, key, params, net.x, num_samples=32, tol=0.5)
            .stats["mean"]
            .sum()
        )

    value, slope = jax.jit(lambda p: jax.jvp(mean, (p,), (p,)))(net.params)
    assert slope == pytest.approx(
        2 * float(value), rel=1e-4
    )  # bilinear but for the kinks
    with pytest.raises(
        ValueError, match=r"^mc\.predict: with tol= there is no reverse"
    ):
        jax.grad(mean)(net.params)


def test_values_pass_unchanged_whatever_transformation_they_are_in():
    x = jnp.array([1.5, -2.0, jnp.inf])
    for run in (forward_only, jax.jit(forward_only), jax.vmap(forward_only)):
        np.testing.assert_array_equal(run(x), x)
    value, slope = jax.jvp(lambda x: forward_only(x) ** 2, (x[:2],), (jnp.ones(2),))
    np.testing.assert_array_equal(value, x[:2] ** 2)
    np.testing.assert_array_equal(slope, 2 * x[:2])


def test_only_floats_refuse_a_gradient():
    counts = jnp.array([1, 2])
    assert forward_only(counts) is counts
    refused = pytest.raises(
        ValueError, match=r"^mc\.predict: with tol= there is no reverse"
    )
    for batched in (lambda x: forward_only(x).sum(), jax.vmap(forward_only)):
        with refused:
            jax.vjp(batched, jnp.ones(2))[1](batched(jnp.ones(2)))
