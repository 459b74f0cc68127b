"""Random streams for statistical batteries, and statistics of masks.

    python benchmarks/randomness.py --stream counter | dieharder -a -g 200
    python benchmarks/randomness.py --stream interleaved --keys split | RNG_test stdin32
    python benchmarks/randomness.py --masks      # a table of p-values, some minutes

A stream is written to the standard output as raw 32-bit words, until it is closed.
``counter`` is one key at positions 0, 1, 2, ...; ``far`` visits the positions in the
order of their reversed bits, so that neighbours differ in the highest ones;
``interleaved`` takes position 0 of 1024 keys, then position 1 of each, and so on.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from rich.console import Console
from rich.table import Table
from scipy import stats

from jaxdrop import keys, masks, prng

RATES = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
SHAPES = ((64, 256, 256), (101, 151, 307))
BLOCK = 1 << 20
STREAMS = 1024

Convert = Callable[[jax.Array], jax.Array]
GENERATORS: dict[str, Convert] = {"light": prng.light, "threefry": prng.fuse}
KEYS: dict[str, Callable[[int], jax.Array]] = {
    "consecutive": lambda count: jax.vmap(jax.random.key)(jnp.arange(count)),
    "split": lambda count: jax.random.split(jax.random.key(7), count),
    "fold_in": lambda count: jax.vmap(partial(jax.random.fold_in, jax.random.key(7)))(
        jnp.arange(count)
    ),
    "first_word": lambda count: jax.random.wrap_key_data(
        jnp.stack([jnp.arange(count, dtype=jnp.uint32)] * 2, 1) * jnp.uint32([1, 0])
    ),
}


def reverse_bits(words: jax.Array) -> jax.Array:
    """32-bit words from their last bit to their first."""
    for distance, mask in zip(
        (16, 8, 4, 2, 1),
        (0x0000FFFF, 0x00FF00FF, 0x0F0F0F0F, 0x33333333, 0x55555555),
        strict=True,
    ):
        low, shift = jnp.uint32(mask), jnp.uint32(distance)
        words = ((words & low) << shift) | ((words >> shift) & low)
    return words


def blocks(stream: str, made: jax.Array, *, backwards: bool) -> Iterator[np.ndarray]:
    """Words of a stream without end, a block at a time."""
    count = len(made) if stream == "interleaved" else 1
    length = BLOCK // count

    @jax.jit
    def draw(made: jax.Array, start: jax.Array, high: jax.Array) -> jax.Array:
        position = start + jnp.arange(length, dtype=jnp.uint32)
        if stream == "far":
            position = reverse_bits(position)
        at = lambda key: prng.bits_at(key, position, high=high)
        words = jax.vmap(at, out_axes=1)(made[:count]).ravel()
        return reverse_bits(words) if backwards else words

    start = 0
    while True:
        high, low = divmod(start, 2**32)
        yield np.asarray(draw(made, jnp.uint32(low), jnp.uint32(high)))
        start += length


def write_stream(words: Iterator[np.ndarray]) -> None:
    """Writes words until nobody reads them."""
    try:
        for block in words:
            sys.stdout.buffer.write(block.tobytes())
    except BrokenPipeError:
        sys.stderr.close()  # Python would complain once more when it ends


def of_shards(key: jax.Array) -> jax.Array:
    """The keys of 8 shards."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    local = lambda key: keys.shard(key, "data")[None]
    run = jax.shard_map(local, mesh=mesh, in_specs=P(), out_specs=P("data"))
    return jnp.stack([*jax.jit(run)(key)])


def families(key: jax.Array, convert: Convert) -> dict[str, jax.Array]:
    """Keys that a training run draws its masks with, by what they differ in."""
    count = jnp.arange(64)
    return {
        "sites": jnp.stack([keys.site(key, f"layer/{i}") for i in range(64)]),
        "indices": jax.vmap(lambda i: keys.site(key, "block", index=i))(count),
        "steps": jax.vmap(lambda i: keys.site(key, "block", step=i))(count),
        "examples": keys.example(key, count),
        "shards": of_shards(key),
        "split": jax.random.split(key, 64),
        "seeds": convert(KEYS["consecutive"](64)),
    }


def p_of_products(
    first: np.ndarray, second: np.ndarray, keep: float
) -> tuple[float, float]:
    """The correlation of two sets of entries, and its two-sided p-value."""
    spread = keep * (1 - keep)
    both = float((first & second).sum())
    ones = float(first.sum())
    others = float(second.sum())
    moment = both - keep * (ones + others) + keep**2 * first.size
    correlation = moment / (first.size * spread)
    return correlation, two_sided(correlation * first.size**0.5)


def tests_of_masks(
    key: jax.Array, convert: Convert
) -> Iterator[tuple[str, float, float]]:
    """What was compared, the correlation or relative error, and the p-value."""
    draw = jax.jit(
        lambda key, shape, rate: masks.bernoulli(key, shape, rate=rate),
        static_argnums=1,
    )
    draw_each = jax.jit(
        jax.vmap(lambda key, rate: draw(key, (256, 256), rate), in_axes=(0, None))
    )
    made = families(key, convert)
    for rate in RATES:
        keep = float(np.ceil((1 - np.float32(rate)) * 2**23)) / 2**23
        for shape in SHAPES:
            mask = np.asarray(draw(key, shape, jnp.float32(rate)))
            share = float(mask.sum()) / mask.size
            z = (share - keep) / (keep * (1 - keep) / mask.size) ** 0.5
            name = f"rate {rate}, {'x'.join(map(str, shape))}"
            yield f"{name}: share kept", share / keep - 1, two_sided(z)
            for axis, lag in ((0, 1), (1, 1), (2, 1), (0, 16), (1, 16), (2, 16)):
                along = np.moveaxis(mask, axis, 0)
                found = p_of_products(along[:-lag], along[lag:], keep)
                yield f"{name}: axis {axis}, lag {lag}", *found
        for name, family in made.items():
            drawn = np.asarray(draw_each(family, jnp.float32(rate)))
            found = p_of_products(drawn[:-1], drawn[1:], keep)
            yield f"rate {rate}: neighbouring {name}", *found


def tests_of_words(key: jax.Array) -> Iterator[tuple[str, float, float]]:
    """Repeated words, and the frequencies of high and of low bits."""
    words = np.asarray(jax.jit(prng.random_bits, static_argnums=1)(key, (1 << 24,)))
    expected = words.size * (words.size - 1) / 2 / 2**32
    repeats = words.size - np.unique(words).size
    z = (repeats - expected) / expected**0.5
    yield f"repeats in 2**24 words: {repeats}", repeats / expected - 1, two_sided(z)
    for bits in (8, 16, 20):
        for name, part in (
            ("high", words >> np.uint32(32 - bits)),
            ("low", words & np.uint32(2**bits - 1)),
        ):
            counts = np.bincount(part, minlength=2**bits)
            statistic, p = stats.chisquare(counts)
            yield f"frequencies of {bits} {name} bits", statistic / 2**bits - 1, p


def two_sided(z: float) -> float:
    return float(2 * stats.norm.sf(abs(z)))


def print_tests(rows: list[tuple[str, float, float]]) -> None:
    """Prints the ten smallest p-values, and how all of them are distributed."""
    p_values = np.array([row[2] for row in rows])
    table = Table(title=f"The least of {len(rows)} p-values")
    for column in ("", "relative error or correlation", "p"):
        table.add_column(column)
    for name, value, p in sorted(rows, key=lambda row: row[2])[:10]:
        table.add_row(name, f"{value:+.2e}", f"{p:.5f}")
    console = Console(width=100)
    console.print(table)
    least = 1 - (1 - p_values.min()) ** len(rows)
    console.print(f"p of the least, for {len(rows)} independent tests: {least:.3f}")
    console.print(f"p of uniformity of all: {stats.kstest(p_values, 'uniform')[1]:.3f}")
    below = {limit: int((p_values < limit).sum()) for limit in (0.05, 0.01, 0.001)}
    console.print(f"below {below}; expected {len(rows)} times that")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--stream", choices=["counter", "far", "interleaved"])
    what.add_argument("--masks", action="store_true")
    parser.add_argument("--keys", choices=KEYS, default="split")
    parser.add_argument("--generator", choices=GENERATORS, default="light")
    parser.add_argument("--reversed", action="store_true", help="reverse each word")
    parser.add_argument("--seed", type=int, default=0, help="of the masks")
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", 8)  # for keys of shards
    convert = GENERATORS[options.generator]
    if options.masks:
        key = convert(jax.random.key(options.seed))
        print_tests([*tests_of_words(key), *tests_of_masks(key, convert)])
    else:
        made = convert(KEYS[options.keys](STREAMS))
        write_stream(blocks(options.stream, made, backwards=options.reversed))


if __name__ == "__main__":
    main()
