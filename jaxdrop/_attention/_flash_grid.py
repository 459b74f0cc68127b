"""The grid of TPU kernels: the order of its steps, and the blocks that each reads."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxdrop._attention import _flash_tile as tile
from jaxdrop._attention._flash_tile import Kernel, Numbers
from jaxdrop._typing import Array

_VMEM = 24 << 20  # bytes of fast memory for tiles, in addition to scratch memory


class Grid:
    """Steps over examples, heads, blocks of queries and blocks of keys.

    ``order`` names its axes from the outermost: ``b`` examples, ``h`` heads, ``g``
    query heads of a key head, ``q`` blocks of queries, ``k`` blocks of keys.
    """

    def __init__(self, order: str, sizes: dict[str, int], kernel: Kernel) -> None:
        self.order, self.kernel = order, kernel
        self.sizes = {**sizes, "k": kernel.steps[1]}

    def ids(self) -> dict[str, Array]:
        """The position of a step, by the names of the axes."""
        return {name: pl.program_id(axis) for axis, name in enumerate(self.order)}

    def head(self, at: dict[str, Array]) -> Array:
        """The query head of a step."""
        if "g" not in at:
            return at["h"]
        return at["h"] * np.int32(self.kernel.group) + at["g"]

    def firsts(self, at: dict[str, Array]) -> tuple[Array, Array]:
        """The positions of the first query and the first key of a step."""
        length, width = self.kernel.block
        return at["q"] * np.int32(length), at["k"] * np.int32(width)

    def spec(self, x: Any, kind: str) -> pl.BlockSpec:
        """The block of an array of four axes that a step reads or writes.

        Args:
          x: the array.
          kind: ``"q"``, blocks of queries; ``"k"``, blocks of keys; ``"last k"``,
            blocks of keys that are written in their last step; ``"r"``, rows with one
            number for each query; ``"w"``, tiles of an array that broadcasts to the
            weights.
        """
        length, width = self.kernel.block
        features = x.shape[3]
        shape = {
            "q": (length, features),
            "k": (width, features),
            "last k": (width, features),
            "r": (1, length),
            "w": tuple(
                size if whole > 1 else 1
                for size, whole in zip((length, width), x.shape[2:], strict=True)
            ),
        }[kind]

        def index(*ids: Array) -> tuple[Any, ...]:
            at = dict(zip(self.order, ids, strict=True))
            head = self.head(at)
            if kind in ("k", "last k"):
                head = lax.div(head, np.int32(self.kernel.group))
            block = self._block(at, kind)
            place = (at["b"], head, *block)
            if kind == "w":
                place = tuple(  # type: ignore[assignment]
                    i if size > 1 else np.int32(0)
                    for i, size in zip(place, x.shape, strict=True)
                )
            return place

        return pl.BlockSpec((None, None, *shape), index)

    def _block(self, at: dict[str, Array], kind: str) -> tuple[Any, Any]:
        none = np.int32(0)
        if kind == "q":
            return at["q"], none
        if kind == "r":
            return none, at["q"]
        if kind == "w":
            return at["q"], at["k"]
        if kind == "k":
            return at["k"], none
        # A block of keys is complete in its last step only. All steps before map to
        # the first block, so that the others are not written back again and again.
        last = (at["g"] == self.sizes["g"] - 1) & (at["q"] == self.sizes["q"] - 1)
        return jnp.where(last, at["k"], none), none

    def call(
        self,
        body: Callable[..., None],
        numbers: Numbers,
        inputs: list[Array],
        kinds: list[str],
        outputs: list[Any],
        output_kinds: list[str],
        scratch: list[Any],
        interpret: bool,
    ) -> Any:
        """Runs a kernel; see :meth:`spec` for kinds."""
        scalar = pl.BlockSpec(memory_space=pltpu.SMEM)
        pairs = zip(inputs, kinds, strict=True)
        output_pairs = zip(outputs, output_kinds, strict=True)
        return pl.pallas_call(
            body,
            grid=tuple(self.sizes[name] for name in self.order),
            in_specs=[*(scalar for _ in numbers), *(self.spec(*x) for x in pairs)],
            out_specs=[self.spec(*x) for x in output_pairs],
            out_shape=[tile.like(x, x.shape, x.dtype) for x in outputs],
            scratch_shapes=scratch,
            interpret=interpret,
            compiler_params=pltpu.CompilerParams(
                dimension_semantics=("parallel", "parallel")  # type: ignore[arg-type]
                + ("arbitrary",) * (len(self.order) - 2)
                if self.order[:2] == "bh"
                else ("arbitrary",) * len(self.order),
                vmem_limit_bytes=_VMEM + sum(map(_bytes, scratch)),
            ),
        )(*numbers, *inputs)


def _bytes(scratch: Any) -> int:
    """The bytes of a scratch array of float32, padded to whole registers."""
    rows, columns = scratch.shape
    return int(4 * (rows + -rows % 8) * (columns + -columns % 128))
