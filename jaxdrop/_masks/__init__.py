"""Drawing masks and applying them, for all techniques. ``True`` means kept.

A mask is a function of key, shape and rate alone: not of the dtype of the data, of x64
mode, of jit, of sharding or of the device. Masks drawn at different rates from one key
are nested: what is kept at a rate is kept at every lower rate.
"""

from jaxdrop._masks._apply import SELU_SATURATION as SELU_SATURATION
from jaxdrop._masks._apply import apply as apply
from jaxdrop._masks._apply import apply_alpha as apply_alpha
from jaxdrop._masks._apply import apply_gaussian as apply_gaussian
from jaxdrop._masks._apply import kept_share as kept_share
from jaxdrop._masks._apply import real_dtype as real_dtype
from jaxdrop._masks._apply import wide_dtype as wide_dtype
from jaxdrop._masks._axes import at_rank as at_rank
from jaxdrop._masks._axes import drawn_shape as drawn_shape
from jaxdrop._masks._axes import is_spread as is_spread
from jaxdrop._masks._axes import sharding_of as sharding_of
from jaxdrop._masks._axes import spatial_axes as spatial_axes
from jaxdrop._masks._axes import unspread as unspread
from jaxdrop._masks._blocks import Blocks as Blocks
from jaxdrop._masks._blocks import Seeds as Seeds
from jaxdrop._masks._blocks import blocks as blocks
from jaxdrop._masks._blocks import draw_blocks as draw_blocks
from jaxdrop._masks._blocks import layout_blocks as layout_blocks
from jaxdrop._masks._blocks import seed_survival as seed_survival
from jaxdrop._masks._draw import LEVELS as LEVELS
from jaxdrop._masks._draw import align as align
from jaxdrop._masks._draw import bernoulli as bernoulli
from jaxdrop._masks._draw import draw as draw
from jaxdrop._masks._draw import draw_at as draw_at
from jaxdrop._masks._draw import hold as hold
from jaxdrop._masks._draw import keep_probability as keep_probability
from jaxdrop._masks._draw import survival as survival
from jaxdrop._masks._draw import survives as survives
from jaxdrop._masks._draw import threshold_of as threshold_of
from jaxdrop._masks._exact import exact as exact
from jaxdrop._masks._exact import kept_count as kept_count
from jaxdrop._masks._exact import kept_indices as kept_indices
from jaxdrop._masks._masksembles import masksembles as masksembles
from jaxdrop._masks._meshes import automatic as automatic
from jaxdrop._masks._meshes import whole as whole
from jaxdrop._masks._noisy import fence as fence
from jaxdrop._masks._noisy import fenced as fenced
from jaxdrop._masks._noisy import noisy as noisy
