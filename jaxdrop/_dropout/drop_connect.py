"""DropConnect: dropping weights instead of activations (Wan et al., 2013)."""

from typing import Any

from jaxdrop import _masks
from jaxdrop._checks import check_inexact, check_rate, is_identity, require_key
from jaxdrop._dropout._weights import check_where, is_array, map_weights
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key, PyTree, Rate, Where


def drop_connect(
    key: Key | None,
    params: PyTree,
    /,
    *,
    rate: Rate,
    where: Where | None = None,
    deterministic: Flag = False,
) -> PyTree:
    """Zeroes random weights and rescales the rest.

    Applied to the kernels of a layer before they are used: to one array, or to a tree
    of parameters before the forward pass. The place is dense layers, and the recurrent
    kernels of an LSTM, where one mask serves all time steps; the usual rate is 0.5.
    Biases and the scales of normalisation layers are not dropped as a rule: select the
    kernels with ``where``.

    Weights are rescaled in training (the paper scales in evaluation), so that
    evaluation is the plain layer. Each leaf of a tree draws its mask from the key
    and its path: other leaves coming and going do not change it.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      params: an array, or a tree of arrays: Linen dicts, ``nnx.State``, Equinox
        modules. In a tree, leaves that are not floating point stay as they are.
      rate: the probability of dropping a weight, a scalar. A traced rate does not
        recompile when it changes; outside [0, 1] it gives NaN.
      where: ``where(path, leaf)`` says which leaves of a tree to drop, by a path such
        as ``"encoder/0/kernel"``; by default all.
      deterministic: return ``params`` untouched; may be traced.

    Returns:
      ``params`` with masked leaves, of the same structure, shapes and dtypes. For one
      array, the result of :func:`jaxdrop.dropout` for the same key.

    Raises:
      ValueError: if ``rate`` is out of range, or a key is missing.
      TypeError: if ``params`` is an array that is not floating point, or ``rate`` no
        number.

    References:
      Wan, Zeiler, Zhang, LeCun, Fergus, `Regularization of neural networks using
      DropConnect <https://proceedings.mlr.press/v28/wan13.html>`_, ICML 2013.
      Merity, Keskar, Socher, `Regularizing and optimizing LSTM language models
      <https://arxiv.org/abs/1708.02182>`_, ICLR 2018, for recurrent kernels.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> params = {"dense": {"kernel": jnp.ones((8, 8)), "bias": jnp.ones(8)}}
      >>> kernels = lambda path, leaf: path.endswith("kernel")
      >>> noisy = jaxdrop.drop_connect(
      ...     jax.random.key(0), params, rate=0.5, where=kernels
      ... )
      >>> sorted(set(noisy["dense"]["kernel"].ravel().tolist()))
      [0.0, 2.0]
      >>> bool((noisy["dense"]["bias"] == 1).all())
      True
    """
    check_rate(rate, caller="drop_connect")
    check_where(where, caller="drop_connect")
    if is_identity(rate, deterministic, caller="drop_connect"):
        return params
    if is_array(params):
        params = check_inexact(params, caller="drop_connect")
    key = require_key(key, caller="drop_connect", rate=rate)
    keep = _masks.keep_probability(rate, deterministic=deterministic)
    if is_array(params):
        return _drop_connect(key, params, keep)
    drop = lambda key, leaf: _drop_connect(key, leaf, keep)
    return map_weights(drop, key, params, where=where)


@site("jaxdrop.drop_connect", draws="mask", acts_on="weights")
def _drop_connect(key: Key, weights: Array, keep: Any) -> Array:
    sharding = _masks.sharding_of(weights)
    mask = _masks.draw(key, weights.shape, keep=keep, out_sharding=sharding)
    return _masks.apply(weights, mask, keep=keep)
