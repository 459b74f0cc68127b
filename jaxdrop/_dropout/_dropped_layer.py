"""Layers whose weights are dropped: their masks, and their outputs in evaluation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from jaxdrop import _masks
from jaxdrop._checks import check_choice, select
from jaxdrop._dropout.drop_connect import drop_connect
from jaxdrop._typing import Array, Key, Rate

Product = Callable[..., Array]
"""The product of inputs and kernel in a layer: a matrix product or a convolution.

An optional third argument is the dtype to compute in, by default that of the layer.
"""

Elementwise = Callable[[Array], Array]

_NODES = 32


def check_evaluation(evaluation: str, activation: Elementwise | None, /) -> None:
    """Raises unless ``evaluation`` is known and its requirements are met."""
    check_choice(evaluation, ("mean", "moments"), name="evaluation")
    if evaluation == "moments" and activation is None:
        raise ValueError(
            'evaluation="moments" needs the activation that follows: pass '
            "activation=, for example jax.nn.relu; without one the mean is exact."
        )


def add_bias(y: Array, bias: Array | None, /) -> Array:
    """Adds the bias of a layer, one number for each feature, if there is one."""
    if bias is None:
        return y
    return y + jnp.reshape(bias.astype(y.dtype), (1,) * (y.ndim - 1) + (-1,))


def dropped_layer(
    key: Key | None,
    x: Array,
    kernel: Array,
    /,
    *,
    rate: Rate,
    deterministic: bool | Array,
    product: Product,
    finish: Elementwise,
    per_example: bool,
    evaluation: str,
) -> Array:
    """Computes ``finish(product(x, kernel))``, with weights dropped in training.

    Args:
      key: a PRNG key, or None where nothing is drawn.
      x: inputs, with the examples on the first axis.
      kernel: the weights.
      rate: the probability of dropping a weight.
      deterministic: whether the layer is in evaluation.
      product: multiplies inputs and kernel, in the dtype to compute in.
      finish: adds the bias and applies the activation.
      per_example: draw a mask for each example, instead of one for all.
      evaluation: ``"mean"``, the plain layer, or ``"moments"``.

    Returns:
      The output of the layer.
    """

    def trained() -> Array:
        return finish(
            _dropped_product(key, x, kernel, rate, deterministic, product, per_example)
        )

    if evaluation == "mean" or deterministic is False:
        return trained()
    expected = _expected(finish, x, kernel, _masks.keep_probability(rate), product)
    if deterministic is True:
        return expected
    return select(deterministic, expected, trained())


def _dropped_product(
    key: Key | None,
    x: Array,
    kernel: Array,
    rate: Rate,
    deterministic: bool | Array,
    product: Product,
    per_example: bool,
) -> Array:
    """The product with one mask of weights, or with one for each example."""
    if key is None or not per_example:
        return product(
            x, drop_connect(key, kernel, rate=rate, deterministic=deterministic)
        )
    if x.ndim < kernel.ndim:
        raise ValueError(
            f"per_example needs inputs with {kernel.ndim} axes or more, the examples "
            f"in front, got shape {x.shape}."
        )
    kernels = drop_connect(
        key, _for_each(x, kernel), rate=rate, deterministic=deterministic
    )
    try:
        return _each_by_its_own(product, x)(x, kernels)
    except NotImplementedError as error:
        if not jax.export.is_symbolic_dim(x.shape[0]):
            raise
        raise ValueError(
            "per_example gives each example a kernel of its own, with which JAX cannot "
            f"convolve a batch of symbolic size, got {x.shape[0]}; export with a "
            "number, or use per_example=False."
        ) from error


def _each_by_its_own(product: Product, x: Array) -> Product:
    """A product with one kernel for each example, in which devices stay separate.

    JAX implements a convolution with one kernel for each example by moving the examples
    to the channels. It cannot do so if they are sharded over an explicit mesh.
    """
    batched = jax.vmap(product)
    if not _masks.is_spread(x, 0):
        return batched
    names = jax.typeof(x).sharding.spec[0]
    spread = PartitionSpec(names)
    return jax.shard_map(
        batched,
        in_specs=(spread, spread),
        out_specs=spread,
        axis_names=set(names if isinstance(names, tuple) else (names,)),
    )


def _for_each(x: Array, kernel: Array) -> Array:
    """One copy of the kernel for each example, sharded like the examples."""
    shape = (x.shape[0], *kernel.shape)
    sharding = _masks.sharding_of(x)
    if sharding is not None:
        spec = jax.typeof(kernel).sharding.spec
        whole = (*spec, *(None,) * (kernel.ndim - len(spec)))
        first = (*sharding.spec, None)[0]
        tiled = PartitionSpec(first, *whole)
        sharding = NamedSharding(sharding.mesh, tiled)
    return lax.broadcast_in_dim(
        kernel, shape, range(1, len(shape)), out_sharding=sharding
    )


def _expected(
    finish: Elementwise, x: Array, kernel: Array, keep: Any, product: Product
) -> Array:
    """The mean of ``finish`` over masks, by matching moments (Wan et al., 2013).

    A sum over many dropped weights is approximately normal, with the mean of the plain
    layer and the variance ``rate / (1 - rate) * product(x**2, kernel**2)``. The paper
    draws from that normal distribution; here the mean of ``finish`` under it is
    computed by Gauss-Hermite quadrature, without a key and without sampling error:
    exact for polynomials, and within 1 % of the standard deviation for a ReLU. At rate
    1, where the variance is infinite, the result is the output of the plain layer.
    """
    center = product(x, kernel)
    wide = _masks.wide_dtype(center)
    squares = (jnp.square(array.astype(wide)) for array in (x, kernel))
    keep = jnp.asarray(keep, _masks.real_dtype(center))
    ratio = jnp.where(keep == 0, 0, (1 - keep) / jnp.where(keep == 0, 1, keep))
    variance = ratio.astype(wide) * product(*squares, wide).astype(wide)
    is_noisy = variance > 0
    deviation = jnp.where(
        is_noisy, jnp.sqrt(jnp.where(is_noisy, variance, 1)), variance
    )
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    values = (
        weight * finish(center.astype(wide) + node * deviation)
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True)
    )
    return (sum(values) / weights.sum().item()).astype(center.dtype)
