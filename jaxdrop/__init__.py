"""Regularization for JAX and Flax: pure functions, thin modules, no hidden state.

Namespaces:

- ``acquisition``: which points of a pool to label next.
- ``constraints``: limits of weights as optax transformations, masks for weight decay.
- ``diagnostics``: where a program draws, common mistakes, measurements of units.
- ``early_stopping``: when to stop, as a value that is updated.
- ``inputs``: noise on data, cutout, mixup and others.
- ``keys``: keys by the name of a site, by step, by example and by shard.
- ``linen``, ``nnx``: the functions as modules of Flax, loaded on first use.
- ``masks``: draws masks and applies them.
- ``mc``: Monte-Carlo dropout, the mean and the uncertainty of a random function.
- ``metrics``: calibration, proper scores, detection, selective prediction, regression.
- ``penalties``: terms of a loss, of parameters, of activations and of outputs.
- ``plots``: figures of the above, with matplotlib.
- ``prng``: random bits, and generators that are cheaper than JAX's default.
- ``schedules``: rates by step and by depth.

Functions; those that draw take a key first:

"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jaxdrop import (
    _names,
    acquisition,
    constraints,
    diagnostics,
    early_stopping,
    inputs,
    keys,
    masks,
    mc,
    metrics,
    penalties,
    plots,
    prng,
    schedules,
)
from jaxdrop._attention.dot_product_attention import dot_product_attention
from jaxdrop._attention.drop_head import drop_head
from jaxdrop._attention.drop_key import drop_key
from jaxdrop._dropout.alpha_dropout import alpha_dropout
from jaxdrop._dropout.concrete_dropout import concrete_dropout
from jaxdrop._dropout.concrete_penalty import concrete_penalty
from jaxdrop._dropout.drop_block import drop_block
from jaxdrop._dropout.drop_connect import drop_connect
from jaxdrop._dropout.dropout import dropout
from jaxdrop._dropout.embedding_dropout import embedding_dropout
from jaxdrop._dropout.feature_alpha_dropout import feature_alpha_dropout
from jaxdrop._dropout.gaussian_dropout import gaussian_dropout
from jaxdrop._dropout.hard_concrete import hard_concrete
from jaxdrop._dropout.hard_concrete_penalty import hard_concrete_penalty
from jaxdrop._dropout.layer_drop import layer_drop
from jaxdrop._dropout.locked_dropout import locked_dropout
from jaxdrop._dropout.masksembles import masksembles
from jaxdrop._dropout.mixout import mixout
from jaxdrop._dropout.multi_sample import multi_sample
from jaxdrop._dropout.shake_drop import shake_drop
from jaxdrop._dropout.shake_shake import shake_shake
from jaxdrop._dropout.spatial_dropout import spatial_dropout
from jaxdrop._dropout.stochastic_depth import stochastic_depth
from jaxdrop._dropout.subset_stochastic_depth import subset_stochastic_depth
from jaxdrop._dropout.token_dropout import token_dropout
from jaxdrop._dropout.variational_dense import variational_dense
from jaxdrop._dropout.variational_penalty import variational_penalty
from jaxdrop._dropout.variational_sparsity import variational_sparsity
from jaxdrop._dropout.zoneout import zoneout
from jaxdrop.diagnostics._audit import frameworks

if TYPE_CHECKING:
    from jaxdrop import linen, nnx

frameworks.register(
    "flax.linen", lambda: importlib.import_module("jaxdrop.linen._audit")
)
frameworks.register("flax.nnx", lambda: importlib.import_module("jaxdrop.nnx._audit"))

__version__ = "0.1.0"

__all__ = [
    "acquisition",
    "alpha_dropout",
    "concrete_dropout",
    "concrete_penalty",
    "constraints",
    "diagnostics",
    "dot_product_attention",
    "drop_block",
    "drop_connect",
    "drop_head",
    "drop_key",
    "dropout",
    "early_stopping",
    "embedding_dropout",
    "feature_alpha_dropout",
    "gaussian_dropout",
    "hard_concrete",
    "hard_concrete_penalty",
    "inputs",
    "keys",
    "layer_drop",
    "linen",
    "locked_dropout",
    "masks",
    "masksembles",
    "mc",
    "metrics",
    "mixout",
    "multi_sample",
    "nnx",
    "penalties",
    "plots",
    "prng",
    "schedules",
    "shake_drop",
    "shake_shake",
    "spatial_dropout",
    "stochastic_depth",
    "subset_stochastic_depth",
    "token_dropout",
    "variational_dense",
    "variational_penalty",
    "variational_sparsity",
    "zoneout",
]
_LOADED_ON_USE = ("linen", "nnx")  # they import Flax
_ROOMS = {
    name: globals()[name].__all__
    for name in __all__
    if isinstance(globals().get(name), ModuleType)
}
_FUNCTIONS = [name for name in __all__ if name not in (*_ROOMS, *_LOADED_ON_USE)]
if __doc__:  # python -OO removes docstrings
    __doc__ += _names.described(sys.modules[__name__], _FUNCTIONS)


def __getattr__(name: str) -> Any:
    if name in _LOADED_ON_USE:
        return importlib.import_module(f"jaxdrop.{name}")
    inner = [f"{room}.{inner}" for room, names in _ROOMS.items() for inner in names]
    raise AttributeError(
        _names.missing_name(name, package=__name__, offered=__all__ + inner)
    )


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
