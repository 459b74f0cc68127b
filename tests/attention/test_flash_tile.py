"""One tile inside a kernel: its part of the mask, its logits, and which are skipped."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from jaxdrop import _masks, prng
from jaxdrop._attention import _flash_tile as tile
from jaxdrop._attention._tiles import MASKED
from jaxdrop.prng._bits import counter_hash

QUERIES, KEYS, LENGTH = 40, 50, 21
VIEWS = {
    "all": {},
    "causal": {"is_causal": True},
    "window": {"window": (9, 3)},
    "causal window": {"is_causal": True, "window": (20, 5)},
    "lengths": {"has_lengths": True},
    "causal lengths": {"is_causal": True, "has_lengths": True},
}


def kernel_of(key, **facts):
    given = {"queries": QUERIES, "keys": KEYS, "group": 1, "block": (16, 8)}
    given |= {"is_causal": False, "window": None, "has_lengths": False}
    given |= {"hash": counter_hash(key), "drawn": (True, True), "wide": False}
    return tile.Kernel(**(given | {"skips": True} | facts))


def scalars_of(key, first_row=0, scale=0.5):
    return tile.Scalars(
        words=tuple(jax.random.key_data(key)),
        last=(_masks.threshold_of(jnp.float32(0.7)).astype(jnp.uint32) << 9) - 1,
        length=jnp.int32(LENGTH),
        first_row=jnp.uint32(first_row),
        scale=jnp.float32(scale),
        inverse=jnp.float32(1 / 0.7),
        factor=jnp.float32(1),
    )


def seen_in(view):
    """Which of all keys each query attends to."""
    query, key = np.arange(QUERIES)[:, None], np.arange(KEYS)[None]
    seen = np.ones((QUERIES, KEYS), bool)
    if view.get("is_causal"):
        seen &= key <= query
    if "window" in view:
        left, right = view["window"]
        seen &= (key >= query - left) & (key <= query + right)
    if view.get("has_lengths"):
        seen &= key < LENGTH
    return seen


def tiles(of, size):
    return [slice(first, first + size) for first in range(0, of, size)]


@pytest.mark.parametrize("view", VIEWS)
def test_no_tile_in_which_a_key_is_seen_is_skipped(view, key):
    kernel, scalars = kernel_of(key, **VIEWS[view]), scalars_of(key)
    seen = seen_in(VIEWS[view])
    length, width = kernel.block
    skipped = 0
    for i, rows in enumerate(tiles(QUERIES, length)):
        first, end = tile.keys_seen(kernel, scalars, jnp.int32(rows.start))
        for k, columns in enumerate(tiles(KEYS, width)):
            start, stop = tile.queries_seeing(kernel, scalars, jnp.int32(columns.start))
            places = jnp.int32(rows.start), jnp.int32(columns.start)
            visible = tile.visible(kernel, scalars, *places)
            visited = [first <= k < end, start <= i < stop]
            visited += [] if visible is None else [bool(visible)]
            if seen[rows, columns].any():
                assert all(visited)
            skipped += sum(not flag for flag in visited)
    assert (skipped > 0) == (view != "all")
    everything = kernel_of(key, **VIEWS[view], skips=False)
    assert tile.visible(everything, scalars, jnp.int32(0), jnp.int32(0)) is None
    ends = tile.keys_seen(everything, scalars, jnp.int32(0))
    assert [int(end) for end in ends] == [0, kernel.steps[1]]


@pytest.mark.parametrize("generator", [prng.fuse, prng.light])
@pytest.mark.parametrize("keys", [KEYS, 56])  # the last in whole blocks
@pytest.mark.parametrize("keys_axis", [0, 1])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("drawn", [(True, True), (False, True), (True, False)])
def test_a_tile_draws_its_part_of_the_mask(
    drawn, wide, keys_axis, keys, generator, key
):
    key = generator(key)
    kernel = kernel_of(key, drawn=drawn, wide=wide, keys=keys)
    shape = tuple(n if d else 1 for n, d in zip((QUERIES, keys), drawn, strict=True))
    mask = jaxdrop.masks.bernoulli(key, (2, 3, *shape), rate=0.3)
    row = (1 * 3 + 2) * shape[0]  # of the third head of the second example

    @jax.jit
    def survives(key):
        places = tile.places(jnp.int32(16), jnp.int32(24), (16, 8), keys_axis=keys_axis)
        scalars = scalars_of(key, row)
        whole = tile.Places(*jnp.broadcast_arrays(places.query, places.key))
        found = tile.survives(kernel, scalars, places)
        return found, tile.survives(kernel, scalars, whole)

    found, of_whole = map(np.asarray, survives(key))
    np.testing.assert_array_equal(of_whole, np.broadcast_to(found, of_whole.shape))
    found = found if keys_axis else found.T
    part = [slice(16, 32) if drawn[0] else slice(1), slice(24, 32)]
    part[1] = part[1] if drawn[1] else slice(1)
    np.testing.assert_array_equal(found, mask[1, 2][tuple(part)])


@pytest.mark.parametrize("generator", [prng.fuse, prng.light])
@pytest.mark.parametrize("keys", [64, 56, 50])  # a power of two, whole blocks, neither
def test_a_tile_whose_rows_pass_32_bits_draws_its_part(keys, generator, key):
    key = generator(key)
    kernel = kernel_of(key, keys=keys, wide=True, queries=2**27)
    first_row = 2**32 // keys - 8  # of 16, so that positions pass 2**32 in the middle
    columns = [slice(first, first + 8) for first in range(0, keys, 8)]

    @jax.jit
    def survives(key, first_key):
        places = tile.places(jnp.int32(0), first_key, (16, 8), keys_axis=1)
        return tile.survives(kernel, scalars_of(key, first_row), places)

    rows = np.arange(first_row, first_row + 16, dtype=np.uint64)[:, None]
    positions = rows * np.uint64(keys) + np.arange(columns[-1].stop, dtype=np.uint64)
    assert (positions < 2**32).any() and (positions >= 2**32).any()
    kept = jaxdrop.masks.survives(prng.bits_at(key, positions), keep=0.7)
    for part in columns:
        found = survives(key, jnp.int32(part.start))
        np.testing.assert_array_equal(found, kept[:, part])


@pytest.mark.parametrize("width", [2**17, 2**18])  # the most offsets, and more
def test_a_tile_of_many_keys_draws_its_part(width, key):
    key = prng.light(key)
    kernel = kernel_of(key, keys=width, block=(1, width))

    @jax.jit
    def survives(key):
        places = tile.places(jnp.int32(3), jnp.int32(0), (1, width), keys_axis=1)
        return tile.survives(kernel, scalars_of(key), places)

    bits = prng.bits_at(key, 3 * width + np.arange(width))
    kept = jaxdrop.masks.survives(bits, keep=0.7)
    np.testing.assert_array_equal(survives(key)[0], kept)


@pytest.mark.parametrize("keep, share", [(0.0, 1), (2**-23, 2**-23), (1.0, 1)])
def test_bits_survive_up_to_the_last(keep, share, key):
    """All where nothing is kept, since the inverse is 0 then; as where all are."""
    numbers = tile.Numbers(
        whole=jnp.uint32([0, 0, 0, 0]).at[2].set(_masks.threshold_of(keep)),
        real=jnp.zeros(3),
        examples=jnp.zeros(1, jnp.uint32),
        heads=jnp.zeros(1, jnp.uint32),
    )
    last = tile.scalars_of(numbers, jnp.int32(0), jnp.int32(0)).last
    assert int(last) == share * 2**32 - 1


@pytest.mark.parametrize("first_key", [16, 48])
@pytest.mark.parametrize("view", VIEWS)
def test_logits_of_a_tile_within_the_keys_and_at_their_end(view, first_key, key):
    kernel, scalars = kernel_of(key, **VIEWS[view]), scalars_of(key)
    rng = np.random.default_rng(0)
    product, bias = rng.normal(size=(2, 16, 8)).astype(np.float32)
    at = tile.places(jnp.int32(16), jnp.int32(first_key), (16, 8), keys_axis=1)
    logits_of = jax.jit(functools.partial(tile.logits_of, kernel))
    logits, attended = logits_of(scalars, at, product, {"bias": bias})
    seen = seen_in(VIEWS[view])[16:32, first_key : first_key + 8]
    expected, some = 0.5 * product + bias, seen.shape[1]
    expected[:, :some][~seen] = MASKED
    expected[:, some:] = -np.inf  # beyond the last key
    np.testing.assert_allclose(logits, expected, rtol=1e-6)
    assert (attended is None) == (view == "all")
    mask = rng.random((16, 8)) < 0.5
    extra = {"bias": bias, "mask": mask.astype(np.int8)}
    logits, attended = logits_of(scalars, at, product, extra)
    np.testing.assert_array_equal(attended[:, :some], seen & mask[:, :some])
    is_masked = np.asarray(logits == np.float32(MASKED))
    np.testing.assert_array_equal(is_masked[:, :some], ~attended[:, :some])


def test_the_scalars_of_a_head_are_read_from_flat_arrays():
    numbers = tile.Numbers(
        whole=jnp.arange(12, dtype=jnp.uint32),
        real=jnp.arange(9, dtype=jnp.float32),
        examples=jnp.array([0, 100, 200], jnp.uint32),
        heads=jnp.array([0, 7], jnp.uint32),
    )
    found = tile.scalars_of(numbers, jnp.int32(2), jnp.int32(1))
    assert [int(word) for word in found.words] == [8, 9]
    assert (found.last, found.length, found.first_row) == (10 * 2**9 - 1, 11, 207)
    assert [float(x) for x in found[4:]] == [6, 7, 8]


def test_axes_are_padded_at_their_end():
    x = jnp.ones((3, 4, 5))
    assert tile.padded(x, {0: 3, 1: 2}) is x
    found = tile.padded(x, {0: 4, 2: 8}, np.inf)
    assert found.shape == (4, 4, 8)
    assert np.isinf(found[3]).all() and np.isinf(found[:, :, 5:]).all()
    np.testing.assert_array_equal(found[:3, :, :5], x)
