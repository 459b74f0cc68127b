"""Mixout: replacing weights by the pretrained ones (Lee et al., 2020)."""

from functools import partial
from typing import Any

import jax.numpy as jnp

from jaxdrop import _masks
from jaxdrop._checks import (
    check_inexact,
    check_rate,
    check_same_shape,
    is_identity,
    require_key,
)
from jaxdrop._dropout._weights import check_like, check_where, is_array, map_weights
from jaxdrop._errors import named
from jaxdrop._numbers import as_array, as_real
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key, PyTree, Rate, Where


@named
def mixout(
    key: Key | None,
    params: PyTree,
    reference: PyTree,
    /,
    *,
    rate: Rate,
    where: Where | None = None,
    deterministic: Flag = False,
) -> PyTree:
    """Replaces random weights by reference ones, and rescales the others' distance.

    Dropout pulls weights towards 0; mixout pulls the weights of a model that is
    fine-tuned towards those of the pretrained model: it is dropout of ``params -
    reference``. The mean over keys is ``params``, and the gradient of a weight that is
    not replaced is scaled by ``1 / (1 - rate)``. (The published code leaves this factor
    out, and uses the mask of one row for all rows; here each weight has its own draw.)

    The mask of a leaf depends on the key and on the path of the leaf; masks are those
    of :func:`jaxdrop.drop_connect` with the same key.

    Usage:
      On all weights of a large pretrained model except the new head, at a rate of 0.7
      to 0.9.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      params: an array, or a tree of arrays: Linen dicts, ``nnx.State``, Equinox
        modules. In a tree, leaves that are not floating point stay as they are.
      reference: the pretrained weights, of the structure and shapes of ``params``.
      rate: the probability of replacing a weight, a scalar. A traced rate does not
        recompile when it changes; outside [0, 1] it gives NaN. At 1 the result is
        ``reference``.
      where: a function ``where(path, leaf)`` that selects the leaves of a tree to mix;
        a path is a string such as ``"encoder/0/kernel"``. By default all leaves.
      deterministic: return ``params`` untouched; may be traced.

    Returns:
      Weights of the structure, shapes and dtypes of ``params``.

    Raises:
      ValueError: if ``rate`` is out of range, a key is missing, or ``reference`` has
        another structure or shape.
      TypeError: if ``params`` is an array that is not floating point, or ``rate`` is
        not a number.

    References:
      Lee, Cho, Kang, `Mixout: effective regularization to finetune large-scale
      pretrained language models <https://arxiv.org/abs/1909.11299>`_, ICLR 2020.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> pretrained = {"dense": {"kernel": jnp.zeros((8, 8))}}
      >>> finetuned = {"dense": {"kernel": jnp.ones((8, 8))}}
      >>> mixed = jaxdrop.mixout(jax.random.key(0), finetuned, pretrained, rate=0.5)
      >>> sorted(set(mixed["dense"]["kernel"].ravel().tolist()))
      [0.0, 2.0]
    """
    check_rate(rate)
    check_where(where)
    check_like(params, reference)
    if is_identity(rate, deterministic):
        return params
    if is_array(params):
        params = check_inexact(params)
    key = require_key(key, rate=rate)
    keep = _masks.keep_probability(rate, deterministic=deterministic)
    mix = partial(_mix, keep=keep)
    if is_array(params):
        return mix(key, params, reference)
    return map_weights(mix, key, params, reference, where=where)


def _mix(key: Key, weights: Array, reference: Any, *, keep: Any) -> Array:
    door = as_array if jnp.iscomplexobj(weights) else as_real
    reference = jnp.asarray(door(reference, name="reference"))
    check_same_shape(weights, reference, names="weights and their reference")
    return _mixout(key, weights, reference, keep)


@site("jaxdrop.mixout", draws="mask", acts_on="weights")
def _mixout(key: Key, weights: Array, reference: Array, keep: Any) -> Array:
    sharding = _masks.sharding_of(weights)
    mask = _masks.draw(key, weights.shape, keep=keep, out_sharding=sharding)
    return _mixed(
        weights, mask, reference, jnp.asarray(keep, _masks.real_dtype(weights))
    )


@_masks.noisy
def _mixed(weights: Array, mask: Array, reference: Array, keep: Array) -> Array:
    wide = _masks.wide_dtype(weights)
    base = reference.astype(wide)
    distance = _masks.kept_share(weights.astype(wide) - base, mask, keep)
    mixed = (base + distance).astype(weights.dtype)
    return jnp.where(keep == 1, weights, mixed)
