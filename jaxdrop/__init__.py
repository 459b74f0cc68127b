"""Regularization for JAX and Flax: pure functions, thin modules, no hidden state."""

import importlib
from typing import TYPE_CHECKING, Any

from jaxdrop import acquisition as acquisition
from jaxdrop import constraints as constraints
from jaxdrop import diagnostics as diagnostics
from jaxdrop import early_stopping as early_stopping
from jaxdrop import inputs as inputs
from jaxdrop import keys as keys
from jaxdrop import masks as masks
from jaxdrop import mc as mc
from jaxdrop import metrics as metrics
from jaxdrop import penalties as penalties
from jaxdrop import prng as prng
from jaxdrop import schedules as schedules
from jaxdrop._attention.dot_product_attention import (
    dot_product_attention as dot_product_attention,
)
from jaxdrop._attention.drop_head import drop_head as drop_head
from jaxdrop._attention.drop_key import drop_key as drop_key
from jaxdrop._dropout.alpha_dropout import alpha_dropout as alpha_dropout
from jaxdrop._dropout.concrete_dropout import concrete_dropout as concrete_dropout
from jaxdrop._dropout.concrete_penalty import concrete_penalty as concrete_penalty
from jaxdrop._dropout.drop_block import drop_block as drop_block
from jaxdrop._dropout.drop_connect import drop_connect as drop_connect
from jaxdrop._dropout.dropout import dropout as dropout
from jaxdrop._dropout.embedding_dropout import embedding_dropout as embedding_dropout
from jaxdrop._dropout.feature_alpha_dropout import (
    feature_alpha_dropout as feature_alpha_dropout,
)
from jaxdrop._dropout.gaussian_dropout import gaussian_dropout as gaussian_dropout
from jaxdrop._dropout.hard_concrete import hard_concrete as hard_concrete
from jaxdrop._dropout.hard_concrete_penalty import (
    hard_concrete_penalty as hard_concrete_penalty,
)
from jaxdrop._dropout.layer_drop import layer_drop as layer_drop
from jaxdrop._dropout.locked_dropout import locked_dropout as locked_dropout
from jaxdrop._dropout.masksembles import masksembles as masksembles
from jaxdrop._dropout.mixout import mixout as mixout
from jaxdrop._dropout.multi_sample import multi_sample as multi_sample
from jaxdrop._dropout.shake_drop import shake_drop as shake_drop
from jaxdrop._dropout.shake_shake import shake_shake as shake_shake
from jaxdrop._dropout.spatial_dropout import spatial_dropout as spatial_dropout
from jaxdrop._dropout.stochastic_depth import stochastic_depth as stochastic_depth
from jaxdrop._dropout.subset_stochastic_depth import (
    subset_stochastic_depth as subset_stochastic_depth,
)
from jaxdrop._dropout.token_dropout import token_dropout as token_dropout
from jaxdrop._dropout.variational_dense import variational_dense as variational_dense
from jaxdrop._dropout.variational_penalty import (
    variational_penalty as variational_penalty,
)
from jaxdrop._dropout.variational_sparsity import (
    variational_sparsity as variational_sparsity,
)
from jaxdrop._dropout.zoneout import zoneout as zoneout
from jaxdrop._names import missing_name as _missing_name
from jaxdrop.diagnostics._audit import frameworks as _frameworks

if TYPE_CHECKING:
    from jaxdrop import linen as linen
    from jaxdrop import nnx as nnx
    from jaxdrop import plots as plots

_frameworks.register(
    "flax.linen", lambda: importlib.import_module("jaxdrop.linen._audit")
)
_frameworks.register("flax.nnx", lambda: importlib.import_module("jaxdrop.nnx._audit"))

__version__ = "0.1.0"

_LOADED_ON_USE = ("linen", "nnx", "plots")  # they import Flax, and matplotlib


def __getattr__(name: str) -> Any:
    if name in _LOADED_ON_USE:
        return importlib.import_module(f"jaxdrop.{name}")
    raise AttributeError(_missing_name(name, package="jaxdrop", offered=globals()))


def __dir__() -> list[str]:
    imports = {"TYPE_CHECKING", "Any", "importlib"}
    return sorted({*globals(), *_LOADED_ON_USE} - imports)
