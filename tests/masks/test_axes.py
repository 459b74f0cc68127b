"""Axes of masks: shared, spatial and sharded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxdrop
from chance import (
    assert_frequency,
)
from jaxdrop import _masks, masks

HELD = (96, 64)  # large enough to be drawn into memory on a CPU
BROADCAST = [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]


@pytest.mark.parametrize("axes", BROADCAST)
def test_shared_axes_share_one_draw(key, axes):
    shape = (12, 13, 14)
    mask = masks.bernoulli(key, shape, rate=0.5, broadcast_dims=axes)
    negative = tuple(axis - 3 for axis in axes)
    assert mask.shape == tuple(1 if i in axes else n for i, n in enumerate(shape))
    assert_frequency(mask, 0.5)
    np.testing.assert_array_equal(
        mask, masks.bernoulli(key, shape, rate=0.5, broadcast_dims=negative)
    )


def test_shared_axes_of_length_one_and_all_axes_are_one_decision(key):
    one = masks.bernoulli(key, (1, 5), rate=0.5, broadcast_dims=(0,))
    assert one.shape == (1, 5)
    mask = masks.bernoulli(key, (4, 5), rate=0.5, broadcast_dims=(0, 1))
    assert mask.shape == (1, 1)


def test_wrong_axes_are_named(key):
    with pytest.raises(ValueError, match="axis 5 is out of bounds for rank 3"):
        masks.bernoulli(key, (2, 3, 4), rate=0.5, broadcast_dims=(5,))
    one = jaxdrop.dropout(key, jnp.ones((3, 40)), rate=0.5, broadcast_dims=0)
    assert (one == one[:1]).all()
    with pytest.raises(ValueError, match="num_spatial_dims must be 1, 2 or 3"):
        jaxdrop.spatial_dropout(
            key, jnp.ones((2, 3, 3, 1)), rate=0.5, num_spatial_dims=2.0
        )
    with pytest.raises(ValueError, match="names an axis twice"):
        masks.bernoulli(key, (2, 3, 4), rate=0.5, broadcast_dims=(1, -2))
    with pytest.raises(TypeError, match="must be an integer"):
        masks.bernoulli(key, (2, 3, 4), rate=0.5, broadcast_dims=("a",))


def test_a_shared_axis_may_be_sharded(key):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    share = lambda x: jaxdrop.dropout(key, x, rate=0.5, broadcast_dims=(0,))
    with jax.set_mesh(mesh):
        spread = jax.device_put(
            jnp.ones(HELD), NamedSharding(mesh, PartitionSpec("data"))
        )
        y = jax.jit(share)(spread)
        assert y.sharding.spec[0] == "data"
    np.testing.assert_array_equal(y, share(jnp.ones(HELD)))


def test_small_arrays_get_axes_in_front():
    small = np.arange(6).reshape(2, 3)
    for ndim, shape in ((2, (2, 3)), (4, (1, 1, 2, 3))):
        found = _masks.at_rank(small, ndim)
        assert found.shape == shape
        np.testing.assert_array_equal(found.reshape(2, 3), small)
    assert _masks.at_rank(0.5, 3).shape == (1, 1, 1)
