"""Where a leaf is in a tree, in words that Linen, NNX and Equinox trees share."""

import zlib
from collections.abc import Callable
from typing import Any

import jax
from jax.tree_util import GetAttrKey

from jaxdrop._typing import Path, PyTree


def path_name(path: Path, /) -> str:
    """``"encoder/0/kernel"`` for a leaf's path, whatever the containers are.

    The ``value`` that a Flax NNX variable adds below its own name is left out, so that
    one model has the same names as a Linen dict, an ``nnx.State`` or an NNX module.
    """
    parts = list(path)
    if len(parts) > 1 and isinstance(parts[-1], GetAttrKey):
        parts = parts[:-1] if parts[-1].name in ("value", "raw_value") else parts
    return jax.tree_util.keystr(tuple(parts), simple=True, separator="/")


def path_hash(name: str, /) -> int:
    """A fixed 32-bit hash of a path or a site's name, the same in every process."""
    return zlib.crc32(name.encode())


def map_with_name(
    function: Callable[..., Any], tree: PyTree, /, *rest: PyTree
) -> PyTree:
    """Maps ``function(name, leaf, *rest_leaves)`` over a tree."""
    return jax.tree_util.tree_map_with_path(
        lambda path, *leaves: function(path_name(path), *leaves), tree, *rest
    )
