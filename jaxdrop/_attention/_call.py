"""What is known of a call of attention before it is traced, and its arrays by name."""

import contextlib
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop._attention._plan import Plan, Reach, make_plan
from jaxdrop._typing import Array
from jaxdrop.prng._bits import CounterHash

Operands = dict[str, Array]
"""The arrays of a call.

``query``, ``key`` and ``value`` in the layouts of ``jax.nn``, ``(batch, length, heads,
features)``; ``scale`` and ``keep``, scalars; ``words``, the data of the mask's key; and
maybe ``bias`` and ``mask``, of four axes, each of length 1 or whole, and
``lengths``, int32, one for each example. For differentiation also what
:data:`OUTPUTS` names; and changes of arrays, whose names begin with ``d_``.
"""

Shapes = dict[str, tuple[int, ...]]
"""Their shapes, by name."""

OUTPUTS = ("output", "weights", "top")
"""The output, and of each query the sum of its weights and its top logit.

The first is as ``query``, the others are ``(batch, heads, queries)`` in at least single
precision.
"""


@dataclasses.dataclass(frozen=True)
class Call:
    """Everything about a call that is known before tracing.

    Attributes:
      is_causal: whether a query attends to no later keys.
      window: how many keys to the left and right a query attends to, or None.
      block: queries and keys of a block, None to choose.
      shared: along which axes of the weights one draw is shared.
      hash: what draws the bits of the mask.
      precision: the precision of products that is asked for.
      devices: over how many devices the compiler may spread the arrays.
      in_kernels: whether kernels are asked for.
    """

    is_causal: bool
    window: Reach | None
    block: tuple[int | None, int | None]
    shared: tuple[bool, ...]
    hash: CounterHash
    precision: Any
    devices: int
    in_kernels: bool

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

    def plan(self, operands: Operands, platform: str) -> Plan:
        """The order in which attention is computed without kernels."""
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
        """The context in which the call was made, for what is traced later."""
        found: contextlib.AbstractContextManager[Any]
        found = jax.default_matmul_precision(self.precision)
        return found


def wide_dtype(dtype: Any) -> Any:
    """What is computed in: single precision, or double for double."""
    return jnp.float64 if dtype == jnp.float64 else jnp.float32
