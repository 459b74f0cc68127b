"""Schedules of rates against the published formulas, composed and compiled once."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdrop
from jaxdrop import schedules

CUTOFF = 7
NUM_STEPS = 40


def every_step(schedule):
    """A schedule's values at all steps and a few more, from one compilation."""
    return np.asarray(jax.vmap(schedule)(jnp.arange(NUM_STEPS + 3)))


def published_early_or_late(rate, mode, decay):
    """The authors' array of rates: first and second phase, one after the other."""
    rest = NUM_STEPS + 3 - CUTOFF
    if mode == "late":
        return np.concatenate([np.zeros(CUTOFF), np.full(rest, rate)])
    first = np.full(CUTOFF, rate)
    if decay == "linear":
        first = np.linspace(rate, 0, CUTOFF)
    return np.concatenate([first, np.zeros(rest)])


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("decay", ["linear", "constant"])
def test_early_dropout_is_the_authors(rate, decay):
    values = every_step(schedules.early(rate, cutoff=CUTOFF, decay=decay))
    expected = published_early_or_late(rate, "early", decay)
    np.testing.assert_allclose(values, expected, atol=1e-7)
    assert values[0] == np.float32(rate) and (values[CUTOFF:] == 0).all()


def test_late_dropout_is_the_authors():
    values = every_step(schedules.late(0.4, cutoff=CUTOFF))
    np.testing.assert_allclose(values, published_early_or_late(0.4, "late", None))


def test_one_early_step_is_at_the_full_rate():
    for decay in ("linear", "constant"):
        schedule = schedules.early(0.3, cutoff=1, decay=decay)
        np.testing.assert_allclose([schedule(0), schedule(1)], [0.3, 0.0])


def test_curriculum_dropout_is_the_published_keep_probability():
    """keep(t) = (1 - keep) exp(-gamma t) + keep, with gamma of 10 over the steps."""
    values = every_step(schedules.curriculum(0.5, num_steps=NUM_STEPS))
    step = np.arange(NUM_STEPS + 3)
    keep = 0.5 * np.exp(-10 / NUM_STEPS * step) + 0.5
    np.testing.assert_allclose(values, 1 - keep, atol=1e-7)
    assert values[0] == 0 and (np.diff(values) > 0).all()
    slow = schedules.curriculum(0.5, num_steps=NUM_STEPS, sharpness=0.04)
    np.testing.assert_allclose(slow(20), 0.5 * (1 - np.exp(-0.02)), rtol=1e-6)


def test_scheduled_drop_path_is_the_published_keep_probability():
    """Keep = 1 - (t / T) (cell + 1) / cells (1 - keep), held from T on (version 3)."""
    values = every_step(
        schedules.scheduled_drop_path(0.3, depth=6, num_steps=NUM_STEPS)
    )
    step = np.minimum(np.arange(NUM_STEPS + 3) / NUM_STEPS, 1)[:, None]
    keep = 1 - step * (np.arange(6) + 1) / 6 * 0.3
    np.testing.assert_allclose(values, 1 - keep, atol=1e-7)
    assert (values[0] == 0).all() and values[-1, -1] == np.float32(0.3)


@pytest.mark.parametrize("depth", [1, 2, 12])
def test_depth_rates_have_three_conventions(depth):
    i = np.arange(depth)
    expected = {
        "linear": 0.2 * i / max(depth - 1, 1),
        "linear_from_one": 0.2 * (i + 1) / depth,
        "linear_from_zero": 0.2 * i / depth,
    }
    for mode, rates in expected.items():
        found = schedules.depth_rates(0.2, depth, mode=mode)
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, rates, atol=1e-8)
    np.testing.assert_array_equal(
        schedules.depth_rates(0.2, depth),
        schedules.depth_rates(0.2, depth, mode="linear"),
    )


def test_the_published_table_of_twelve_layers():
    """Linear, from 0 to .2: what timm gives a ViT with drop_path_rate=0.2."""
    table = [0, 0.018182, 0.036364, 0.054545, 0.072727, 0.090909]
    table += [0.109091, 0.127273, 0.145455, 0.163636, 0.181818, 0.2]
    np.testing.assert_allclose(schedules.depth_rates(0.2, 12), table, atol=1e-6)


def test_depth_rates_scan_beside_the_layers(key):
    rates = schedules.depth_rates(0.5, 4)
    keys = jax.random.split(key, 4)
    x = jnp.ones((32, 3))

    def layer(x, inputs):
        layer_key, rate = inputs
        return x + jaxdrop.stochastic_depth(layer_key, x, rate=rate), None

    scanned, _ = jax.lax.scan(layer, x, (keys, rates))
    looped = x
    for layer_key, rate in zip(keys, rates, strict=True):
        looped, _ = layer(looped, (layer_key, rate))
    np.testing.assert_allclose(scanned, looped, rtol=1e-6)
    assert len(np.unique(scanned)) > 1


SCHEDULES = {
    "early": lambda rate: schedules.early(rate, cutoff=CUTOFF),
    "early-constant": lambda rate: schedules.early(
        rate, cutoff=CUTOFF, decay="constant"
    ),
    "late": lambda rate: schedules.late(rate, cutoff=CUTOFF),
    "curriculum": lambda rate: schedules.curriculum(rate, num_steps=NUM_STEPS),
    "scheduled_drop_path": lambda rate: schedules.scheduled_drop_path(
        rate, depth=3, num_steps=NUM_STEPS
    ),
}
for_every_schedule = pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)


@for_every_schedule
def test_neither_step_nor_rate_compiles_again(make):
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def rate_at(step, rate):
        return make(rate)(step)

    for step in (0, 3, CUTOFF, NUM_STEPS):
        for rate in np.float32([0.0, 0.2, 1.0]):
            expected = make(float(rate))(step)
            assert expected.dtype == jnp.float32
            np.testing.assert_allclose(
                rate_at(jnp.int32(step), rate), expected, atol=1e-7
            )


@for_every_schedule
@pytest.mark.parametrize("kind", [int, np.int64, jnp.int32, jnp.float32, np.uint8])
def test_any_kind_of_number_is_a_step(make, kind):
    value = make(0.2)(kind(5))
    assert value.dtype == jnp.float32
    np.testing.assert_array_equal(value, make(0.2)(5))


@for_every_schedule
def test_optax_joins_them(make):
    joined = optax.join_schedules(
        [make(0.2), optax.constant_schedule(0.05)], [2 * CUTOFF]
    )
    np.testing.assert_array_equal(joined(CUTOFF - 1), make(0.2)(CUTOFF - 1))
    last = np.broadcast_to(np.float32(0.05), np.shape(make(0.2)(0)))
    np.testing.assert_allclose(joined(2 * CUTOFF), last)


def test_a_scheduled_rate_drives_dropout_in_a_jitted_step(key):
    schedule = schedules.early(0.5, cutoff=4, decay="constant")
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(count):
        y = jaxdrop.dropout(
            jax.random.fold_in(key, count), jnp.ones(1000), rate=schedule(count)
        )
        return jnp.mean(y == 0)

    dropped = [float(step(jnp.int32(count))) for count in range(8)]
    assert all(0.4 < share < 0.6 for share in dropped[:4])
    assert dropped[4:] == [0.0] * 4


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: schedules.early(1.5, cutoff=3), r"early: rate .* got 1\.5"),
        (lambda: schedules.early(0.5, cutoff=0), "cutoff must be at least 1, got 0"),
        (lambda: schedules.early(0.5, cutoff=3, decay="cosine"), "decay must be one"),
        (lambda: schedules.late(-0.5, cutoff=3), "late: rate"),
        (lambda: schedules.curriculum(0.5, num_steps=0), "num_steps must be at least"),
        (
            lambda: schedules.curriculum(0.5, num_steps=9, sharpness=-1.0),
            "sharpness must be finite and at least 0",
        ),
        (
            lambda: schedules.scheduled_drop_path(0.5, depth=0, num_steps=9),
            "depth must be at least 1",
        ),
        (lambda: schedules.depth_rates(0.5, 3, mode="cubic"), "mode must be one of"),
        (lambda: schedules.depth_rates(float("nan"), 3), "depth_rates: rate"),
    ],
)
def test_rejects_what_makes_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_steps_may_be_counted_in_small_integers_and_before_the_start():
    early, late = schedules.early(0.5, cutoff=1000), schedules.late(0.5, cutoff=1000)
    curriculum = schedules.curriculum(0.5, num_steps=1000)
    assert early(jnp.int8(5)) > 0.49 and late(jnp.int8(5)) == 0
    late = schedules.late(0.5, cutoff=2**24 + 1)
    assert late(2**24) == 0 and late(2**24 + 1) == 0.5
    assert curriculum(-5) == 0 and early(-5) == 0.5


@pytest.mark.parametrize("number", [2.5, float("nan"), float("inf"), True, "3", None])
def test_numbers_of_steps_are_whole(number):
    for make in (
        lambda: schedules.early(0.5, cutoff=number),
        lambda: schedules.late(0.5, cutoff=number),
        lambda: schedules.curriculum(0.5, num_steps=number),
        lambda: schedules.depth_rates(0.5, number),
    ):
        with pytest.raises(TypeError, match="must be an integer, got"):
            make()


LONG = 10**10


def test_lengths_and_steps_may_be_counted_in_tokens():
    steps = np.array([0, LONG // 2, LONG, 3 * LONG])
    early = schedules.early(0.5, cutoff=LONG + 1)(steps)
    np.testing.assert_allclose(early, [0.5, 0.25, 0, 0], atol=1e-7)
    late = schedules.late(0.5, cutoff=LONG)(steps)
    assert late.tolist() == [0, 0, 0.5, 0.5]
    assert schedules.late(0.5, cutoff=LONG)(LONG - 1) == 0  # not rounded to float32
    curriculum = schedules.curriculum(0.5, num_steps=LONG)(steps)
    np.testing.assert_allclose(curriculum, 0.5 * -np.expm1(-10 * steps / LONG))
    path = schedules.scheduled_drop_path(0.5, depth=1, num_steps=LONG)
    np.testing.assert_allclose(
        [path(s)[0] for s in steps.tolist()], [0, 0.25, 0.5, 0.5]
    )
    for cutoff in (3 * 10**9, 2**32 - 1):  # beyond int32, within uint32
        late = jax.jit(schedules.late(0.5, cutoff=cutoff))
        assert late(jnp.uint32(cutoff)) == 0.5 and late(jnp.uint32(cutoff - 1)) == 0
    on_device = jax.jit(schedules.early(0.5, cutoff=LONG))(jnp.int32(5))
    assert on_device == pytest.approx(0.5)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: schedules.early(0.5, cutoff=n),
        lambda n: schedules.late(0.5, cutoff=n),
        lambda n: schedules.curriculum(0.5, num_steps=n),
        lambda n: schedules.scheduled_drop_path(0.5, depth=1, num_steps=n),
        lambda n: schedules.depth_rates(0.5, n),
    ],
)
def test_lengths_that_nothing_counts_to_are_refused_when_made(make):
    with pytest.raises(ValueError, match=r"(cutoff|num_steps|depth) must be at most"):
        make(2**63)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.early(0.5, cutoff=5),
        schedules.late(0.5, cutoff=5),
        schedules.curriculum(0.5, num_steps=5),
        schedules.scheduled_drop_path(0.5, depth=2, num_steps=5),
    ],
)
def test_steps_that_are_not_numbers(schedule):
    assert jnp.isnan(schedule(np.nan)).all() and jnp.isnan(schedule(jnp.nan)).all()
    for step in ("a", None, 1j):
        with pytest.raises(TypeError, match="step must be"):
            schedule(step)


def test_traced_rates_out_of_range_become_nan():
    for rate in (1.5, -0.5, np.nan):
        traced = jnp.float32(rate)
        assert jnp.isnan(schedules.late(traced, cutoff=1)(2))
        assert jnp.isnan(schedules.early(traced, cutoff=3, decay="constant")(0))
        assert jnp.isnan(schedules.curriculum(traced, num_steps=1)(1))
        assert jnp.isnan(schedules.depth_rates(traced, 3)).all()
    falling = schedules.curriculum(0.5, num_steps=9, sharpness=jnp.float32(-1))
    assert jnp.isnan(falling(3))


def test_depth_rates_are_known_numbers_while_tracing():
    @jax.jit
    def total(x):
        rates = schedules.depth_rates(0.5, 3).tolist()
        assert rates == [0, 0.25, 0.5]
        return x * sum(rates)

    assert total(2.0) == 1.5


def test_a_step_may_be_an_integer_of_any_size():
    rate = schedules.early(0.5, cutoff=100)
    assert rate(10**400) == 0 and rate(0) == rate(-(10**400)) == 0.5


@for_every_schedule
@pytest.mark.parametrize("xp", [np, jnp])
@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (2, 3)])
def test_an_array_of_steps_gives_the_rates_of_each(make, xp, shape):
    """Also of as many steps as there are cells."""
    schedule, steps = make(0.2), np.arange(np.prod(shape)) * 3
    own = np.shape(schedule(0))
    expected = np.array([schedule(step) for step in steps.tolist()], np.float32)
    found = schedule(xp.asarray(steps.reshape(shape)))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected.reshape(shape + own), rtol=1e-6)


@pytest.mark.parametrize("sharpness", [0.0, 1e-300, 1e300])
@pytest.mark.parametrize("make", [float, jnp.float64])
def test_a_curriculum_of_any_sharpness_is_known_at_every_step(make, sharpness):
    with jax.enable_x64(True):
        schedule = schedules.curriculum(0.5, num_steps=9, sharpness=make(sharpness))
        for step in (0, 5, 10**400, np.inf, jnp.inf):
            expected = 0.5 if step and sharpness > 1 else 0
            assert schedule(step) == expected


def test_a_rate_is_checked_before_it_is_rounded():
    with jax.enable_x64(True):
        for rate in (1 + 1e-12, -1e-300):
            assert jnp.isnan(schedules.late(jnp.float64(rate), cutoff=1)(2))


@for_every_schedule
def test_an_unknown_step_beside_an_enormous_one_is_unknown(make):
    rates = make(0.2)([10**400, float("nan")])
    assert np.isfinite(rates[0]).all() and np.isnan(rates[1]).all()
