"""Derivatives of any order, against finite differences and in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop

RATE = 0.3
TECHNIQUES = {
    "dropout": jaxdrop.dropout,
    "shared": lambda key, x, **kw: jaxdrop.dropout(key, x, broadcast_dims=(0,), **kw),
    "gaussian": jaxdrop.gaussian_dropout,
    "alpha": jaxdrop.alpha_dropout,
    "depth": jaxdrop.stochastic_depth,
}
for_techniques = pytest.mark.parametrize("name", TECHNIQUES)


def numbers():
    return np.cos(np.arange(12, dtype=np.float32)).reshape(3, 4)


@for_techniques
def test_derivatives_are_those_of_finite_differences(name, key):
    with jax.enable_x64(True):
        drop = lambda x: TECHNIQUES[name](key, x, rate=RATE)
        bent = lambda x: jnp.sin(drop(x)).sum()
        x = numbers().astype(np.float64)
        step, direction = 1e-5, np.sin(x)
        ends = jax.jit(jax.vmap(bent))(
            np.stack([x + step * direction, x - step * direction])
        )
        slope = np.vdot(jax.jit(jax.grad(bent))(x), direction)
        np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), slope, rtol=1e-8)


def test_third_derivatives_agree_in_any_mixture_of_modes(key):
    """Along a line the technique is affine, so that they are known."""
    x, direction = numbers(), np.sin(numbers())
    drop = lambda x: jaxdrop.dropout(key, x, rate=RATE)
    along = lambda t: jnp.sin(drop(x + t * direction)).sum()
    forward = lambda f: lambda t: jax.jvp(f, (t,), (jnp.ones_like(t),))[1]
    slope = np.asarray(drop(direction))
    expected = -(np.cos(drop(x)) * slope**3).sum()
    for modes in ("fff", "rrr", "frf", "rfr"):
        derivative = along
        for mode in ({"f": forward, "r": jax.grad}[m] for m in modes):
            derivative = mode(derivative)
        np.testing.assert_allclose(jax.jit(derivative)(0.0), expected, rtol=1e-4)


@for_techniques
def test_the_second_derivative_is_diagonal(name, key):
    """Entries do not meet: each is multiplied by a number of its own."""
    drop = lambda x: TECHNIQUES[name](key, x, rate=RATE)
    x, run = numbers(), jax.jit(drop)
    hessian = jax.jit(jax.hessian(lambda x: jnp.sin(drop(x)).sum()))(x)
    hessian = np.asarray(hessian).reshape(12, 12)
    factor = np.asarray(run(np.ones_like(x))) - run(np.zeros_like(x))
    expected = -np.sin(run(x)) * factor**2
    np.testing.assert_allclose(np.diag(hessian), expected.ravel(), rtol=1e-5, atol=1e-6)
    assert (hessian[~np.eye(12, dtype=bool)] == 0).all()


def test_a_nan_that_is_kept_spoils_its_own_entry_only(key):
    kept = np.asarray(jaxdrop.dropout(key, jnp.ones(16), rate=0.5) != 0)
    place = int(np.flatnonzero(kept)[0])
    x = jnp.ones(16).at[place].set(jnp.nan)
    y = jaxdrop.dropout(key, x, rate=0.5)
    assert np.flatnonzero(np.isnan(y)).tolist() == [place]
    bent = lambda x: (jaxdrop.dropout(key, x, rate=0.5) ** 2).sum()
    slope = jax.grad(bent)(x)
    assert np.flatnonzero(np.isnan(slope)).tolist() == [place]
    linear = jax.grad(lambda x: jaxdrop.dropout(key, x, rate=0.5).sum())(x)
    np.testing.assert_array_equal(linear, np.where(kept, 2.0, 0.0))


def test_a_key_has_no_gradient():
    drop = lambda key, x: jaxdrop.dropout(key, x, rate=0.5).sum()
    x = numbers()
    with pytest.raises(TypeError):
        jax.grad(drop)(jax.random.key(0), x)
    raw = jax.random.PRNGKey(0)
    with pytest.raises(TypeError):
        jax.grad(drop)(raw, x)
    slope = jax.grad(drop, allow_int=True)(raw, x)
    assert slope.dtype == jax.dtypes.float0
