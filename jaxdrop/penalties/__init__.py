"""What is added to a loss: penalties of parameters, of activations and of outputs.

Each returns a scalar, accumulated in float32 or wider, with finite gradients at zero.
Coefficients are numbers or JAX scalars, which may be traced and scheduled.
"""

from jaxdrop.penalties._by_path import by_path as by_path
from jaxdrop.penalties._of_activities import activity_l1 as activity_l1
from jaxdrop.penalties._of_activities import activity_l2 as activity_l2
from jaxdrop.penalties._of_activities import temporal as temporal
from jaxdrop.penalties._of_kernels import orthogonal as orthogonal
from jaxdrop.penalties._of_kernels import spectral as spectral
from jaxdrop.penalties._of_outputs import confidence as confidence
from jaxdrop.penalties._of_outputs import consistency as consistency
from jaxdrop.penalties._of_outputs import jacobian as jacobian
from jaxdrop.penalties._of_outputs import (
    smoothed_cross_entropy as smoothed_cross_entropy,
)
from jaxdrop.penalties._of_params import elastic_net as elastic_net
from jaxdrop.penalties._of_params import group_lasso as group_lasso
from jaxdrop.penalties._of_params import l1 as l1
from jaxdrop.penalties._of_params import l2 as l2
from jaxdrop.penalties._of_params import toward_reference as toward_reference
