"""CutMix: patches of other examples (Yun et al., 2019)."""

import math

import jax
import jax.numpy as jnp

from jaxdrop import prng
from jaxdrop._checks import (
    check_flag,
    check_switch,
    is_zero,
    require_key,
    select,
)
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._strengths import as_strength
from jaxdrop._typing import Array, Flag, Key, PyTree, Scalar
from jaxdrop.inputs._boxes import Layout, around, covered, layout, positions
from jaxdrop.inputs._mixing import (
    check_batch,
    mixed,
    of_partners,
    partners,
    symmetric_beta,
)


@named
def cutmix(
    key: Key | None,
    x: Array,
    labels: PyTree,
    /,
    *,
    alpha: Scalar = 1.0,
    per_example: bool = False,
    channel_axis: int = -1,
    deterministic: Flag = False,
) -> tuple[Array, PyTree]:
    """Pastes a box of another random image into each image, and mixes labels by area.

    The size of the box follows from a share drawn from Beta(alpha, alpha); it has the
    proportions of the image and a uniform centre. Labels are mixed by the share of
    pixels that the box really covers, after it has been cut off at the border. In
    images of one row or column a box spans that side. A batch that is sharded over
    devices is exchanged between them; inside ``jax.shard_map`` each device mixes its
    own examples.

    Usage:
      On images in front of a network, with ``alpha=1``. The mixed labels are soft: use
      ``optax.softmax_cross_entropy``, without further label smoothing.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: a batch of images, floating point, ``(batch, height, width, channels)``.
      labels: shares of classes, such as one-hot labels, ``(batch, num_classes)``, or
        any tree of floating point arrays with the batch in front.
      alpha: the strength: a number of at least 0, or a JAX scalar, traced or not, which
        gives NaN where it is negative or not finite. With 1, the published value, all
        shares are equally likely; with 0 nothing is mixed.
      per_example: draw a box for each image, instead of one for the whole batch as in
        the authors' code. Static.
      channel_axis: the axis of the channels. Static.
      deterministic: return ``x`` and ``labels`` untouched; may be traced.

    Returns:
      Images with a pasted box and mixed labels, of the same shapes and dtypes.

    Raises:
      ValueError: if ``alpha`` is negative, a key is missing, batch sizes differ, ``x``
        does not have four axes, or its images have a single pixel.
      TypeError: if ``x`` or a label is not floating point.

    References:
      Yun, Han, Oh, Chun, Choe, Yoo, `CutMix: Regularization strategy to train strong
      classifiers with localizable features <https://arxiv.org/abs/1905.04899>`_, ICCV
      2019.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import inputs
      >>> x = jnp.arange(4.0)[:, None, None, None] * jnp.ones((4, 32, 32, 3))
      >>> x, labels = inputs.cutmix(jax.random.key(0), x, jnp.eye(4))
      >>> own = (x == jnp.arange(4.0)[:, None, None, None]).mean(axis=(1, 2, 3))
      >>> bool(jnp.allclose(jnp.diagonal(labels), own))  # the share of own pixels
      True
    """
    alpha = as_strength(alpha, name="alpha")
    x, labels = check_batch(x, labels)
    if x.ndim != 4:
        raise ValueError(
            f"x must be images (batch, height, width, channels), got shape {x.shape}."
        )
    images = layout(x.shape, num_spatial_dims=2, channel_axis=channel_axis)
    if images.batch != (0,):
        raise ValueError(
            "channel_axis must not be 0, the axis of the batch whose images are mixed, "
            f"got {channel_axis}."
        )
    if math.prod(images.sides) == 1:
        raise ValueError(
            "a box cannot be cut out of images of a single pixel, got x of shape "
            f"{x.shape}; use jaxdrop.inputs.mixup, or check channel_axis."
        )
    per_example = check_switch(per_example, name="per_example")
    flag = check_flag(deterministic)
    if flag is True or is_zero(alpha):
        return x, labels
    key = require_key(key, instead="deterministic=True")
    pasted = _cutmix(key, x, labels, alpha, images=images, per_example=per_example)
    return select(flag, (x, labels), pasted)


@site(
    "jaxdrop.inputs.cutmix",
    draws="noise",
    acts_on="inputs",
    static=("images", "per_example"),
)
def _cutmix(
    key: Key,
    x: Array,
    labels: PyTree,
    alpha: Scalar,
    *,
    images: Layout,
    per_example: bool,
) -> tuple[Array, PyTree]:
    of_share, of_place, of_partner = jax.random.split(key, 3)
    batch = x.shape[0]  # may be symbolic in jax.export, where len raises
    number = batch if per_example else 1
    share = symmetric_beta(of_share, (number,), alpha=alpha)
    starts, stops, area = [], [], jnp.ones((number,), jnp.float32)
    thin = 1 in images.sides  # a box cannot be narrower than one pixel
    part = 1 - share if thin else jnp.sqrt(1 - share)
    for place, side in zip(
        prng.uniform(of_place, (2, number)), images.sides, strict=True
    ):
        cut = jnp.floor(side * (1.0 if thin and side == 1 else part))
        cut = jnp.broadcast_to(cut, (number,)).astype(jnp.int32)
        start, stop = around(positions(place, side), cut)
        start, stop = jnp.clip(start, 0, side), jnp.clip(stop, 0, side)
        area = area * (stop - start).astype(jnp.float32) / side
        starts.append(jnp.broadcast_to(start, batch))
        stops.append(jnp.broadcast_to(stop, batch))
    unknown = jnp.isnan(share)
    area = jnp.where(unknown, jnp.nan, area)
    partner = partners(of_partner, batch)
    inside = covered(images, starts, stops)
    pasted = jnp.where(inside, of_partners(x, partner), x)
    pasted = jnp.where(unknown.reshape(-1, 1, 1, 1), jnp.nan, pasted)
    return pasted, jax.tree.map(lambda label: mixed(label, partner, 1 - area), labels)
