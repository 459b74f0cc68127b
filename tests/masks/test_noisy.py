"""What is kept for the backward pass, and the derivatives of what is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import print_saved_residuals

import jaxdrop
from jaxdrop import _programs

HELD = (96, 64)  # large enough to be drawn into memory on a CPU


def test_a_gradient_holds_half_of_what_it_does_with_a_mask_of_jaxs(key):
    shapes = [jax.ShapeDtypeStruct((n, 128), jnp.float32) for n in (128, 256)]
    kernels, x = 4 * shapes[:1], shapes[1]

    def held(drop):
        def loss(kernels, x, key):
            for site, kernel in enumerate(kernels):
                x = drop(jax.random.fold_in(key, site), jnp.tanh(x @ kernel))
            return jnp.sum(x**2)

        program = jax.jit(jax.grad(loss)).lower(kernels, x, key).compile()
        return program.memory_analysis().temp_size_in_bytes

    def plain(key, x):
        return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x / 0.5, 0)

    assert held(lambda key, x: jaxdrop.dropout(key, x, rate=0.5)) < 0.6 * held(plain)


@pytest.mark.parametrize("axes, size", [((0,), 64), ((1,), 96), ((), 96 * 64)])
def test_only_the_mask_as_drawn_is_saved_for_the_backward_pass(key, capsys, axes, size):
    share = lambda x: jaxdrop.dropout(key, x, rate=0.3, broadcast_dims=axes)
    print_saved_residuals(share, jnp.ones(HELD))
    saved = capsys.readouterr().out.strip().splitlines()
    shapes = [line.split(" ")[0] for line in saved]
    shapes = [shape for shape in shapes if shape != "i32[]"]  # the platform's number
    drawn = tuple(1 if i in axes else n for i, n in enumerate(HELD))
    assert np.prod(drawn) == size
    assert sorted(shapes) == sorted([f"bool[{drawn[0]},{drawn[1]}]", "f32[]"])


def test_gradients_of_a_shared_mask_sum_over_what_shares_it(key):
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(3, 4))
        direction = np.random.default_rng(1).normal(size=(3, 4))
        share = lambda x: jaxdrop.dropout(key, x, rate=0.3, broadcast_dims=(0,))
        along = lambda t, x: jnp.sin(share(x + t * direction)).sum()
        forward = lambda f: (
            lambda t, x: jax.jvp(lambda t: f(t, x), (t,), (jnp.ones_like(t),))[1]
        )

        @jax.jit
        def derivatives(x):
            found = {}
            for modes in ("f", "r", "ff", "fr", "rf", "rr", "fff", "rrr", "frf", "rfr"):
                derivative = along
                for mode in modes:
                    derivative = {"f": forward, "r": jax.grad}[mode](derivative)
                found[modes] = derivative(0.0, x)
            return share(x), share(direction), found

        y, slope, found = derivatives(x)
    outer = {1: np.cos(y), 2: -np.sin(y), 3: -np.cos(y)}
    for modes, derivative in found.items():
        order = len(modes)
        expected = (outer[order] * np.power(slope, order)).sum()
        np.testing.assert_allclose(derivative, expected, rtol=1e-9, err_msg=modes)


def test_value_and_gradient_are_computed_in_the_same_order(key):
    """Otherwise a TPU's compiler makes two kernels of what could be one."""
    x = jnp.ones(HELD)
    drop = lambda x: jaxdrop.dropout(key, x, rate=0.5)
    value = operations(_programs.traced(drop, x)[0].jaxpr)
    assert value.index("select_n") < value.index("div"), value
    gradient = operations(_programs.traced(jax.vjp(drop, x)[1], x)[0].jaxpr)
    after = gradient[gradient.index("div") :]
    assert "select_n" not in after, gradient  # by the mask: it comes first


def operations(program):
    """The names of the operations on arrays of shape ``HELD``, in order."""
    found = []
    for equation in program.eqns:
        inner = _programs.programs_in(equation)
        for each in inner:
            found += operations(each)
        if not inner and equation.outvars[0].aval.shape == HELD:
            found.append(equation.primitive.name)
    return found
