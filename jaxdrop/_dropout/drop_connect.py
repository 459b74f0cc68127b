"""DropConnect: dropping weights instead of activations (Wan et al., 2013)."""

from typing import Any

from jaxdrop import _masks
from jaxdrop._checks import check_inexact, check_rate, is_identity, require_key
from jaxdrop._dropout._weights import check_where, is_array, map_weights
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key, PyTree, Rate, Where


@named
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

    Applied to the kernel of a layer before it is used, or to a tree of parameters
    before the forward pass.

    Weights are rescaled in training (the paper scales in evaluation), so that in
    evaluation the layer is the plain one. The mask of a leaf depends on the key and on
    the path of the leaf; it does not change when other leaves are added or removed.

    Usage:
      On dense layers, and on the recurrent kernels of an LSTM, with one mask for all
      time steps; usually at a rate of 0.5. Biases and the scales of normalization
      layers are usually not dropped: select the kernels with ``where``.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      params: an array, or a tree of arrays: Linen dicts, ``nnx.State``, Equinox
        modules. In a tree, leaves that are not floating point stay as they are.
      rate: the probability of dropping a weight, a scalar. A traced rate does not
        recompile when it changes; outside [0, 1] it gives NaN.
      where: a function ``where(path, leaf)`` that selects the leaves of a tree to drop;
        a path is a string such as ``"encoder/0/kernel"``. By default all leaves.
      deterministic: return ``params`` untouched; may be traced.

    Returns:
      ``params`` with masked leaves, of the same structure, shapes and dtypes. For a
      single array, the result of :func:`jaxdrop.dropout` with the same key.

    Raises:
      ValueError: if ``rate`` is out of range, or a key is missing.
      TypeError: if ``params`` is an array that is not floating point, or ``rate`` is
        not a number.

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
    check_rate(rate)
    check_where(where)
    if is_identity(rate, deterministic):
        return params
    if is_array(params):
        params = check_inexact(params)
    key = require_key(key, rate=rate)
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
