"""jaxdrop as Flax Linen modules: the functions, with a rate, a mode and keys.

Keys come from the collection ``dropout`` of each ``apply``, and the mode is
``deterministic``, an attribute or an argument of the call.

- ``AlphaDropout``: for SELU networks, keeps mean and variance.
- ``ConcreteDropout``: a layer with a dropout rate that it learns.
- ``DropBlock``: contiguous blocks of images, series or volumes.
- ``DropConnectConv``: a convolution whose weights are dropped.
- ``DropConnectDense``: a dense layer whose weights are dropped.
- ``Dropout``: entries, in the place of Flax's own.
- ``DropoutModule``: the base of a module that drops at a rate.
- ``EmbeddingDropout``: word types, all occurrences together.
- ``FeatureAlphaDropout``: whole channels, for SELU networks.
- ``GaussianDropout``: multiplies by Gaussian noise.
- ``L0Dense``: a dense layer that closes inputs for good.
- ``LockedDropout``: one mask for all time steps.
- ``Masksembles``: a fixed set of masks, on in evaluation too.
- ``RecurrentDropoutLSTMCell``: drops the updates of the memory, never the memory.
- ``ShakeDrop``: random mixing at the end of a residual branch.
- ``ShakeShake``: random mixing of two branches.
- ``SpatialDropout``: whole channels.
- ``StochasticDepth``: whole residual branches, also known as drop path.
- ``StochasticModule``: the base of a module with a mode and keys.
- ``SubsetStochasticDepth``: a branch that runs on part of the batch.
- ``TokenDropout``: tokens, of which fewer are left.
- ``VariationalCell``: one mask of inputs and state for all time steps.
- ``VariationalConv``: a convolution that learns how noisy its weights are.
- ``VariationalDense``: a dense layer that learns how noisy its weights are.
- ``ZoneoutCell``: units that keep their old values at random.
- ``attention_fn``: attention with dropout in linear memory, for Flax's attention.
- ``mc_apply``: one stochastic pass, for ``jaxdrop.mc``.
"""

from jaxdrop._names import missing_name
from jaxdrop.linen._attention import attention_fn as attention_fn
from jaxdrop.linen._cells import RecurrentDropoutLSTMCell as RecurrentDropoutLSTMCell
from jaxdrop.linen._cells import ZoneoutCell as ZoneoutCell
from jaxdrop.linen._concrete_dropout import ConcreteDropout as ConcreteDropout
from jaxdrop.linen._conv import DropConnectConv as DropConnectConv
from jaxdrop.linen._conv import VariationalConv as VariationalConv
from jaxdrop.linen._drop_connect import DropConnectDense as DropConnectDense
from jaxdrop.linen._dropout import AlphaDropout as AlphaDropout
from jaxdrop.linen._dropout import DropBlock as DropBlock
from jaxdrop.linen._dropout import Dropout as Dropout
from jaxdrop.linen._dropout import FeatureAlphaDropout as FeatureAlphaDropout
from jaxdrop.linen._dropout import GaussianDropout as GaussianDropout
from jaxdrop.linen._dropout import LockedDropout as LockedDropout
from jaxdrop.linen._dropout import ShakeDrop as ShakeDrop
from jaxdrop.linen._dropout import SpatialDropout as SpatialDropout
from jaxdrop.linen._dropout import StochasticDepth as StochasticDepth
from jaxdrop.linen._l0 import L0Dense as L0Dense
from jaxdrop.linen._mc import mc_apply as mc_apply
from jaxdrop.linen._module import DropoutModule as DropoutModule
from jaxdrop.linen._module import StochasticModule as StochasticModule
from jaxdrop.linen._relatives import EmbeddingDropout as EmbeddingDropout
from jaxdrop.linen._relatives import Masksembles as Masksembles
from jaxdrop.linen._relatives import ShakeShake as ShakeShake
from jaxdrop.linen._relatives import SubsetStochasticDepth as SubsetStochasticDepth
from jaxdrop.linen._relatives import TokenDropout as TokenDropout
from jaxdrop.linen._variational import VariationalDense as VariationalDense
from jaxdrop.linen._variational_cell import VariationalCell as VariationalCell

__all__ = [
    "AlphaDropout",
    "ConcreteDropout",
    "DropBlock",
    "DropConnectConv",
    "DropConnectDense",
    "Dropout",
    "DropoutModule",
    "EmbeddingDropout",
    "FeatureAlphaDropout",
    "GaussianDropout",
    "L0Dense",
    "LockedDropout",
    "Masksembles",
    "RecurrentDropoutLSTMCell",
    "ShakeDrop",
    "ShakeShake",
    "SpatialDropout",
    "StochasticDepth",
    "StochasticModule",
    "SubsetStochasticDepth",
    "TokenDropout",
    "VariationalCell",
    "VariationalConv",
    "VariationalDense",
    "ZoneoutCell",
    "attention_fn",
    "mc_apply",
]


def __getattr__(name: str) -> object:
    raise AttributeError(missing_name(name, package=__name__, offered=__all__))


def __dir__() -> list[str]:
    return sorted(__all__)
