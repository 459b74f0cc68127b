"""jaxdrop as Flax Linen modules: the functions, with a rate, a mode and keys."""

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
