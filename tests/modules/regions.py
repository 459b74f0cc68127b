"""Modules that drop channels and blocks, with every knob."""

import jax.numpy as jnp

import jaxdrop

X = 1 + jnp.arange(2 * 4 * 6 * 6.0).reshape(2, 4, 6, 6)
CHANNELS_FIRST = {"num_spatial_dims": 2, "channel_axis": 1}
CASES = {
    "SpatialDropout": (jaxdrop.spatial_dropout, CHANNELS_FIRST),
    "FeatureAlphaDropout": (jaxdrop.feature_alpha_dropout, CHANNELS_FIRST),
    "DropBlock": (
        jaxdrop.drop_block,
        {"block_size": (3, 2), "shared_channels": True, "seeds": "valid"}
        | CHANNELS_FIRST,
    ),
}
