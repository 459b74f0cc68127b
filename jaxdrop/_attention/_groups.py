"""From the layouts of ``jax.nn`` to groups and back.

A group is one example and one key head, with all query heads that share it. Examples
are split into (at once, steps), and key heads likewise; the steps are moved to the
front, to be looped over. In this order an array that is sharded over devices along
examples or heads has a part of every shard in each step.

In the comments ``e`` and ``h`` are the examples and key heads at once, ``E`` and ``H``
the steps over them, and ``g`` the query heads of a key head. All results begin with the
axes ``(E, H, e, h)``.
"""

import jax.numpy as jnp

from jaxdrop._attention._plan import Plan
from jaxdrop._typing import Array


def split_queries(plan: Plan, x: Array) -> Array:
    """Splits ``(batch, queries, heads, features)`` to ``(…, queries, features)``."""
    x = x.reshape(*_examples(plan), plan.queries, *_heads(plan), plan.group, -1)
    # (e, E, queries, h, H, g, features) to (E, H, e, h, g, queries, features)
    return x.transpose(1, 4, 0, 3, 5, 2, 6)


def join_outputs(plan: Plan, x: Array) -> Array:
    """Undoes :func:`split_queries`."""
    x = x.transpose(2, 0, 5, 3, 1, 4, 6)  # (e, E, queries, h, H, g, features)
    heads = plan.key_heads * plan.group
    return x.reshape(plan.batch, plan.queries, heads, -1)


def split_keys(plan: Plan, x: Array) -> Array:
    """Splits ``(batch, keys, key heads, features)`` to ``(…, keys, features)``."""
    x = x.reshape(*_examples(plan), plan.keys, *_heads(plan), -1)
    # (e, E, keys, h, H, features) to (E, H, e, h, keys, features)
    return x.transpose(1, 4, 0, 3, 2, 5)


def split_weights(plan: Plan, x: Array) -> Array:
    """Splits an array that broadcasts to the weights; axes of length 1 remain."""
    batch, heads, queries, keys = x.shape
    examples = _examples(plan) if batch != 1 else (1, 1)
    grouped = (*_heads(plan), plan.group) if heads != 1 else (1, 1, 1)
    x = x.reshape(*examples, *grouped, queries, keys)
    # (e, E, h, H, g, queries, keys) to (E, H, e, h, g, queries, keys)
    return x.transpose(1, 3, 0, 2, 4, 5, 6)


def split_sums(plan: Plan, x: Array) -> Array:
    """Splits ``(batch, heads, queries)`` to ``(…, queries)``."""
    x = x.reshape(*_examples(plan), *_heads(plan), plan.group, plan.queries)
    # (e, E, h, H, g, queries) to (E, H, e, h, g, queries)
    return x.transpose(1, 3, 0, 2, 4, 5)


def join_sums(plan: Plan, x: Array) -> Array:
    """Undoes :func:`split_sums`."""
    x = x.transpose(2, 0, 3, 1, 4, 5)  # (e, E, h, H, g, queries)
    return x.reshape(plan.batch, plan.key_heads * plan.group, plan.queries)


def split_number(plan: Plan, x: Array) -> Array:
    """One number that is shared by all groups."""
    del plan
    return x.reshape(1, 1)


def split_lengths(plan: Plan, x: Array) -> Array:
    """Splits numbers of the examples, ``(batch,)``."""
    return x.reshape(_examples(plan)).T[:, None, :, None]


def first_rows(plan: Plan) -> Array:
    """For each group, the number of its first row among all rows of the mask.

    A row holds the weights of one query. Row numbers are single words: arrays with more
    rows would not fit into memory.
    """
    batch, heads, queries, _ = plan.drawn
    example = jnp.arange(plan.batch if batch != 1 else 1, dtype=jnp.uint32)
    head = jnp.arange(plan.key_heads if heads != 1 else 1, dtype=jnp.uint32)
    first = (example[:, None] * heads + plan.group * head[None]) * queries
    examples = _examples(plan) if batch != 1 else (1, 1)
    grouped = _heads(plan) if heads != 1 else (1, 1)
    return first.reshape(*examples, *grouped).transpose(1, 3, 0, 2)


def _examples(plan: Plan) -> tuple[int, int]:
    return plan.at_once[0], plan.steps[0]


def _heads(plan: Plan) -> tuple[int, int]:
    return plan.at_once[1], plan.steps[1]
