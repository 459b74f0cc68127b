"""jaxdrop as Flax Linen modules: the functions, with a rate, a mode and keys.

Keys come from the collection ``dropout`` of each ``apply``, and the mode is
``deterministic``, an attribute or an argument of the call.

- ``ConcreteDropout``: a layer with a dropout rate that it learns.
- ``DropConnectConv``: a convolution whose weights are dropped.
- ``DropConnectDense``: a dense layer whose weights are dropped.
- ``DropoutModule``: the base of a module that drops at a rate.
- ``EmbeddingDropout``: word types, all occurrences together.
- ``L0Dense``: a dense layer that closes inputs for good.
- ``Masksembles``: a fixed set of masks, on in evaluation too.
- ``RecurrentDropoutLSTMCell``: drops the updates of the memory, never the memory.
- ``ShakeShake``: random mixing of two branches.
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

from jaxdrop._names import described, missing_name
from jaxdrop.linen import _dropout, _regions
from jaxdrop.linen._attention import attention_fn as attention_fn
from jaxdrop.linen._cells import RecurrentDropoutLSTMCell as RecurrentDropoutLSTMCell
from jaxdrop.linen._cells import ZoneoutCell as ZoneoutCell
from jaxdrop.linen._concrete_dropout import ConcreteDropout as ConcreteDropout
from jaxdrop.linen._conv import DropConnectConv as DropConnectConv
from jaxdrop.linen._conv import VariationalConv as VariationalConv
from jaxdrop.linen._drop_connect import DropConnectDense as DropConnectDense
from jaxdrop.linen._dropout import *
from jaxdrop.linen._l0 import L0Dense as L0Dense
from jaxdrop.linen._mc import mc_apply as mc_apply
from jaxdrop.linen._module import DropoutModule as DropoutModule
from jaxdrop.linen._module import StochasticModule as StochasticModule
from jaxdrop.linen._regions import *
from jaxdrop.linen._relatives import EmbeddingDropout as EmbeddingDropout
from jaxdrop.linen._relatives import Masksembles as Masksembles
from jaxdrop.linen._relatives import ShakeShake as ShakeShake
from jaxdrop.linen._relatives import SubsetStochasticDepth as SubsetStochasticDepth
from jaxdrop.linen._relatives import TokenDropout as TokenDropout
from jaxdrop.linen._variational import VariationalDense as VariationalDense
from jaxdrop.linen._variational_cell import VariationalCell as VariationalCell

__all__ = [
    "ConcreteDropout",
    "DropConnectConv",
    "DropConnectDense",
    "DropoutModule",
    "EmbeddingDropout",
    "L0Dense",
    "Masksembles",
    "RecurrentDropoutLSTMCell",
    "ShakeShake",
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
__all__ += _dropout.__all__
__all__ += _regions.__all__
if __doc__:  # python -OO removes docstrings
    __doc__ += described(_dropout) + described(_regions)


def __getattr__(name: str) -> object:
    raise AttributeError(missing_name(name, package=__name__, offered=__all__))


def __dir__() -> list[str]:
    return sorted(__all__)
