"""Layers with noisy weights, and options of theirs."""

from flax import nnx

import jaxdrop

REGULARIZERS = {"weight_regularizer": 1e-3, "dropout_regularizer": 1e-2}


def drop_connect(**options):
    return jaxdrop.nnx.DropConnectLinear(8, 4, 0.4, rngs=nnx.Rngs(0), **options)


def concrete(layer, **options):
    return jaxdrop.nnx.ConcreteDropout(
        layer, **REGULARIZERS, rngs=nnx.Rngs(dropout=0), **options
    )


CONVOLUTION = {"strides": 2, "padding": "VALID", "feature_group_count": 2}
