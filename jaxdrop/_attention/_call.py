"""A call of attention: the facts that are known before tracing, and the arrays."""

import contextlib
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop._attention._plan import Plan, Reach, make_plan
from jaxdrop._typing import Array
from jaxdrop.prng._bits import CounterHash

Operands = dict[str, Array]
"""The arrays of a call, by name.

Always ``query``, ``key`` and ``value`` in the layouts of ``jax.nn``, ``(batch, length,
heads, features)``; the scalars ``scale`` and ``keep``; and ``words``, the words of the
key of the mask. Optionally ``bias`` and ``mask`` with four axes, each of full length or
of length 1, and ``lengths``, int32, the number of keys of each example. For
differentiation also the results named in :data:`OUTPUTS`, and changes of arrays, whose
names begin with ``d_``. It is a dict, and not a record, since operands of a primitive
come and go: absent ones must not be operands at all.
"""

Shapes = dict[str, tuple[int, ...]]
"""Their shapes, by name."""

OUTPUTS = ("output", "weights", "top")
"""The output, and for each query the sum of its weights and its largest logit.

The first has the shape and dtype of ``query``, the others are ``(batch, heads,
queries)`` in at least single precision.
"""


def output_shapes(shapes: Shapes, /) -> list[tuple[int, ...]]:
    """The shapes of :data:`OUTPUTS`, from that of ``query``."""
    batch, queries, heads, _ = shapes["query"]
    return [shapes["query"], (batch, heads, queries), (batch, heads, queries)]


@dataclasses.dataclass(frozen=True)
class Call:
    """The facts about a call that are known before tracing.

    Attributes:
      is_causal: whether queries do not attend to later keys.
      window: how many keys to the left and right a query attends to, or None.
      block: the numbers of queries and of keys of a block, None to choose.
      shared: for each axis of the weights, whether one draw is shared along it.
      hash: the function that computes the bits of the mask.
      precision: the requested precision of products.
      devices: over how many devices the compiler may shard the arrays.
      in_kernels: whether the caller requested kernels.
      mosaic_gpu: whether the caller requested, for GPUs, those of Pallas' Mosaic GPU.
    """

    is_causal: bool
    window: Reach | None
    block: tuple[int | None, int | None]
    shared: tuple[bool, ...]
    hash: CounterHash
    precision: Any
    devices: int
    in_kernels: bool
    mosaic_gpu: bool

    def weights(self, shapes: Shapes) -> tuple[int, int, int, int]:
        """The shape of the attention weights, from those of queries and keys."""
        batch, queries, heads, _ = shapes["query"]
        return batch, heads, queries, shapes["key"][1]

    def drawn(self, shapes: Shapes) -> tuple[int, int, int, int]:
        """The shape of the dropout mask, 1 where draws are shared."""
        batch, heads, queries, keys = (
            1 if shared else size
            for size, shared in zip(self.weights(shapes), self.shared, strict=True)
        )
        return batch, heads, queries, keys

    def plan(self, operands: Operands, platform: str | None) -> Plan:
        """The plan by which attention is computed in loops, without kernels."""
        shapes = {name: operands[name].shape for name in ("query", "key")}
        return make_plan(
            self.weights(shapes),
            key_heads=shapes["key"][2],
            drawn=self.drawn(shapes),
            is_causal=self.is_causal,
            window=self.window,
            block=self.block,
            platform=platform,
            devices=self.devices,
        )

    def precise(self) -> contextlib.AbstractContextManager[Any]:
        """A context with the precision at the time of the call, for later tracing."""
        found: contextlib.AbstractContextManager[Any]
        found = jax.default_matmul_precision(self.precision)
        return found


def wide_dtype(dtype: Any) -> Any:
    """The dtype of computations: single precision, or double for double."""
    return jnp.float64 if dtype == jnp.float64 else jnp.float32
