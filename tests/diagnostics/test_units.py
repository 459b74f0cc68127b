"""Dead, silent and important units, counted by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from at_once import at_once
from chance import normal
from jaxdrop import diagnostics

dead_units = at_once(diagnostics.dead_units)
activation_sparsity = at_once(diagnostics.activation_sparsity)
unit_importance = at_once(diagnostics.unit_importance)


def test_a_unit_is_dead_if_no_example_moves_it():
    activities = np.zeros((3, 4, 5), np.float32)
    activities[2, 1, 3], activities[:, :, 0] = -0.5, 1.0
    spoilt = activities.copy()
    spoilt[0, 0, 1] = np.nan
    dead, above, along, not_a_number = jax.jit(
        lambda x, spoilt: (
            diagnostics.dead_units({"conv": x})["conv"],
            diagnostics.dead_units(x, threshold=0.5),
            diagnostics.dead_units(x, axis=1),
            diagnostics.dead_units(spoilt),
        )
    )(activities, spoilt)
    np.testing.assert_array_equal(dead, [False, True, True, False, True])
    np.testing.assert_array_equal(above, [False, True, True, True, True])
    np.testing.assert_array_equal(along, [False] * 4)
    assert not not_a_number[1]


def test_batches_combine():
    first, second = jnp.array([[0.0, 0.0]]), jnp.array([[0.0, 2.0]])
    both = dead_units(first) & dead_units(second)
    whole = dead_units(jnp.concatenate([first, second]))
    np.testing.assert_array_equal(both, whole)


def test_sparsity_is_the_share_of_zeros():
    activities = jnp.asarray(np.maximum(normal(50, 8), 0))
    zeros = np.asarray(activities) == 0
    sparsity = jax.jit(diagnostics.activation_sparsity)
    np.testing.assert_allclose(sparsity({"a": activities})["a"], zeros.mean())
    each = activation_sparsity(activities, axis=-1)
    np.testing.assert_allclose(each, zeros.mean(axis=0), rtol=1e-6)
    small = activation_sparsity(activities, threshold=0.5)
    np.testing.assert_allclose(small, (np.asarray(activities) <= 0.5).mean())


def test_nothing_has_no_sparsity():
    assert np.isnan(activation_sparsity(jnp.zeros((0, 3))))
    assert np.isnan(activation_sparsity(jnp.zeros((0, 3)), axis=1)).all()


@pytest.mark.parametrize("chunk_size", [None, 1, 2, 5])
def test_importance_is_the_loss_without_a_unit_less_the_loss(chunk_size):
    kernel = jnp.array([[1.0, 2.0], [0.0, 0.0], [-3.0, 1.0], [0.5, 0.5], [4.0, -1.0]])
    hidden = normal(6, 5)
    loss = lambda h: jnp.sum((h @ kernel) ** 2, axis=-1)
    found = unit_importance(loss, hidden, chunk_size=chunk_size)
    assert found.shape == (5, 6)
    for unit in range(5):
        left_out = np.asarray(hidden).copy()
        left_out[:, unit] = 0
        expected = loss(jnp.asarray(left_out)) - loss(hidden)
        np.testing.assert_allclose(found[unit], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], np.zeros(6), atol=1e-4)  # nobody listens


def test_a_unit_may_be_left_at_its_mean():
    hidden = normal(6, 3) + 2
    total = lambda h: h.sum()
    at_mean = unit_importance(total, hidden, fill=hidden.mean(axis=0))
    np.testing.assert_allclose(at_mean, np.zeros(3), atol=1e-4)
    along = unit_importance(total, hidden.T, fill=hidden.mean(axis=0), axis=0)
    np.testing.assert_allclose(along, np.zeros(3), atol=1e-4)
    at_zero = unit_importance(total, hidden)
    np.testing.assert_allclose(at_zero, -hidden.sum(axis=0), rtol=1e-5)


def test_importance_may_be_a_tree_and_jits():
    hidden = normal(6, 3)
    losses = lambda h: {"sum": h.sum(), "each": h.sum(axis=-1)}
    measure = jax.jit(lambda h: unit_importance(losses, h))
    found = measure(hidden)
    chex.assert_shape([found["sum"], found["each"]], [(3,), (3, 6)])
    np.testing.assert_allclose(found["each"].sum(axis=1), found["sum"], atol=1e-5)


def test_units_are_checked():
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        dead_units(jnp.ones((2, 2)), axis=2)
    with pytest.raises(ValueError, match="threshold must be finite and at least 0"):
        activation_sparsity(jnp.ones((2, 2)), threshold=-1.0)
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        unit_importance(jnp.sum, jnp.ones((2, 2)), chunk_size=0)
    with pytest.raises(TypeError, match="unit_importance: activities must be floating"):
        unit_importance(jnp.sum, jnp.ones((2, 2), jnp.int32))


@pytest.mark.parametrize("rows", [2**16 - 1, 2**16])
def test_sparsity_of_more_activations_than_int32_counts(rows):
    share = jax.jit(lambda x: activation_sparsity(jnp.broadcast_to(x, (rows, 2**15))))
    assert share(jnp.bfloat16(0)) == 1 and share(jnp.bfloat16(1)) == 0


def test_small_numbers_of_numpy_and_the_smallest_integer_are_active():
    assert dead_units(np.array([[1e-50, 0.0]])).tolist() == [False, True]
    assert dead_units(np.array([[2**32, 0]])).tolist() == [False, True]
    for array in (np.asarray, jnp.asarray):
        small = array(np.int8([[-128, 1]]))
        assert dead_units(small, threshold=1).tolist() == [False, True]
        assert dead_units(small, threshold=1e10).tolist() == [True, True]


def test_a_traced_threshold_that_is_negative_gives_nan():
    x = jnp.ones((2, 2))
    assert np.isnan(activation_sparsity(x, threshold=jnp.float32(-1)))
    assert not dead_units(x, threshold=jnp.float32(-1)).any()


def test_sparsity_is_exported_for_a_batch_of_any_size():
    (batch,) = jax.export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, 2), jnp.float32)
    exported = jax.export.export(jax.jit(diagnostics.activation_sparsity))(shape)
    assert exported.call(jnp.array([[0.0, 1.0], [0.0, 0.0]])) == 0.75


def test_a_threshold_may_be_a_scalar_of_bfloat16():
    threshold = jnp.bfloat16(0.5).dtype.type(0.5)
    dead = dead_units(jnp.array([[0.25, 1.0]]), threshold=threshold)
    assert dead.tolist() == [True, False]


def test_integers_bools_and_a_fill_of_another_shape():
    whole = jnp.array([[0, 2], [0, -3]])
    share = diagnostics.activation_sparsity(whole, threshold=jnp.float32(2), axis=-1)
    np.testing.assert_array_equal(share, [1, 0.5])
    np.testing.assert_array_equal(diagnostics.dead_units(whole == 2), [True, False])
    with pytest.raises(ValueError, match=r"fill must be a scalar or of shape \(2,\)"):
        diagnostics.unit_importance(jnp.sum, jnp.ones((3, 2)), fill=jnp.ones(3))
