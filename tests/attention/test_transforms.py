"""Attention with dropout under vmap, and differentiated in any direction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formula

import jaxdrop

RATE = 0.3
SHAPE = (2, 24, 20, 4, 2, 4)  # batch, queries, keys, heads, key heads, features


def attend(key, arrays, **options):
    data = [arrays[name] for name in ("query", "key", "value")]
    return jaxdrop.dot_product_attention(
        key, *data, rate=RATE, bias=arrays.get("bias"), block_size=8, **options
    )


def random_like(arrays, seed):
    generator = np.random.default_rng(seed)
    return {
        n: generator.normal(size=x.shape).astype(x.dtype) for n, x in arrays.items()
    }


def inner(a, b):
    return sum(float(np.vdot(a[name], b[name])) for name in a)


def test_one_key_a_row_gives_each_row_the_mask_of_its_own_call(key):
    arrays = formula.inputs(*SHAPE)
    keys = jax.random.split(key, 2)
    run = jax.jit(attend)
    vmapped = np.asarray(jax.jit(jax.vmap(attend))(keys, arrays))
    for row in range(2):
        alone = run(keys[row], {name: x[row] for name, x in arrays.items()})
        np.testing.assert_allclose(vmapped[row], alone, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_a_batch_is_that_of_its_rows(key):
    """Also where a row has queries that may attend to nothing, and another has not."""
    arrays = formula.inputs(*SHAPE)
    keys = jax.random.split(key, 2)
    lengths = np.int32([[0], [20]])

    def loss(arrays, key, lengths):
        return jnp.sin(
            attend(key, arrays, is_causal=True, key_value_seq_lengths=lengths)
        ).sum()

    def of_batch(arrays):
        return jax.vmap(loss)(arrays, keys, lengths).sum()

    got = jax.jit(jax.grad(of_batch))(arrays)
    alone = jax.jit(jax.grad(loss))
    for row in range(2):
        own = {name: x[row] for name, x in arrays.items()}
        expected = alone(own, keys[row], lengths[row])
        for name, gradient in expected.items():
            np.testing.assert_allclose(got[name][row], gradient, rtol=1e-4, atol=1e-5)


@pytest.fixture
def problem(key):
    """Arrays in double precision, a direction, a cotangent, and the formula's mask."""
    arrays = {n: x.astype(np.float64) for n, x in formula.inputs(*SHAPE).items()}
    arrays["bias"] = np.random.default_rng(5).normal(size=(1, 4, 24, 20))
    kept = np.asarray(jaxdrop.masks.bernoulli(key, (2, 4, 24, 20), rate=RATE))
    cotangent = random_like({"output": arrays["query"]}, 6)["output"]
    options = {"kept": kept, "keep": 1 - RATE, "is_causal": True}
    return arrays, random_like(arrays, 7), cotangent, options


def test_forward_mode_is_the_formulas(key, problem):
    arrays, direction, cotangent, options = problem
    with jax.enable_x64(True):
        _, change = jax.jit(
            lambda a, d: jax.jvp(lambda a: attend(key, a, is_causal=True), (a,), (d,))
        )(arrays, direction)
    expected = inner(formula.gradients(arrays, cotangent, **options), direction)
    np.testing.assert_allclose(np.vdot(change, cotangent), expected, rtol=1e-9)


def second_derivative(problem, gradient):
    """How the gradient's product with a direction changes, by differences."""
    arrays, direction, cotangent, options = problem
    step = 1e-5

    def shifted(sign):
        moved = {n: x + sign * step * direction[n] for n, x in arrays.items()}
        return formula.gradients(moved, cotangent, **options)

    return {n: (shifted(1)[n] - shifted(-1)[n]) / (2 * step) for n in gradient}


@pytest.mark.parametrize(
    "mode", ["backward", pytest.param("forward", marks=pytest.mark.slow)]
)
def test_second_derivatives_are_the_formulas(key, problem, mode):
    arrays, direction, cotangent, _ = problem

    def loss(arrays):
        return jnp.vdot(attend(key, arrays, is_causal=True), cotangent)

    def product(arrays):
        gradient = jax.grad(loss)(arrays)
        return sum(jnp.vdot(gradient[name], direction[name]) for name in arrays)

    with jax.enable_x64(True):
        if mode == "backward":
            got = jax.jit(jax.grad(product))(arrays)
        else:
            got = jax.jit(lambda a, d: jax.jvp(jax.grad(loss), (a,), (d,))[1])(
                arrays, direction
            )
    expected = second_derivative(problem, got)
    for name in arrays:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-5, atol=1e-7)


def test_the_scale_may_be_learned(key, problem):
    arrays, _, cotangent, options = problem

    def loss(scale):
        return jnp.vdot(attend(key, arrays, is_causal=True, scale=scale), cotangent)

    with jax.enable_x64(True):
        got = jax.jit(jax.grad(loss))(jnp.float64(0.4))
    low, high = (
        np.vdot(formula.attend(arrays, scale=s, **options), cotangent)
        for s in (0.4 - 1e-5, 0.4 + 1e-5)
    )
    np.testing.assert_allclose(got, (high - low) / 2e-5, rtol=1e-6)


def test_a_rate_gets_no_gradient(key):
    arrays = [jax.device_put(x) for x in formula.inputs(*SHAPE).values()]
    loss = lambda rate: jaxdrop.dot_product_attention(key, *arrays, rate=rate).sum()
    assert jax.jit(jax.grad(loss))(jnp.float32(0.3)) == 0
