"""Attention with dropout on its weights, in memory linear in the sequence lengths."""

import math
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import AxisType

from jaxdrop import _masks
from jaxdrop._attention import _arguments, _dispatch
from jaxdrop._attention._call import Call, Operands, wide_dtype
from jaxdrop._checks import check_rate, is_identity, require_key
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._typing import Array, ArrayLike, Axes, Flag, Key, Rate
from jaxdrop.prng._bits import consume, counter_hash, counter_key


@named
def dot_product_attention(
    key: Key | None,
    query: Array,
    key_: Array,
    value: Array,
    /,
    *,
    rate: Rate,
    bias: Array | None = None,
    mask: Array | None = None,
    scale: ArrayLike | None = None,
    is_causal: bool = False,
    query_seq_lengths: Array | None = None,
    key_value_seq_lengths: Array | None = None,
    local_window_size: int | tuple[int, int] | None = None,
    broadcast_dims: Axes = (),
    block_size: int | tuple[int, int] | None = None,
    implementation: Literal["xla", "cudnn", "pallas", "mosaic_gpu"] | None = None,
    deterministic: Flag = False,
) -> Array:
    """Attends with dropout on weights that are never held for all queries at once.

    Each weight of the softmax is dropped independently and the others are divided by
    ``1 - rate``; rows are not normalized again.

    Arguments and results are those of :func:`jax.nn.dot_product_attention`, which is
    called where nothing is dropped. Memory grows with the lengths of the sequences and
    not with their product, forward and backward: weights and mask are computed in
    blocks, and again in the backward pass. Most weights that ``is_causal`` or
    ``local_window_size`` mask are not computed. The function can be differentiated in
    forward and reverse mode, any number of times.

    For a threefry key, JAX's default, or a key of :func:`jaxdrop.prng.light`, the mask
    is ``jaxdrop.masks.bernoulli(key, (batch, heads, queries, keys), rate=rate)``: one
    for each example and head, the same for every block size, sharding and device. Keys
    of other generators are converted to threefry first, since each block draws its part
    of the mask by itself.

    Usage:
      In every attention layer of a transformer that is trained for many epochs, at a
      rate of 0.1.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      query: queries, ``([batch], queries, heads, features)``.
      key_: keys, ``([batch], keys, key heads, features)``. The number of query heads is
        a multiple of the number of key heads.
      value: values, of the shape of ``key_``.
      rate: the probability of dropping a weight: a number or a scalar array. A traced
        rate does not recompile when it changes; outside [0, 1] it gives NaN.
      bias: an array that is added to the logits; broadcasts to ``(batch, heads,
        queries, keys)``.
      mask: a boolean array that broadcasts as ``bias``, True where a query may attend.
        A query that may not attend to any key attends to all keys equally.
      scale: the factor of the logits; by default 1 / sqrt(features).
      is_causal: a query does not attend to later keys. Static.
      query_seq_lengths: the number of queries of each example, ``(batch,)``; outputs of
        later positions are 0.
      key_value_seq_lengths: the number of keys of each example, ``(batch,)``.
      local_window_size: how many keys to the left and right of its own position a query
        attends to, as one number or two. Static.
      broadcast_dims: axes of the weights, ``([batch], heads, queries, keys)``, along
        which one draw is shared. ``(0, 1)`` corresponds to Flax's
        ``broadcast_dropout``. Static.
      block_size: how many queries, or how many queries and keys, of a head are computed
        at once; by default chosen from the shapes. Kernels round it up to a power of
        two; those for Mosaic GPU do not use it. It never changes the mask. Static.
      implementation: ``"xla"`` or ``"cudnn"``, the implementation of
        :func:`jax.nn.dot_product_attention`, where nothing is dropped; or ``"pallas"``
        to use flash attention kernels, with the same mask, for short sequences and for
        several devices too; or ``"mosaic_gpu"``, which is the same except on Hopper
        GPUs, whose kernels for Pallas' Mosaic GPU backend are then preferred to those
        for Triton. By default kernels are used for sequences of 128 or more on TPUs and
        NVIDIA GPUs, on one device or inside a ``jax.shard_map`` over all axes of the
        mesh, and not in exports for GPUs. A program that requests kernels may name only
        one mesh, and not an abstract one. Where kernels do not apply, as for float16 on
        TPUs or in exports for several devices, the same values are computed without
        them, even on request. Kernels compute products in the dtype of the arrays with
        float32 sums. On a CPU they are interpreted, which is slow. Static.
      deterministic: drop nothing; may be traced.

    Returns:
      An array with the shape and dtype of ``query``. Sums are computed in at least
      single precision, and so are products outside of kernels.

    Raises:
      ValueError: if ``rate`` is out of range, a key is missing, or shapes, lengths,
        window or block do not fit, or a size other than that of the batch is
        symbolic in :mod:`jax.export`.
      TypeError: if dtypes differ or are not floating point.

    References:
      Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin, `Attention
      is all you need <https://arxiv.org/abs/1706.03762>`_, NeurIPS 2017.
      Rabe, Staats, `Self-attention does not need O(n²) memory
      <https://arxiv.org/abs/2112.05682>`_, 2021.
      Dao, Fu, Ermon, Rudra, Ré, `FlashAttention: fast and memory-efficient exact
      attention with IO-awareness <https://arxiv.org/abs/2205.14135>`_, NeurIPS 2022.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> q = k = v = jnp.ones((2, 64, 4, 16))
      >>> y = jaxdrop.dot_product_attention(jax.random.key(0), q, k, v, rate=0.1)
      >>> y.shape
      (2, 64, 4, 16)
      >>> y = jaxdrop.dot_product_attention(None, q, k, v, rate=0.1, deterministic=True)
      >>> bool((y == jax.nn.dot_product_attention(q, k, v)).all())
      True
    """
    check_rate(rate)
    arrays = _arguments.check_arrays(query, key_, value, bias, mask)
    options = _arguments.check_options(
        arrays,
        scale=scale,
        is_causal=is_causal,
        lengths=(query_seq_lengths, key_value_seq_lengths),
        window=local_window_size,
        broadcast_dims=broadcast_dims,
        ndim=jnp.ndim(query),
        block_size=block_size,
        implementation=implementation,
    )
    if is_identity(rate, deterministic):
        return _without_dropout(query, key_, value, bias, mask, scale, options)
    key = require_key(key, rate=rate)
    if arrays.query.size == 0:
        return jnp.asarray(query)
    _arguments.check_known(arrays)
    attention = _masks.automatic(
        partial(_attention, call=_call(arrays, options, key)),
        out_sharding=_masks.sharding_of(arrays.query),
    )
    keep = _masks.keep_probability(rate, deterministic=deterministic)
    lengths = options.query_lengths, options.key_lengths
    output = attention(key, keep, arrays, options.scale, *lengths)
    return jnp.reshape(output, jnp.shape(query))


def _without_dropout(
    query: Array,
    key: Array,
    value: Array,
    bias: Array | None,
    mask: Array | None,
    scale: ArrayLike | None,
    options: _arguments.Options,
) -> Array:
    """Attention of ``jax.nn``, with the arrays as they were given."""
    lengths = (options.query_lengths, options.key_lengths)
    any_dtypes: AbstractContextManager[None] = nullcontext()
    if any(given is not None for given in lengths):
        # In x64 mode JAX compares positions in int64 with lengths in int32.
        any_dtypes = jax.numpy_dtype_promotion("standard")
    with any_dtypes:
        return jax.nn.dot_product_attention(  # type: ignore[misc]
            query,
            key,
            value,
            bias,
            mask,
            scale=scale,  # type: ignore[arg-type]
            is_causal=options.is_causal,
            query_seq_lengths=options.query_lengths,
            key_value_seq_lengths=options.key_lengths,
            local_window_size=options.window,
            implementation=options.implementation,
        )


def _call(arrays: _arguments.Arguments, options: _arguments.Options, key: Key) -> Call:
    """The static facts about a call; draws along axes of length 1 are not shared."""
    lengths = zip(options.shared, arrays.weights, strict=True)
    return Call(
        is_causal=options.is_causal,
        window=options.window,
        block=options.block,
        shared=tuple(shared and size != 1 for shared, size in lengths),
        hash=counter_hash(key),
        precision=jax.config.jax_default_matmul_precision,  # type: ignore[attr-defined,unused-ignore]
        devices=_devices(),
        in_kernels=options.in_kernels,
        mosaic_gpu=options.mosaic_gpu,
    )


@site(
    "jaxdrop.dot_product_attention",
    draws="mask",
    acts_on="attention",
    redraws=True,
    static=("call",),
)
def _attention(
    key: Key,
    keep: Any,
    arrays: _arguments.Arguments,
    scale: Any,
    query_lengths: Array | None,
    key_lengths: Array | None,
    *,
    call: Call,
) -> Array:
    """Attention with dropout, of arrays with four axes and checked options."""
    wide = wide_dtype(arrays.query.dtype)
    operands = {
        **arrays._asdict(),
        "scale": jnp.asarray(scale, wide),
        "lengths": key_lengths,
        "words": jax.random.key_data(consume(counter_key(key))),
        "keep": jnp.asarray(keep, wide),
    }
    operands = _varying({n: x for n, x in operands.items() if x is not None})
    output, _, _ = _dispatch.attend(call, operands)
    if query_lengths is not None:
        places = jnp.arange(output.shape[1], dtype=jnp.int32)
        padding = places[None] >= query_lengths[:, None]
        nothing = jnp.where(jnp.isnan(operands["keep"]), jnp.nan, 0)
        output = jnp.where(
            padding[..., None, None], nothing.astype(output.dtype), output
        )
    return output


def _devices() -> int:
    """The number of devices over which the compiler may shard arrays.

    Inside ``jax.shard_map`` these are the devices along axes that it does not map.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return jax.device_count()
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    free = [mesh.shape[n] for n, kind in kinds if kind != AxisType.Manual]
    return math.prod(free)


def _varying(operands: Operands) -> Operands:
    """Operands that are all marked as varying over the same mesh axes.

    Inside ``jax.shard_map`` a key or a rate may differ between shards whose queries are
    equal, or the reverse. The carry of a loop must have its type from the start.
    """
    axes = {n: jax.typeof(x).manual_axis_type.varying for n, x in operands.items()}
    every = frozenset().union(*axes.values())
    return {
        name: jax.lax.pcast(x, tuple(every - axes[name]), to="varying")
        if every - axes[name]
        else x
        for name, x in operands.items()
    }
