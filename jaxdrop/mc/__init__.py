"""Monte-Carlo dropout: the mean and the uncertainty of a random function.

The functions ``(key, *args) -> outputs`` to sample may come from any framework: Flax,
Equinox, plain JAX. Samples are reduced as they are drawn, so that memory does not grow
with their number, and statistics have standard errors.

- :func:`predict`: samples a function and reduces its outputs.
- :func:`samples`: the samples themselves.
- :func:`function_draw`: one function, the same for all inputs.
- :func:`joint`: the mean and covariance of all rows, a :class:`Joint`.
- :class:`Prediction`: the result of :func:`predict`, with a :class:`State` from which
  sampling can be continued.

Reducers, each a :class:`Reducer`:

- :func:`moments`, :func:`covariance`: means and variances of outputs.
- :func:`categorical`: mean probabilities, entropies and mutual information of logits.
- :func:`votes`: the shares of the classes that samples choose.
- :func:`gaussian_mixture`: mean and variance of networks that return both.
- :func:`quantiles`: quantiles of outputs.
"""

from jaxdrop.mc._categorical import categorical as categorical
from jaxdrop.mc._categorical import votes as votes
from jaxdrop.mc._functions import Joint as Joint
from jaxdrop.mc._functions import function_draw as function_draw
from jaxdrop.mc._functions import joint as joint
from jaxdrop.mc._functions import samples as samples
from jaxdrop.mc._gaussian_mixture import gaussian_mixture as gaussian_mixture
from jaxdrop.mc._moments import covariance as covariance
from jaxdrop.mc._moments import moments as moments
from jaxdrop.mc._predict import Prediction as Prediction
from jaxdrop.mc._predict import State as State
from jaxdrop.mc._predict import predict as predict
from jaxdrop.mc._quantiles import quantiles as quantiles
from jaxdrop.mc._reducer import Reducer as Reducer

__all__ = [
    "Joint",
    "Prediction",
    "Reducer",
    "State",
    "categorical",
    "covariance",
    "function_draw",
    "gaussian_mixture",
    "joint",
    "moments",
    "predict",
    "quantiles",
    "samples",
    "votes",
]


def __dir__() -> list[str]:
    return sorted(__all__)
