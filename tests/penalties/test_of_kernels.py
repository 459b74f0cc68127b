"""Orthogonal and spectral penalties: singular values, their gradients, and stacks."""

import contextlib
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from at_once import at_once
from chance import normal
from jaxdrop import penalties
from jaxdrop.penalties._of_kernels import _top_by_squaring


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_products_of_kernels_are_summed_in_float32(dtype):
    """A gram matrix of ones holds 1000 everywhere; its square overflows float16."""
    ones = {"kernel": jnp.ones((1000, 30), dtype)}
    orthogonal, spectral = jax.jit(
        lambda tree: (penalties.orthogonal(tree), penalties.spectral(tree))
    )(ones)
    assert orthogonal.dtype == spectral.dtype == jnp.float32
    np.testing.assert_allclose(orthogonal, 30 * 999**2 + 870 * 1000**2, rtol=1e-6)
    np.testing.assert_allclose(spectral, 30_000, rtol=1e-6)


# Spectral norms by power iteration.


def test_power_iteration_approaches_the_exact_norm_from_below():
    weights = {"kernel": normal(30, 20)}
    exact, *found = jax.jit(
        lambda tree: [
            penalties.spectral(tree, num_iterations=n) for n in (None, 1, 5, 20, 300)
        ]
    )(weights)
    assert (np.diff(found) > 0).all() and found[-1] <= exact * (1 + 1e-6)
    np.testing.assert_allclose(found[-1], exact, rtol=1e-5)


def test_power_iteration_of_zeros_is_zero_with_a_zero_gradient():
    zeros = {"kernel": jnp.zeros((4, 3))}
    iterated = functools.partial(penalties.spectral, num_iterations=3)
    value, gradient = jax.jit(jax.value_and_grad(iterated))(zeros)
    assert value == 0
    chex.assert_trees_all_equal(gradient, zeros)


def test_power_iteration_is_not_misled_by_the_longest_row():
    rows = jnp.array([[2.0, 0.0], [0.0, 1.9], [0.0, 1.9]])  # the longest is not the top
    value = at_once(penalties.spectral)({"kernel": rows}, num_iterations=60)
    np.testing.assert_allclose(value, 2 * 1.9**2, rtol=1e-4)


def test_equal_singular_values_have_finite_gradients():
    gradient = jax.jit(jax.grad(penalties.spectral))({"kernel": jnp.eye(4)})
    chex.assert_tree_all_finite(gradient)
    np.testing.assert_allclose(np.linalg.norm(gradient["kernel"]), 2.0, rtol=1e-6)


def test_rejects_no_iterations():
    with pytest.raises(ValueError, match="num_iterations must be at least 1, got 0"):
        penalties.spectral({"kernel": jnp.eye(2)}, num_iterations=0)
    with pytest.raises(TypeError, match="num_iterations must be an integer"):
        penalties.spectral({"kernel": jnp.eye(2)}, num_iterations=1.5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
def test_squaring_finds_the_spectral_norm_as_a_decomposition_does(dtype):
    """What a TPU computes, also for singular values that are equal or nearly so."""
    square = jax.jit(_top_by_squaring)
    kernels = [normal(30, 20), normal(40, 40), np.eye(4), np.zeros((3, 3))]
    kernels += [np.diag([1, 1 - gap, 0.3]) for gap in (1e-2, 1e-4, 1e-6)]
    for kernel in kernels:
        factor = 1 + 0.5j if dtype == jnp.complex64 else 1
        kernel = np.asarray(kernel, dtype) * factor
        vector = np.asarray(square(kernel.conj().T @ kernel))
        exact = np.linalg.norm(kernel, 2)
        np.testing.assert_allclose(np.linalg.norm(kernel @ vector), exact, rtol=1e-6)
    assert np.isnan(square(jnp.full((2, 2), jnp.nan))).all()


def test_orthonormal_kernels_cost_nothing_wide_or_tall():
    q, _ = np.linalg.qr(normal(8, 5))
    for kernel in (q, q.T):
        assert at_once(penalties.orthogonal)({"kernel": kernel}) < 1e-11


def test_complex_kernels_are_orthonormal_by_their_adjoint():
    """A unitary kernel costs nothing; one that is orthogonal without it does."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(6, 4)) + 1j * rng.normal(size=(6, 4))
    unitary = np.linalg.qr(drawn)[0].astype(np.complex64)
    cost = jax.jit(penalties.orthogonal)
    assert cost({"kernel": unitary}) < 1e-9
    kernel = drawn.astype(np.complex64)
    gram = drawn.conj().T @ drawn - np.eye(4)
    found = cost({"kernel": kernel})
    np.testing.assert_allclose(found, (np.abs(gram) ** 2).sum(), rtol=1e-5)


def test_a_kernel_without_entries_has_no_norm():
    assert penalties.spectral({"kernel": jnp.ones((0, 3))}) == 0


@pytest.mark.parametrize("penalty", [penalties.orthogonal, penalties.spectral])
@pytest.mark.parametrize("spec", [P(None, "m"), P("m")])
@pytest.mark.parametrize("in_use", [True, False], ids=["in use", "of the array"])
def test_kernels_may_be_spread_over_an_explicit_mesh(penalty, spec, in_use):
    kernel = normal(4, 6)
    expected = jax.grad(lambda k: penalty({"kernel": k}))(kernel)
    mesh = jax.make_mesh((2,), ("m",), axis_types=(AxisType.Explicit,))
    spread = jax.device_put(kernel, NamedSharding(mesh, spec))
    with jax.set_mesh(mesh) if in_use else contextlib.nullcontext():
        found = jax.jit(jax.grad(lambda k: penalty({"kernel": k})))(spread)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
