"""Masks of blocks: their sides, and rates that are realized."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop


def test_sides_and_axes_are_integers_of_any_kind(key):
    x = jnp.ones((2, 6, 6, 3))
    options = {"rate": 0.3, "block_size": (3, 2), "num_spatial_dims": 2}
    plain = jaxdrop.drop_block(key, x, **options)
    options |= {"block_size": np.array([3, 2]), "num_spatial_dims": np.int64(2)}
    assert (jaxdrop.drop_block(key, x, **options) == plain).all()
    for knob in ({"block_size": True}, {"num_spatial_dims": True}):
        with pytest.raises(ValueError, match="got True"):
            jaxdrop.drop_block(key, x, **{**options, **knob})


RATES = (0.05, 0.1, 0.25, 0.5)


@pytest.mark.parametrize("volume", [1, 9, 49, 343])
@pytest.mark.parametrize("rate", [0.001, *RATES, 0.99])
def test_the_threshold_realises_the_rate_within_one_percent(rate, volume):
    layout = jaxdrop._masks.layout_blocks(
        (volume, 1),
        block_size=volume,
        num_spatial_dims=1,
        channel_axis=-1,
        shared_channels=False,
        seeds="padded",
    )
    for given in (rate, jnp.float32(rate)):
        keep = jaxdrop.masks.keep_probability(given)
        survival, rare = jaxdrop._masks.seed_survival(keep, (volume, 1), layout)
        steps = math.ceil(float(jnp.float32(survival)) * 2**23) / 2**23
        if rare is not None and float(rare) < 2**-14:
            steps = 1 - round(float(rare) * 2**32) / 2**32
        assert abs((1 - steps**volume) / rate - 1) < 0.003
