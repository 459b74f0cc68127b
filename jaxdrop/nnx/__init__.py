"""jaxdrop as Flax NNX modules: the functions, with a rate, a mode and keys.

A module that was given ``rngs`` has a stream of keys of its own, which is state of
the model: each draw advances it. ``nnx.jit`` returns this change to the model; a plain
``jax.jit`` loses it, and every call draws the same masks, unless the state is returned
from the function, or a key is an argument: ``model(x, rngs=key)``.

- ``ConcreteDropout``: a layer with a dropout rate that it learns.
- ``DropConnectConv``: a convolution whose weights are dropped.
- ``DropConnectLinear``: a dense layer whose weights are dropped.
- ``DropoutModule``: the base of a module that drops at a rate.
- ``EmbeddingDropout``: word types, all occurrences together.
- ``L0Linear``: a dense layer that closes inputs for good.
- ``Masksembles``: a fixed set of masks, on in evaluation too.
- ``Rate``: a rate that many modules share.
- ``RecurrentDropoutLSTMCell``: drops the updates of the memory, never the memory.
- ``ShakeShake``: random mixing of two branches.
- ``StochasticModule``: the base of a module with a mode and keys.
- ``SubsetStochasticDepth``: a branch that runs on part of the batch.
- ``TokenDropout``: tokens, of which fewer are left.
- ``VariationalCell``: one mask of inputs and state for all time steps.
- ``VariationalConv``: a convolution that learns how noisy its weights are.
- ``VariationalLinear``: a dense layer that learns how noisy its weights are.
- ``ZoneoutCell``: units that keep their old values at random.
- ``attention_fn``: attention with dropout in linear memory, for Flax's attention.
- ``mc_apply``: one stochastic pass, for ``jaxdrop.mc``.
"""

from jaxdrop._names import described, missing_name
from jaxdrop.nnx import _dropout, _regions
from jaxdrop.nnx._attention import attention_fn as attention_fn
from jaxdrop.nnx._cells import RecurrentDropoutLSTMCell as RecurrentDropoutLSTMCell
from jaxdrop.nnx._cells import ZoneoutCell as ZoneoutCell
from jaxdrop.nnx._concrete_dropout import ConcreteDropout as ConcreteDropout
from jaxdrop.nnx._conv import DropConnectConv as DropConnectConv
from jaxdrop.nnx._conv import VariationalConv as VariationalConv
from jaxdrop.nnx._drop_connect import DropConnectLinear as DropConnectLinear
from jaxdrop.nnx._dropout import *
from jaxdrop.nnx._l0 import L0Linear as L0Linear
from jaxdrop.nnx._mc import mc_apply as mc_apply
from jaxdrop.nnx._module import DropoutModule as DropoutModule
from jaxdrop.nnx._module import Rate as Rate
from jaxdrop.nnx._module import StochasticModule as StochasticModule
from jaxdrop.nnx._regions import *
from jaxdrop.nnx._relatives import EmbeddingDropout as EmbeddingDropout
from jaxdrop.nnx._relatives import Masksembles as Masksembles
from jaxdrop.nnx._relatives import ShakeShake as ShakeShake
from jaxdrop.nnx._relatives import SubsetStochasticDepth as SubsetStochasticDepth
from jaxdrop.nnx._relatives import TokenDropout as TokenDropout
from jaxdrop.nnx._variational import VariationalLinear as VariationalLinear
from jaxdrop.nnx._variational_cell import VariationalCell as VariationalCell

__all__ = [
    "ConcreteDropout",
    "DropConnectConv",
    "DropConnectLinear",
    "DropoutModule",
    "EmbeddingDropout",
    "L0Linear",
    "Masksembles",
    "Rate",
    "RecurrentDropoutLSTMCell",
    "ShakeShake",
    "StochasticModule",
    "SubsetStochasticDepth",
    "TokenDropout",
    "VariationalCell",
    "VariationalConv",
    "VariationalLinear",
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
