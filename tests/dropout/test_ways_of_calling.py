"""Whatever JAX can do with a function: nested, compiled ahead, donated, wrapped."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from family import for_the_family

drop = functools.partial(jaxdrop.dropout, rate=0.4)


def test_vmaps_within_vmaps_are_loops(key):
    keys = jax.random.split(key, (2, 3, 4))
    x = np.cos(np.arange(2 * 3 * 4 * 5, dtype=np.float32)).reshape(4, 2, 5, 3)
    rates = np.linspace(0.1, 0.9, 3, dtype=np.float32)
    one = lambda key, x, rate: jaxdrop.dropout(key, x, rate=rate)
    run = jax.jit(one)
    inner = jax.vmap(one, in_axes=(0, 0, None))  # over the last axis of keys
    middle = jax.vmap(inner, in_axes=(0, -1, 0), out_axes=1)
    outer = jax.jit(jax.vmap(middle, in_axes=(0, 1, None), out_axes=-1))
    found = np.asarray(outer(keys, x, rates))
    for i in range(2):
        for j in range(3):
            for k in range(4):
                expected = run(keys[i, j, k], x[k, i, :, j], rates[j])
                np.testing.assert_array_equal(found[k, j, :, i], expected)


def test_a_while_loop_and_a_switch_draw_as_outside(key):
    x = jnp.cos(jnp.arange(20.0))
    more = lambda s: (s[0] + 1, drop(jax.random.fold_in(key, s[0]), s[1]))
    _, looped = jax.lax.while_loop(lambda s: s[0] < 3, more, (0, x))
    for t in range(3):
        x = drop(jax.random.fold_in(key, t), x)
    np.testing.assert_allclose(looped, x, rtol=1e-6)
    branches = [lambda x: x, lambda x: drop(key, x), lambda x: -x]
    np.testing.assert_array_equal(jax.lax.switch(1, branches, x), drop(key, x))


@pytest.mark.parametrize(
    "policy",
    [None, "everything_saveable", "nothing_saveable", "dots_saveable"],
)
def test_every_policy_of_rematerialisation_gives_one_mask(policy, key):
    chosen = policy and getattr(jax.checkpoint_policies, policy)
    kernel, x = np.full((20, 20), 0.1, np.float32), np.cos(np.arange(20, dtype="f4"))
    block = lambda x: jnp.tanh(drop(key, x @ kernel) @ kernel).sum()
    again = jax.checkpoint(block, policy=chosen)
    both = (jax.jit(jax.value_and_grad(f))(x) for f in (block, again))
    for plain, kept in zip(*both, strict=True):
        np.testing.assert_allclose(kept, plain, rtol=1e-6, atol=1e-7)


def test_a_program_that_is_compiled_ahead_takes_other_keys_and_rates(key):
    x = jnp.cos(jnp.arange(20.0))
    step = jax.jit(lambda key, x, rate: jaxdrop.dropout(key, x, rate=rate))
    program = step.lower(key, x, jnp.float32(0.5)).compile()
    for seed, rate in ((1, 0.1), (2, 0.9), (3, 0.0)):
        k, r = jax.random.key(seed), jnp.float32(rate)
        np.testing.assert_allclose(
            program(k, x, r), jaxdrop.dropout(k, x, rate=r), rtol=1e-6
        )


def test_an_input_that_is_donated_is_dropped_rightly(key):
    expected = drop(key, jnp.ones(1000))
    x = jnp.ones(1000)
    np.testing.assert_array_equal(jax.jit(drop, donate_argnums=1)(key, x), expected)


@pytest.mark.parametrize("kind", [jax.custom_jvp, jax.custom_vjp])
def test_a_derivative_of_ones_own_may_drop(kind, key):
    @kind
    def straight_through(x):
        return jnp.round(x)

    if kind is jax.custom_jvp:
        straight_through.defjvp(lambda p, t: (jnp.round(p[0]), drop(key, t[0])))
    else:
        straight_through.defvjp(
            lambda x: (jnp.round(x), None), lambda _, g: (drop(key, g),)
        )
    x = jnp.cos(jnp.arange(20.0))
    if kind is jax.custom_jvp:
        _, slope = jax.jvp(straight_through, (x,), (jnp.ones(20),))
    else:
        slope = jax.grad(lambda x: straight_through(x).sum())(x)
    np.testing.assert_array_equal(slope, drop(key, jnp.ones(20)))


def test_keys_in_trees_and_closures_are_traced(key):
    x = jnp.ones(40)
    state = {"keys": (key, jax.random.fold_in(key, 1)), "step": 3}
    run = jax.jit(lambda state, x: drop(state["keys"][1], x))
    np.testing.assert_array_equal(run(state, x), drop(state["keys"][1], x))
    closed = jax.jit(lambda x: drop(key, x))
    np.testing.assert_array_equal(closed(x), drop(key, x))


def test_a_key_that_was_deleted_or_donated_is_an_error():
    key = jax.random.key(0)
    key.delete()
    with pytest.raises(RuntimeError, match="deleted"):
        drop(key, jnp.ones(4))
    raw = jax.random.PRNGKey(0)
    jax.jit(lambda key: key + jnp.uint32(1), donate_argnums=0)(raw)
    if raw.is_deleted():  # where buffers can be reused
        with pytest.raises(RuntimeError, match="deleted"):
            drop(raw, jnp.ones(4))


def test_a_key_and_data_on_two_devices_are_an_error_or_moved(key):
    """As for any function of JAX: what is committed elsewhere is not moved quietly."""
    first, second = jax.devices()[:2]
    here, there = jax.device_put(jnp.ones(8), first), jax.device_put(key, second)
    with pytest.raises(ValueError, match=r"[Dd]evice"):
        drop(there, here)
    np.testing.assert_array_equal(drop(key, here), drop(key, jnp.ones(8)))
    moved = drop(there, jax.device_put(here, second))
    assert moved.devices() == {second}
    np.testing.assert_array_equal(moved, drop(key, jnp.ones(8)))


@for_the_family
def test_another_default_generator_serves_whole(row):
    """Raw keys are then of that generator; evaluation and limits stay as they are."""
    with jax.default_prng_impl("rbg"):
        raw = jax.random.PRNGKey(3)
        x = np.cos(np.arange(np.prod(row.shape), dtype=np.float32))
        x = jax.device_put(x.reshape(row.shape))
        y = row(raw, x, 0.5)
        typed = row(jax.random.key(3), x, 0.5)
        assert (y.shape, y.dtype) == (x.shape, x.dtype)
        np.testing.assert_array_equal(y, typed)
        np.testing.assert_array_equal(row(raw, x, jnp.float32(0)), x)
        slope = jax.jit(jax.grad(lambda x: row(raw, x, 0.5).sum()))(x)
        assert np.isfinite(slope).all()


def test_weak_types_and_scalars_are_taken(key):
    weak = jnp.asarray(1.0) * 1
    y = drop(key, weak)
    assert (y.shape, y.dtype) == ((), jnp.float32)
    with jax.enable_x64(True):
        assert drop(key, jnp.float32(1)).dtype == jnp.float32
        assert drop(key, jnp.ones((), jnp.float32) * 1).dtype == jnp.float32
    keys = jax.random.split(key, 2000)
    draws = np.asarray(jax.vmap(drop, in_axes=(0, None))(keys, jnp.float32(3)))
    assert set(np.unique(draws)) == {np.float32(0), np.float32(3 / np.float32(0.6))}


def test_views_of_the_host_are_dropped_as_their_copies(key):
    whole = np.cos(np.arange(48, dtype=np.float32)).reshape(6, 8)
    for view in (whole.T, whole[::2, ::-1], whole[:, 1:5], np.asfortranarray(whole)):
        np.testing.assert_array_equal(drop(key, view), drop(key, view.copy()))
