"""The contract of the dropout family: what holds for every one of its functions."""

import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import print_saved_residuals

import jaxdrop
from chance import assert_mean, normal
from family import OTHER_RELATIVES, RELATIVES, ROWS, Row, for_the_family


@functools.cache
def compiled(row: Row):
    """One program for all rates and both modes: the promises below reuse it."""
    return jax.jit(row)


def inputs(row: Row, dtype=jnp.float32) -> jax.Array:
    return jax.device_put(np.asarray(normal(*row.shape)).astype(dtype))


TREES = (jaxdrop.drop_connect, jaxdrop.mixout)


def same_bits(a, b) -> bool:
    """Equality that tells -0 from 0, and knows NaN from NaN."""
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def assert_same_draw(a, b) -> None:
    """The same mask, and values up to the last place.

    XLA divides by a rate or multiplies by its reciprocal as it sees fit in a program.
    """
    np.testing.assert_array_equal(np.asarray(a) == 0, np.asarray(b) == 0)
    np.testing.assert_allclose(a, b, rtol=3e-7, atol=1e-7)


def test_every_public_function_has_a_row():
    public = {
        function
        for function in vars(jaxdrop).values()
        if inspect.isfunction(function)
        and function.__module__.startswith(("jaxdrop._dropout", "jaxdrop._attention"))
    }
    rows = {row.function for row in ROWS.values()}
    assert public == rows | OTHER_RELATIVES.keys()
    others = {
        f.__name__ for f, why in OTHER_RELATIVES.items() if why != "draws nothing"
    }
    others |= {f"inputs.{name}" for name in vars(jaxdrop.inputs) if name[0] != "_"}
    assert others == {name.split("-")[0] for name in RELATIVES if name[:3] != "mc."}


@for_the_family
@pytest.mark.parametrize("flag", [True, np.True_, 1, np.array(True)])
def test_evaluation_is_the_identity_and_needs_no_key(row, flag):
    if not row.evaluation_is_identity:
        pytest.skip("evaluates to an expectation")
    x = inputs(row)
    assert row(None, x, 0.5, flag) is x
    program = jax.make_jaxpr(lambda x: row(None, x, 0.5, flag))(x)
    assert row.others or not program.eqns  # a call may make its other data
    np.testing.assert_array_equal(
        jax.grad(lambda x: row(None, x, 0.5, flag).sum())(x), 1
    )


@for_the_family
def test_a_rate_of_zero_is_the_identity_bit_for_bit(row, key):
    tiny = np.float32(1e-40)  # a denormal
    x = np.array(inputs(row))
    x[0], x[1], x[2] = np.inf, tiny, -0.0
    x = jax.device_put(x)
    for zero in (0, 0.0, np.float64(0), np.float32(0)):
        assert row(None, x, zero) is x
    assert same_bits(compiled(row)(key, x, 0.0), x)
    assert same_bits(row(key, x, jnp.float32(0)), x)
    if row.evaluation_is_identity:
        assert same_bits(compiled(row)(key, x, 0.5, True), x)


@for_the_family
def test_a_rate_of_one_is_zero_with_zero_gradients(row, key):
    if row.shakes:
        pytest.skip("multiplies all by noise: see the tests of its own file")
    x = inputs(row)
    if not row.unit_rate:
        with pytest.raises(ValueError, match="rate must be below 1"):
            row(key, x, 1)
        assert np.isnan(compiled(row)(key, x, 1.0)).all()
        return
    with jax.debug_nans(True), jax.debug_infs(True):
        for one in (1, 1.0, jnp.float32(1)):
            np.testing.assert_array_equal(row(key, x, one), 0)
            slope = jax.jit(jax.grad(lambda x, one=one: row(key, x, one).sum()))(x)
            np.testing.assert_array_equal(slope, 0)


@for_the_family
def test_a_scheduled_rate_and_a_traced_mode_compile_once(row, key):
    traces = []

    @jax.jit
    def step(key, x, rate, deterministic):
        traces.append(rate)
        return row(key, x, rate, deterministic)

    x = inputs(row)
    for rate in np.linspace(0, 0.99, 100, dtype=np.float32):
        assert np.isfinite(step(key, x, rate, False)).all()
    evaluated = step(key, x, np.float32(0.5), True)
    np.testing.assert_allclose(evaluated, row(None, x, 0.5, True), rtol=1e-6)
    assert len(traces) == 1


@for_the_family
def test_the_same_key_gives_the_same_and_another_key_another(row, key):
    x = inputs(row)
    np.testing.assert_array_equal(row(key, x, 0.5), row(key, x, 0.5))
    others = [row(jax.random.fold_in(key, t), x, 0.5) for t in range(8)]
    assert any((other != others[0]).any() for other in others[1:])


@for_the_family
def test_jit_changes_nothing(row, key):
    x = inputs(row)
    eager = row(key, x, jnp.float32(0.3))
    np.testing.assert_array_equal(compiled(row)(key, x, jnp.float32(0.3)), eager)
    with jax.disable_jit():
        assert_same_draw(row(key, x, jnp.float32(0.3)), eager)


@for_the_family
def test_vmap_is_a_loop_over_keys_rates_and_modes(row, key):
    keys = jax.random.split(key, 4)
    rates = np.float32([0.0, 0.2, 0.5, 0.9])
    modes = np.array([False, False, True, False])
    xs = np.stack([np.asarray(inputs(row)) * (i + 1) for i in range(4)])
    mapped = jax.jit(jax.vmap(row, in_axes=(0, -1, 0, 0), out_axes=1))(
        keys, np.moveaxis(xs, 0, -1), rates, modes
    )
    mapped = np.asarray(mapped)
    for i in range(4):
        one = compiled(row)(keys[i], xs[i], rates[i], modes[i])
        assert_same_draw(mapped[:, i], one)
    shared = jax.jit(jax.vmap(row, in_axes=(None, 0, None)))(key, xs, rates[2])
    assert_same_draw(np.asarray(shared)[1], compiled(row)(key, xs[1], rates[2]))


@for_the_family
def test_one_example_under_vmap_is_dropped_as_in_a_batch(row, key):
    """What is constant along an axis in a batch is so in an unbatched call."""
    x = jnp.ones(row.shape)
    batched = np.asarray(row(key, x, 0.5))
    of_one = lambda k, x: row.draw(k, x, rate=0.5, **{**row.knobs, **row.unbatched})
    single = jax.jit(jax.vmap(of_one))(jax.random.split(key, row.shape[0]), x)
    single = np.asarray(single)
    for axis in range(1, len(row.shape)):
        constant = (batched == batched.take([0], axis)).all()
        if constant:
            assert (single == single.take([0], axis)).all(), axis


@for_the_family
@pytest.mark.parametrize(
    "dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float8_e4m3fn]
)
def test_shape_and_dtype_are_kept_whatever_the_rate_is_made_of(row, key, dtype):
    x = inputs(row, dtype)
    rates = (0.25, np.float32(0.25), np.float64(0.25), jnp.bfloat16(0.25))
    outputs = [row(key, x, rate) for rate in (*rates, jnp.float32(0.25))]
    for y in outputs:
        assert (y.shape, y.dtype) == (x.shape, dtype)
        assert same_bits(y, outputs[0])
    assert row(key, np.asarray(x), 0.25).dtype == dtype
    shape = jax.eval_shape(lambda x: row(key, x, 0.25), x)
    assert (shape.shape, shape.dtype) == (x.shape, dtype)


@for_the_family
def test_what_is_dropped_depends_on_neither_dtype_nor_x64(row, key):
    x = jnp.ones(row.shape, jnp.float32)
    dropped = np.asarray(row(key, x, 0.3) < row(key, x, 0.3).max())
    low = row(key, x.astype(jnp.bfloat16), 0.3)
    np.testing.assert_array_equal(np.asarray(low < low.max()), dropped)
    with jax.enable_x64(True):
        assert same_bits(row(key, x, 0.3), row(key, x, np.float64(0.3)))
        np.testing.assert_allclose(row(key, x, 0.3) < row(key, x, 0.3).max(), dropped)
        wide = row(key, x.astype(jnp.float64), 0.3)
        assert wide.dtype == jnp.float64
        np.testing.assert_array_equal(wide < wide.max(), dropped)


@for_the_family
def test_masks_are_nested_in_the_rate(row, key):
    if not row.zeroes:
        pytest.skip("drops nothing to exactly zero")
    x = jnp.ones(row.shape)
    rates = np.linspace(0.05, 0.95, 10, dtype=np.float32)
    kept = [np.asarray(compiled(row)(key, x, rate) != 0) for rate in rates]
    for more, less in itertools.pairwise(kept):
        assert (more | ~less).all()
    assert kept[0].sum() > kept[-1].sum()


@pytest.mark.whole
@for_the_family
@pytest.mark.parametrize("rate", [-1e-9, -0.5, 1.5, np.inf, np.nan, np.float32(-1)])
def test_a_number_that_is_no_probability_raises(row, key, rate):
    with pytest.raises(ValueError, match=r"rate is the probability.*got"):
        row(key, inputs(row), rate)
    with pytest.raises(ValueError, match="rate is the probability"):
        row(None, inputs(row), rate, True)  # in evaluation as well


@pytest.mark.whole
@for_the_family
@pytest.mark.parametrize("rate", [True, "0.5", None, 1j, [0.5]])
def test_a_rate_that_is_no_number_raises(row, key, rate):
    with pytest.raises(TypeError, match=r"rate must be a number in \[0, 1\]"):
        row(key, inputs(row), rate)


@for_the_family
def test_a_traced_rate_that_is_no_probability_gives_nan(row, key):
    x = inputs(row)
    for rate in (-1e-9, -0.5, np.nextafter(np.float32(1), 2), np.inf, np.nan):
        y = compiled(row)(key, x, np.float32(rate))
        assert np.isnan(y).all(), rate
        assert y.dtype == x.dtype
    if row.evaluation_is_identity:
        assert same_bits(compiled(row)(key, x, np.float32(np.nan), True), x)


@for_the_family
def test_an_array_of_rates_is_taken_or_refused(row, key):
    x = inputs(row)
    rates = jnp.linspace(0, 0.8, row.shape[-1])
    if not row.array_rates:
        with pytest.raises(ValueError, match=r"rate must be a scalar.*vmap"):
            row(key, x, rates)
        return
    y = row(key, x, rates)
    for i, rate in enumerate(rates):
        column, single = y[..., i], row(key, x, rate)[..., i]
        np.testing.assert_array_equal(column == 0, single == 0)
        np.testing.assert_allclose(column, single, rtol=1e-6)
    with pytest.raises(ValueError, match="does not broadcast"):
        row(key, x, jnp.full((row.shape[-1] + 1,), 0.5))
    with pytest.raises(ValueError, match="rate is the probability"):
        row(key, x, np.array([0.5, 2.0]))


@for_the_family
def test_gradients_are_the_draw_itself(row, key):
    """A dropper is affine in x: all its derivatives are known from two calls."""
    if row.shakes:
        pytest.skip("draws anew backward, on purpose: see the tests of its own file")
    drop = lambda x: row(key, x, jnp.float32(0.3))
    x, v = inputs(row), jnp.cos(inputs(row))
    offset = drop(jnp.zeros_like(x))
    y, tangent = jax.jvp(drop, (x,), (v,))
    _, pull = jax.vjp(drop, x)
    np.testing.assert_array_equal(y, drop(x))
    np.testing.assert_allclose(tangent, drop(v) - offset, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pull(v)[0], tangent, rtol=1e-6, atol=1e-7)
    transpose = jax.linear_transpose(lambda v: jax.jvp(drop, (x,), (v,))[1], x)
    np.testing.assert_allclose(transpose(v)[0], tangent, rtol=1e-6, atol=1e-7)
    bent = lambda x: jnp.sin(drop(x)).sum()
    push = jax.jvp(jax.grad(bent), (x,), (v,))[1]
    slope = drop(jnp.ones_like(x)) - offset
    np.testing.assert_allclose(
        push, -jnp.sin(drop(x)) * slope**2 * v, rtol=1e-4, atol=1e-5
    )


@for_the_family
def test_what_is_dropped_has_no_gradient_even_if_it_is_not_finite(row, key):
    if not row.zeroes:
        pytest.skip("drops nothing to exactly zero")
    dropped = np.asarray(row(key, jnp.ones(row.shape), 0.5) == 0)
    assert dropped.any()
    slope_of = jax.jit(jax.grad(lambda x: row(key, x, 0.5).sum()))
    for bad in (jnp.inf, jnp.nan):
        x = jax.device_put(np.where(dropped, np.float32(bad), inputs(row)))
        assert np.isfinite(row(key, x, 0.5)).all()
        slope = slope_of(x)
        np.testing.assert_array_equal(slope, np.where(dropped, 0, 2.0))


@for_the_family
def test_no_gradient_flows_into_the_rate(row, key):
    slope = jax.grad(lambda rate: row(key, inputs(row), rate).sum())(0.3)
    assert slope == 0


@for_the_family
def test_control_flow_and_rematerialisation_change_nothing(row, key):
    x = inputs(row)
    keys, rate = jax.random.split(key, 3), np.float32(0.4)
    loop = [compiled(row)(k, x, rate) for k in keys]

    @jax.jit
    def controlled(keys, x, rate, flag):
        draw = lambda k: row(k, x, rate)
        scanned = lax.scan(lambda _, k: (None, draw(k)), None, keys)[1]
        chosen = lax.cond(flag, draw, lambda k: x, keys[0])
        return (
            scanned,
            chosen,
            lax.fori_loop(0, 2, lambda t, y: row(keys[t], y, rate), x),
        )

    scanned, chosen, twice = controlled(keys, x, rate, np.True_)
    assert_same_draw(scanned, np.stack(loop))
    assert_same_draw(chosen, loop[0])
    assert_same_draw(twice, compiled(row)(keys[1], loop[0], rate))
    square = lambda x: (row(key, x, jnp.float32(0.4)) ** 2).sum()
    slope, again = (jax.jit(jax.grad(f))(x) for f in (square, jax.checkpoint(square)))
    np.testing.assert_array_equal(again, slope)


@for_the_family
def test_under_checkpoint_nothing_of_the_mask_is_saved(row, key, capsys):
    drop = jax.checkpoint(lambda x, key: row(key, x, 0.4))
    print_saved_residuals(drop, inputs(row), key)
    for line in capsys.readouterr().out.strip().splitlines():
        assert "from the argument" in line or "from a constant" in line, line


@pytest.mark.whole
@for_the_family
def test_a_missing_or_wrong_key_is_named(row, key):
    x = inputs(row)
    name = row.function.__name__
    with pytest.raises(ValueError, match=f"^{name}: key must be .*deterministic"):
        row(None, x, 0.5)
    with pytest.raises(ValueError, match=f"{name}: key must be one key.*vmap"):
        row(jax.random.split(key, 4), x, 0.5)
    for wrong in (0, "key", jnp.ones(2), jnp.zeros(3, jnp.uint32), np.zeros(2)):
        with pytest.raises(TypeError, match=f"{name}: key"):
            row(wrong, x, 0.5)


@for_the_family
def test_raw_keys_draw_what_typed_keys_draw(row):
    x = inputs(row)
    typed = row(jax.random.key(3), x, 0.5)
    raw = jax.random.PRNGKey(3)
    np.testing.assert_array_equal(row(raw, x, 0.5), typed)
    np.testing.assert_array_equal(row(np.asarray(raw), x, 0.5), typed)


@for_the_family
@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_other_generators_work(row, impl):
    key = jax.random.key(0, impl=impl)
    y = row(key, jnp.ones(row.shape), 0.5)
    assert np.isfinite(y).all()
    assert (y != row(jax.random.key(1, impl=impl), jnp.ones(row.shape), 0.5)).any() or (
        row.shape == (1,)
    )


@pytest.mark.whole
@for_the_family
@pytest.mark.parametrize("x", [jnp.arange(4), np.ones(4, bool), [1.0, 2.0], "x"])
def test_data_that_cannot_be_rescaled_is_refused(row, key, x):
    if row.function in TREES and (row.others or isinstance(x, list)):
        pytest.skip("a list is a tree of parameters")
    if row.others:
        pytest.skip("its other data must fit: see the tests of its own file")
    with pytest.raises(TypeError, match=row.function.__name__):
        row(key, x, 0.5)


@for_the_family
def test_empty_data_stays_empty(row, key):
    x = jnp.ones((0, *row.shape[1:]))
    assert row(key, x, 0.5).shape == x.shape
    assert jax.grad(lambda x: row(key, x, 0.5).sum())(x).shape == x.shape


@pytest.mark.whole
@for_the_family
@pytest.mark.parametrize("flag", [None, "yes", 2, 0.5])
def test_a_mode_that_is_no_bool_is_refused(row, key, flag):
    with pytest.raises(TypeError, match="deterministic must be a bool"):
        row(key, inputs(row), 0.5, flag)
    with pytest.raises(ValueError, match="deterministic must be a scalar"):
        row(key, inputs(row), 0.5, jnp.array([True]))


@for_the_family
def test_it_lowers_for_every_platform(row, key):
    def step(key, x, rate, deterministic):
        return jax.value_and_grad(
            lambda x: row(key, x, rate, deterministic).sum().astype(jnp.float32)
        )(x)

    exported = jax.export.export(jax.jit(step), platforms=("cpu", "cuda", "tpu"))
    exported(key, inputs(row, jnp.bfloat16), jnp.float32(0.5), jnp.bool_(False))


@for_the_family
def test_it_is_seen_in_the_program_by_its_name(row, key):
    text = jax.jit(row).lower(key, inputs(row), 0.5).as_text(debug_info=True)
    assert f"jaxdrop.{row.function.__name__}" in text


@for_the_family
def test_the_mean_over_keys_is_the_input(row, key):
    if not row.keeps_mean:
        pytest.skip("keeps the mean of standard inputs only, or is not scaled")
    x = inputs(row)
    keys = jax.random.split(key, 4096)
    draws = np.asarray(jax.jit(jax.vmap(lambda k: row(k, x, 0.3)))(keys))
    assert_mean(draws, x)
    assert_mean((draws - np.asarray(x)) ** 2, np.asarray(x) ** 2 * 0.3 / 0.7)


@for_the_family
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_no_key_is_used_twice(row, impl):
    with jax.debug_key_reuse(True):
        row(jax.random.key(11, impl=impl), inputs(row), 0.5)
        with pytest.raises(jax.errors.KeyReuseError):
            key = jax.random.key(12, impl=impl)
            row(key, inputs(row), 0.5)
            row(key, inputs(row), 0.5)
