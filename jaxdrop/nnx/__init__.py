"""jaxdrop as Flax NNX modules: the functions, with a rate, a mode and keys."""

from jaxdrop.nnx._cells import RecurrentDropoutLSTMCell as RecurrentDropoutLSTMCell
from jaxdrop.nnx._cells import ZoneoutCell as ZoneoutCell
from jaxdrop.nnx._concrete_dropout import ConcreteDropout as ConcreteDropout
from jaxdrop.nnx._drop_connect import DropConnectLinear as DropConnectLinear
from jaxdrop.nnx._dropout import AlphaDropout as AlphaDropout
from jaxdrop.nnx._dropout import DropBlock as DropBlock
from jaxdrop.nnx._dropout import Dropout as Dropout
from jaxdrop.nnx._dropout import FeatureAlphaDropout as FeatureAlphaDropout
from jaxdrop.nnx._dropout import GaussianDropout as GaussianDropout
from jaxdrop.nnx._dropout import LockedDropout as LockedDropout
from jaxdrop.nnx._dropout import SpatialDropout as SpatialDropout
from jaxdrop.nnx._dropout import StochasticDepth as StochasticDepth
from jaxdrop.nnx._mc import mc_apply as mc_apply
from jaxdrop.nnx._module import DropoutModule as DropoutModule
from jaxdrop.nnx._module import Rate as Rate
from jaxdrop.nnx._module import StochasticModule as StochasticModule
from jaxdrop.nnx._relatives import EmbeddingDropout as EmbeddingDropout
from jaxdrop.nnx._relatives import Masksembles as Masksembles
from jaxdrop.nnx._relatives import SubsetStochasticDepth as SubsetStochasticDepth
from jaxdrop.nnx._relatives import TokenDropout as TokenDropout
from jaxdrop.nnx._variational import VariationalLinear as VariationalLinear
from jaxdrop.nnx._variational_cell import VariationalCell as VariationalCell
