"""jaxdrop as Flax Linen modules: the functions, with a rate, a mode and keys."""

from jaxdrop.linen._drop_connect import DropConnectDense as DropConnectDense
from jaxdrop.linen._dropout import AlphaDropout as AlphaDropout
from jaxdrop.linen._dropout import Dropout as Dropout
from jaxdrop.linen._dropout import FeatureAlphaDropout as FeatureAlphaDropout
from jaxdrop.linen._dropout import GaussianDropout as GaussianDropout
from jaxdrop.linen._dropout import LockedDropout as LockedDropout
from jaxdrop.linen._dropout import SpatialDropout as SpatialDropout
from jaxdrop.linen._dropout import StochasticDepth as StochasticDepth
from jaxdrop.linen._mc import mc_apply as mc_apply
from jaxdrop.linen._module import DropoutModule as DropoutModule
from jaxdrop.linen._module import StochasticModule as StochasticModule
