"""Groups of examples and heads: split, looped over, and joined again."""

import itertools

import jax
import numpy as np
import pytest

from jaxdrop._attention import _groups
from jaxdrop._attention._plan import Plan, Strip

BATCH, KEY_HEADS, GROUP, QUERIES, KEYS, FEATURES = 6, 4, 3, 5, 7, 2
HEADS = KEY_HEADS * GROUP
WEIGHTS = (BATCH, HEADS, QUERIES, KEYS)
AT_ONCE = [(1, 1), (2, 4), (3, 2), (6, 4)]


def plan_of(at_once, drawn=WEIGHTS):
    return Plan(
        batch=BATCH,
        key_heads=KEY_HEADS,
        group=GROUP,
        queries=QUERIES,
        keys=KEYS,
        drawn=drawn,
        is_causal=False,
        window=None,
        at_once=at_once,
        pane=(QUERIES, KEYS),
        strips=(Strip(0, 0, 1),),
        tile=(QUERIES, KEYS),
    )


def groups_of(plan):
    """Examples and key heads, with their place among (steps, steps, once, once)."""
    pairs = itertools.product(range(BATCH), range(KEY_HEADS))
    for example, head in pairs:
        once, step = divmod(example, plan.steps[0])
        head_once, head_step = divmod(head, plan.steps[1])
        yield (example, head), (step, head_step, once, head_once)


def numbers(*shape):
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape)


@pytest.mark.parametrize("at_once", AT_ONCE)
def test_a_group_has_the_arrays_of_its_example_and_heads(at_once):
    plan = plan_of(at_once)
    query = numbers(BATCH, QUERIES, HEADS, FEATURES)
    key = numbers(BATCH, KEYS, KEY_HEADS, FEATURES)
    sums, bias = numbers(BATCH, HEADS, QUERIES), numbers(*WEIGHTS)
    split = jax.jit(
        lambda query, key, sums, bias, lengths: (
            _groups.split_queries(plan, query),
            _groups.split_keys(plan, key),
            _groups.split_sums(plan, sums),
            _groups.split_weights(plan, bias),
            _groups.split_lengths(plan, lengths),
        )
    )(query, key, sums, bias, np.arange(BATCH))
    split = [*map(np.asarray, split)]
    for (example, head), place in groups_of(plan):
        heads = slice(GROUP * head, GROUP * (head + 1))
        expected = (
            query[example, :, heads].swapaxes(0, 1),
            key[example, :, head],
            sums[example, heads],
            bias[example, heads],
        )
        for found, own in zip(split, expected, strict=False):
            np.testing.assert_array_equal(found[place], own)
        assert split[-1][place[0], 0, place[2], 0] == example


@pytest.mark.whole
@pytest.mark.parametrize("at_once", AT_ONCE)
def test_what_was_split_is_joined(at_once):
    plan = plan_of(at_once)
    query, sums = numbers(BATCH, QUERIES, HEADS, FEATURES), numbers(*WEIGHTS[:3])
    split = _groups.split_queries(plan, query)
    np.testing.assert_array_equal(_groups.join_outputs(plan, split), query)
    split = _groups.split_sums(plan, sums)
    np.testing.assert_array_equal(_groups.join_sums(plan, split), sums)


@pytest.mark.parametrize("shape", [(1, 1, 5, 7), (6, 1, 1, 7), (1, 12, 5, 1)])
def test_axes_of_length_1_stay_so(shape):
    split = _groups.split_weights(plan_of((3, 2)), numbers(*shape))
    batch, heads, *rest = shape
    examples, grouped = (2, 3) if batch > 1 else (1, 1), (2, 2, 3)
    grouped = grouped if heads > 1 else (1, 1, 1)
    assert split.shape == (examples[0], grouped[1], examples[1], *grouped[::2], *rest)


@pytest.mark.parametrize(
    "drawn", [WEIGHTS, (1, *WEIGHTS[1:]), (BATCH, 1, 5, 7), (1, 1, 1, 7)]
)
def test_the_first_row_of_a_group_is_its_place_in_the_mask(drawn):
    plan = plan_of((3, 2), drawn)
    rows = np.arange(np.prod(drawn[:3])).reshape(drawn[:3])
    whole = np.broadcast_to(rows, (*WEIGHTS[:2], drawn[2]))
    first = np.broadcast_to(_groups.first_rows(plan), (2, 2, 3, 2))
    for (example, head), place in groups_of(plan):
        assert first[place] == whole[example, GROUP * head, 0]
