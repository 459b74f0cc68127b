"""No surprises: compilations, transfers, leaks, threads, and JAX's modes for debugging.

Each promise is tested on every row of the family, with tiny shapes.
"""

import contextlib
import functools
import gc
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from family import Call, Row, for_the_family, for_the_relatives

RATE = jnp.float32(0.3)
MODES = [
    *(lambda: jax.debug_nans(True), lambda: jax.debug_infs(True)),
    *(lambda: jax.enable_checks(True), lambda: jax.legacy_prng_key("error")),
]


@functools.cache
def data(row: Row | Call) -> jax.Array:
    numbers = np.cos(np.arange(np.prod(row.shape), dtype=np.float32))
    return jax.device_put(numbers.reshape(row.shape))


def value_and_slope(row: Row):
    """A training step in small, for one key and rate."""

    def step(key, x, rate):
        return jax.value_and_grad(lambda x: jnp.sum(jnp.sin(row(key, x, rate))))(x)

    return step


@contextlib.contextmanager
def compilations(caplog):
    """Lists what is compiled inside, by JAX's own log."""
    seen: list[str] = []
    caplog.clear()
    with caplog.at_level(logging.WARNING), jax.log_compiles(True):
        yield seen
    found = (record.getMessage() for record in caplog.records)
    seen += [message for message in found if message.startswith("Compiling ")]


def test_a_hundred_keys_and_three_sizes_compile_three_times(key):
    """For rates, and for every row, see the contract."""
    traces = []

    @jax.jit
    def run(key, x):
        traces.append(x.shape)
        return jaxdrop.dropout(key, x, rate=0.5)

    for t, k in enumerate(jax.random.split(key, 100)):
        run(k, jnp.ones((t % 3 + 1, 4)))
    assert len(traces) == 3


@for_the_family
def test_calls_outside_jit_compile_nothing_anew(row, key, caplog):
    x, keys = data(row), list(jax.random.split(key, 20))
    row(keys[0], x, 0.5)
    with compilations(caplog) as compiled:
        for t, k in enumerate(keys):
            row(k, x, 0.02 * (t + 1))
    assert not compiled


def test_the_log_of_compilations_is_not_empty_by_mistake(caplog):
    with compilations(caplog) as compiled:
        jax.jit(lambda x: x + jnp.float32(1.25))(jnp.ones(3))
    assert compiled


@for_the_family
def test_nothing_moves_between_host_and_device(row, key):
    x, run = data(row), jax.jit(row)
    run(key, x, RATE)
    with jax.transfer_guard("disallow_explicit"):
        run(key, x, RATE)


def test_nothing_moves_outside_jit_and_a_move_is_seen(key):
    x = jnp.ones((4, 6))
    jaxdrop.dropout(key, x, rate=RATE)
    with jax.transfer_guard("disallow_explicit"):
        jaxdrop.dropout(key, x, rate=RATE)
        with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-dev"):
            jaxdrop.dropout(key, np.ones((4, 6), np.float32), rate=RATE)


@pytest.fixture
def frozen():
    """Leaves what exists out of the collections in which leaks are looked for."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@for_the_family
@pytest.mark.usefixtures("frozen")
def test_no_tracer_leaks(row, key):
    with jax.checking_leaks():
        keys = jax.random.split(key, 2)
        xs = jnp.stack([data(row)] * 2)
        step = jax.vmap(value_and_slope(row), (0, 0, None))
        jax.make_jaxpr(jax.jit(step))(keys, xs, RATE)


@for_the_family
def test_checks_find_nothing_at_any_rate(row, key):
    """NaN, infinity, JAX's internal checks, and no key of the old kind."""
    x, step = data(row), jax.jit(value_and_slope(row))
    rates = [jnp.float32(rate) for rate in ((0, 0.3, 1) if row.unit_rate else (0, 0.3))]
    with contextlib.ExitStack() as stack:
        for mode in MODES:
            stack.enter_context(mode())
        slopes = [step(key, x, rate)[1] for rate in rates]
    slope = jax.jit(jax.grad(lambda x: jnp.sin(x).sum()))(x)
    np.testing.assert_array_equal(slopes[0], slope)


# What is no dropper: attention and its relatives, inputs, Monte-Carlo dropout.


def loss_and_slope(call: Call):
    """Everything it returns, and, if it has one, the slope by its array."""

    def loss(x, key):
        leaves = jax.tree.leaves(call.function(key, x))
        return sum(jnp.sum(jnp.sin(leaf.astype(x.dtype))) for leaf in leaves)

    def step(key, x):
        if not call.has_slope:
            return loss(x, key), x
        return jax.value_and_grad(loss)(x, key)

    return step


@pytest.mark.slow
@for_the_relatives
@pytest.mark.usefixtures("frozen")
def test_relatives_leak_no_tracer(call, key):
    with jax.checking_leaks():
        xs, keys = jnp.stack([data(call)] * 2), jax.random.split(key, 2)
        jax.make_jaxpr(jax.jit(jax.vmap(loss_and_slope(call))))(keys, xs)


@pytest.mark.slow
@for_the_relatives
def test_checks_find_nothing_in_relatives(call, key):
    x, step = data(call), jax.jit(loss_and_slope(call))
    with contextlib.ExitStack() as stack:
        for mode in MODES:
            stack.enter_context(mode())
        value, slope = step(key, x)
    assert jnp.isfinite(value) and jnp.isfinite(slope).all()


@for_the_relatives
def test_relatives_use_no_key_twice(call):
    x = data(call)
    with jax.debug_key_reuse(True):
        call.function(jax.random.key(11), x)
        key = jax.random.key(12)
        call.function(key, x)
        reuse = pytest.raises(jax.errors.KeyReuseError)
        with contextlib.nullcontext() if call.folds else reuse:
            call.function(key, x)


@for_the_family
def test_threads_draw_what_one_thread_draws(row, key):
    x, keys = data(row), list(jax.random.split(key, 16))
    alone = [row(k, x, 0.3) for k in keys]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda k: row(k, x, 0.3), keys))
    np.testing.assert_array_equal(together, alone)


def test_threads_may_be_the_first_to_call(key):
    """Many threads trace and compile one technique at once."""
    x, keys = jnp.ones((4, 29)), list(jax.random.split(key, 16))  # a shape of its own
    drop = functools.partial(jaxdrop.dropout, rate=0.3)
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda k: drop(k, x), keys))
    np.testing.assert_array_equal(together, [drop(k, x) for k in keys])


@pytest.mark.slow
def test_a_new_process_warns_of_nothing():
    code = (
        "import jax, jax.numpy as jnp, jaxdrop, jaxdrop.nnx, jaxdrop.linen\n"
        "key, x = jax.random.key(0), jnp.ones((4, 6))\n"
        "jaxdrop.dropout(key, x, rate=0.5)\n"
        "jaxdrop.nnx.Dropout(0.5)(x, rngs=key)\n"
        "jaxdrop.linen.Dropout(0.5).apply({}, x, False, key)\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert not result.stderr


def test_errors_about_axes_name_the_function_and_the_argument(key):
    x = jnp.ones((2, 3, 4, 5))
    for name in ("dropout", "gaussian_dropout", "alpha_dropout"):
        with pytest.raises(ValueError, match=f"{name}: broadcast_dims: axis 4"):
            getattr(jaxdrop, name)(key, x, rate=0.5, broadcast_dims=(4,))
    with pytest.raises(ValueError, match="concrete_dropout: broadcast_dims: axis 4"):
        jaxdrop.concrete_dropout(key, x, 0.0, broadcast_dims=(4,))
    for name in ("spatial_dropout", "drop_block"):
        with pytest.raises(ValueError, match=f"{name}: channel_axis: axis 4"):
            getattr(jaxdrop, name)(key, x, rate=0.5, channel_axis=4)
    with pytest.raises(ValueError, match="subset_stochastic_depth: batch_axis: axis 4"):
        jaxdrop.subset_stochastic_depth(key, jnp.sin, x, rate=0.5, batch_axis=4)
