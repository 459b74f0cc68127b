"""Keys, bits, masks and techniques again: plainly, in NumPy and in double precision.

A technique of given bits is affine: it gives ``scale * x + shift``, entry by entry.
"""

import zlib
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
LEVELS = 2**23
SATURATION = -1.7580993408473766
"""What SELU approaches: minus its scale times its alpha."""


class Affine(NamedTuple):
    """A technique under one key, as factors of an input and what is added to it."""

    scale: np.ndarray
    shift: np.ndarray


def threefry(words, first, second):
    """Encrypts pairs of words in the twenty rounds of Threefry-2x32."""
    words = [np.uint32(word) for word in words]
    schedule = [*words, words[0] ^ words[1] ^ np.uint32(0x1BD11BDA)]
    with np.errstate(over="ignore"):
        first = np.asarray(first, np.uint32) + schedule[0]
        second = np.asarray(second, np.uint32) + schedule[1]
        for block in range(5):
            for distance in ROTATIONS[block % 2]:
                first = first + second
                turned = (second << np.uint32(distance)) | (
                    second >> np.uint32(32 - distance)
                )
                second = first ^ turned
            first = first + schedule[(block + 1) % 3]
            second = second + schedule[(block + 2) % 3] + np.uint32(block + 1)
    return first, second


def fold_in(words, number):
    """The key that follows from a key and a number."""
    return np.array(threefry(words, 0, number), np.uint32)


def split(words, count):
    """The keys that follow from a key."""
    positions = np.arange(count, dtype=np.uint32)
    return np.stack(threefry(words, np.zeros_like(positions), positions), -1)


def shard_key(words, positions):
    """The key of a device, from its place along named axes of a mesh."""
    for name in sorted(positions):
        words = fold_in(words, zlib.crc32(name.encode()))
        words = fold_in(words, positions[name])
    return words


def light_hash(words, low):
    """The light generator, at positions below 2**32."""
    shifted = lambda x, distance: x ^ (x >> np.uint32(distance))
    mixed = lambda x, distance, factor: shifted(x, distance) * np.uint32(factor)
    spread = lambda x: shifted(mixed(mixed(x, 16, 0x7FEB352D), 15, 0x846CA68B), 16)
    first, second = (np.uint32([word]) for word in words)
    a = first ^ spread(second + np.uint32(0x9E3779B9))
    b = second + spread(a ^ np.uint32(0x85EBCA6B))
    c = (a ^ b) * np.uint32(0x9E3779B1)
    x = mixed(low ^ a, 17, 0xED5AD4BB)
    y = mixed(mixed(x + b, 11, 0xAC4C1B51) ^ c, 15, 0x31848BAB)
    return shifted(y + x, 14)


def bits_at(words, positions, light):
    """Random bits at positions below 2**32."""
    positions = np.asarray(positions, np.uint32)
    if light:
        return light_hash(words, positions)
    first, second = threefry(words, np.zeros_like(positions), positions)
    return first ^ second


def random_bits(words, shape, light):
    """Random bits of a shape, row by row."""
    positions = np.arange(int(np.prod(shape)), dtype=np.uint32)
    return bits_at(words, positions, light).reshape(shape)


def survives(bits, keep):
    return (bits >> 9) < np.ceil(np.float32(keep) * LEVELS)


def realized(keep):
    """The probability of keeping, as masks realize it where little is kept."""
    rounded = float(np.ceil(np.float32(keep) * LEVELS)) / LEVELS
    return rounded if keep < 2**-8 else keep


def drawn(words, shape, shared, keep, light):
    """A mask of a shape, with one draw along the axes that share it."""
    small = tuple(1 if axis in shared else n for axis, n in enumerate(shape))
    mask = survives(random_bits(words, small, light), keep)
    return np.broadcast_to(mask, shape)


def kept(mask, keep):
    """Drops what a mask drops, and scales the rest."""
    scale = np.where(mask, 1 / np.float64(np.float32(keep)) if keep else 0.0, 0.0)
    return Affine(scale, np.zeros_like(scale))


def alpha(mask, keep):
    """Drops to the saturation of SELU, and restores mean and variance."""
    if not keep:
        return Affine(np.zeros(mask.shape), np.zeros(mask.shape))
    slope = 1 / np.sqrt(keep * (1 + (1 - keep) * SATURATION**2))
    shift = -slope * SATURATION * (1 - keep)
    return Affine(
        np.where(mask, slope, 0.0), np.where(mask, shift, slope * SATURATION * keep)
    )


def gaussian(words, shape, shared, keep, light):
    """Multiplies by normal noise, from the quantiles of uniform bits."""
    small = tuple(1 if axis in shared else n for axis, n in enumerate(shape))
    fraction = (random_bits(words, small, light) >> 9) / LEVELS
    least = float(np.nextafter(np.float32(-1), np.float32(0)))
    symmetric = np.maximum(least, np.float64(fraction) * (1 - least) + least)
    noise = np.broadcast_to(ndtri((1 + symmetric) / 2), shape)
    scale = 1 + np.sqrt((1 - keep) / keep) * noise
    return Affine(scale, np.zeros(shape))


def heads(words, shape, keep, light):
    """Drops whole heads, the third axis from the end, and never all of them."""
    axis, rest = len(shape) - 3, (len(shape) - 2, len(shape) - 1)
    small = tuple(1 if a in rest else n for a, n in enumerate(shape))
    bits = random_bits(words, small, light)
    alive = survives(bits, keep)
    if keep > 0:
        alive |= bits == bits.min(axis=axis, keepdims=True)
    share = alive.mean(axis=axis, keepdims=True)
    scale = np.where(alive, 1 / np.where(share == 0, 1, share), 0.0)
    scale = np.broadcast_to(scale, shape)
    return Affine(scale, np.zeros(shape))


def blocks(words, shape, keep, side, light):
    """Drops squares of the two axes before the last, clipped at the borders.

    Seeds lie on a larger map, so that every entry is covered by as many of them.
    """
    height, width = shape[-3:-1]
    padded = (*shape[:-3], height + side - 1, width + side - 1, shape[-1])
    seed_keep = keep ** (1 / side**2)
    alive = survives(random_bits(words, padded, light), seed_keep)
    mask = np.ones(shape, bool)
    for down in range(side):
        for right in range(side):
            mask &= alive[..., down : down + height, right : right + width, :]
    return kept(mask, keep)
