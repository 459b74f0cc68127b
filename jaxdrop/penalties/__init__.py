"""Terms that are added to a loss: of parameters, of activations and of outputs.

Each returns a scalar, accumulated in float32 or wider, with finite gradients at zero.
Coefficients are numbers or JAX scalars, which may be traced and scheduled; a JAX scalar
that is negative or not finite gives NaN. A penalty raises if it selects no leaves.

Of parameters:

- :func:`l1`, :func:`l2`, :func:`elastic_net`: sums of absolute values, of squares, of
  both.
- :func:`group_lasso`: the sum of the norms of units, to remove whole units.
- :func:`orthogonal`: the distance of the units of a layer from orthonormal ones.
- :func:`spectral`: the squares of the largest singular values.
- :func:`toward_reference`: the squared distance from given parameters (L2-SP).
- :func:`by_path`: the contribution of each leaf to a penalty.

Of activations:

- :func:`activity_l1`, :func:`activity_l2`: sums of absolute values, of squares.
- :func:`temporal`: the size of recurrent states and their change in time (AR, TAR).

Of outputs:

- :func:`confidence`: the negative entropy of predictions.
- :func:`consistency`: the divergence between passes (R-Drop).
- :func:`jacobian`: the sensitivity of outputs to inputs.
- :func:`smoothed_cross_entropy`: the cross-entropy with smoothed labels.
"""

from jaxdrop.penalties._by_path import by_path
from jaxdrop.penalties._of_activities import activity_l1, activity_l2, temporal
from jaxdrop.penalties._of_kernels import orthogonal, spectral
from jaxdrop.penalties._of_outputs import (
    confidence,
    consistency,
    jacobian,
    smoothed_cross_entropy,
)
from jaxdrop.penalties._of_params import (
    elastic_net,
    group_lasso,
    l1,
    l2,
    toward_reference,
)

__all__ = (
    "activity_l1",
    "activity_l2",
    "by_path",
    "confidence",
    "consistency",
    "elastic_net",
    "group_lasso",
    "jacobian",
    "l1",
    "l2",
    "orthogonal",
    "smoothed_cross_entropy",
    "spectral",
    "temporal",
    "toward_reference",
)


def __dir__() -> list[str]:
    return sorted(__all__)
