"""Randomness of recurrent cells: masks of a sequence, and keys of its steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from jaxdrop._dropout import _sequences
from jaxdrop._dropout._carries import KeyedCarry, MaskedCarry

X = jnp.arange(1.0, 7.0).reshape(2, 3)
MASKS = jnp.array([[[True, False, True], [False, True, True]]] * 2)  # of two gates


def test_dropping_is_a_pytree_whose_numbers_are_static():
    drop = _sequences.Drop(MASKS[:, 0], np.float32(0.5), False)
    assert len(jax.tree.leaves(drop)) == 1  # the mask
    again = jax.jit(lambda drop: drop)(drop)
    assert again.rate == 0.5 and again.flag is False
    np.testing.assert_array_equal(again(X), drop(X))
    traced = _sequences.Drop(None, jnp.float32(0.5), jnp.array(True))
    assert len(jax.tree.leaves(traced)) == 2


def test_a_gate_has_a_mask_of_its_own():
    for gate in (0, 1):
        y = _sequences.apply_mask(X, MASKS, rate=0.5, flag=False, gate=gate)
        np.testing.assert_array_equal(y, np.where(MASKS[:, gate], 2 * X, 0))
    shared = _sequences.apply_mask(X, MASKS[:, 1], rate=0.5, flag=False, gate=0)
    np.testing.assert_array_equal(shared, np.where(MASKS[:, 1], 2 * X, 0))


def test_masks_are_drawn_for_examples_and_gates_unless_nothing_is_dropped(key):
    draw = lambda key, **options: _sequences.draw_mask(key, (4, 5), **options)
    assert draw(key, rate=0.5, flag=False).shape == (4, 5)
    assert draw(key, rate=0.5, flag=False, num_gates=3).shape == (4, 3, 5)
    expected = jaxdrop.masks.bernoulli(key, (4, 5), rate=0.3)
    np.testing.assert_array_equal(draw(key, rate=0.3, flag=False), expected)
    assert draw(None, rate=0.5, flag=False) is draw(key, rate=0, flag=False) is None
    assert draw(key, rate=0.5, flag=True) is None
    assert draw(key, rate=0.5, flag=jnp.array(True)).all()


def test_a_traced_mode_keeps_everything_and_a_missing_mask_is_named():
    kept = _sequences.apply_mask(X, MASKS[:, 0], rate=0.5, flag=jnp.array(True))
    np.testing.assert_array_equal(kept, X)
    assert _sequences.apply_mask(X, None, rate=0.5, flag=True) is X
    with pytest.raises(ValueError, match=r"the carry has no masks: .* evaluation"):
        _sequences.apply_mask(X, None, rate=0.5, flag=False)


def test_an_example_has_its_own_key_folded_with_its_step(key):
    carry = _sequences.start(X, key, (2,))
    keys = jax.random.split(key, 2)
    for step in range(3):
        drawn = _sequences.for_each_example(
            lambda k, x: jax.random.uniform(k, x.shape), carry, X
        )
        for row in range(2):
            own = jax.random.fold_in(keys[row], step)
            np.testing.assert_array_equal(drawn[row], jax.random.uniform(own, (3,)))
        carry = _sequences.advance(carry, X)
    assert carry.step.tolist() == [3, 3]
    silent = _sequences.advance(_sequences.start(X, None, (2,)), X)
    assert silent.keys is silent.step is None


def test_a_step_drops_by_the_mask_of_the_sequence_or_by_a_fresh_one(key):
    masked = MaskedCarry(X, None, MASKS[:, 0])
    y = _sequences.drop_step(X, masked, rate=0.5, flag=False)
    np.testing.assert_array_equal(y, np.where(MASKS[:, 0], 2 * X, 0))
    carry = _sequences.start(X, key, (2,))
    drop = lambda carry: _sequences.drop_step(
        jnp.ones((2, 64)), carry, rate=0.5, flag=False
    )
    assert (drop(carry) != drop(_sequences.advance(carry, X))).any()
    with pytest.raises(ValueError, match="the carry has no keys"):
        drop(KeyedCarry(X, None, None))


def zone(output, new, *, source, at=0, rate=1.0):
    """A step from zeros, of which all units keep their old value."""
    carry = KeyedCarry(jnp.zeros_like(new), None, None)
    return _sequences.zone_step(
        carry,
        new,
        output,
        memory_rate=rate,
        state_rate=rate,
        flag=True,
        at=at,
        source=source,
    )


def test_the_output_of_a_zoned_cell_is_the_state_a_copy_or_its_own():
    carry, output = zone(X, X, source="unknown", rate=0.25)
    np.testing.assert_allclose(output, 0.75 * X)  # the expectation, from zeros
    np.testing.assert_array_equal(carry.cell, output)
    copy = X + 0
    assert (zone(copy, X, source="state")[1] == 0).all()
    assert (zone(copy, X, source="checked")[1] == 0).all()
    assert zone(copy, X, source="cell")[1] is copy
    assert zone(X, X, source="unknown", at=None)[1].shape == X.shape  # found by itself


def test_an_output_that_is_not_the_state_is_refused_or_nan():
    other = X.at[0, 0].add(1)
    found = zone(other, X, source="checked")[1]
    np.testing.assert_array_equal(np.isnan(found), np.asarray(other != X))
    with pytest.raises(ValueError, match=r"the output .* Pass output=\"state\""):
        zone(other, X, source="unknown")
