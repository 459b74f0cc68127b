"""From ``jax.nn``'s layouts to rows and back.

In rows, the examples are split into (examples at once, steps), and key heads likewise,
and the steps are moved to the front, where they are looped over. An array that is
spread over devices along examples or heads so keeps that axis whole in each step.
"""

import jax.numpy as jnp

from jaxdrop._attention._plan import Plan
from jaxdrop._typing import Array


def query_rows(plan: Plan, x: Array) -> Array:
    """``(batch, queries, heads, features)`` to ``(…, queries, features)`` in rows."""
    x = x.reshape(*_examples(plan), plan.queries, *_heads(plan), plan.group, -1)
    return x.transpose(1, 4, 0, 3, 5, 2, 6)


def outputs(plan: Plan, x: Array) -> Array:
    """The way back for what :func:`query_rows` gave."""
    x = x.transpose(2, 0, 5, 3, 1, 4, 6)
    heads = plan.key_heads * plan.group
    return x.reshape(plan.batch, plan.queries, heads, -1)


def key_rows(plan: Plan, x: Array) -> Array:
    """``(batch, keys, key heads, features)`` to ``(…, keys, features)`` in rows."""
    x = x.reshape(*_examples(plan), plan.keys, *_heads(plan), -1)
    return x.transpose(1, 4, 0, 3, 2, 5)


def weight_rows(plan: Plan, x: Array) -> Array:
    """What broadcasts to ``(batch, heads, queries, keys)`` to rows, not broadcast."""
    batch, heads, queries, keys = x.shape
    examples = _examples(plan) if batch != 1 else (1, 1)
    grouped = (*_heads(plan), plan.group) if heads != 1 else (1, 1, 1)
    x = x.reshape(*examples, *grouped, queries, keys)
    return x.transpose(1, 3, 0, 2, 4, 5, 6)


def sum_rows(plan: Plan, x: Array) -> Array:
    """``(batch, heads, queries)`` to rows, with queries as their last axis."""
    x = x.reshape(*_examples(plan), *_heads(plan), plan.group, plan.queries)
    return x.transpose(1, 3, 0, 2, 4, 5)


def sums(plan: Plan, x: Array) -> Array:
    """Undoes :func:`sum_rows`."""
    x = x.transpose(2, 0, 3, 1, 4, 5)
    return x.reshape(plan.batch, plan.key_heads * plan.group, plan.queries)


def number_rows(plan: Plan, x: Array) -> Array:
    """One number for everything, to rows."""
    del plan
    return x.reshape(1, 1)


def example_rows(plan: Plan, x: Array) -> Array:
    """One number for each example to rows."""
    return x.reshape(_examples(plan)).T[:, None, :, None]


def first_rows(plan: Plan) -> Array:
    """Where each row begins among all rows of drawn weights, in rows.

    A row of weights, those of a query, has a number of one word: more of them could not
    be held anyway.
    """
    batch, heads, queries, _ = plan.drawn
    example = jnp.arange(plan.batch if batch != 1 else 1, dtype=jnp.uint32)
    head = jnp.arange(plan.key_heads if heads != 1 else 1, dtype=jnp.uint32)
    first = (example[:, None] * heads + plan.group * head[None]) * queries
    examples = _examples(plan) if batch != 1 else (1, 1)
    grouped = _heads(plan) if heads != 1 else (1, 1)
    return first.reshape(*examples, *grouped).transpose(1, 3, 0, 2)


def _examples(plan: Plan) -> tuple[int, int]:
    return plan.rows[0], plan.steps[0]


def _heads(plan: Plan) -> tuple[int, int]:
    return plan.rows[1], plan.steps[1]
