"""How long a TPU's flash attention kernels are, as their compiler schedules them.

    python benchmarks/kernels.py --target v6e                # or v4, v5e, v5p
    python benchmarks/kernels.py --target v5e --features 64 --causal
    python benchmarks/kernels.py --target v5e --json kernels_v5e.json

XLA's estimates leave out kernels of Pallas. The compiler of such a kernel, however, can
write down its schedule: a sequence of bundles, each with what the units of a core start
in one cycle. This script counts the bundles that a kernel executes for each tile of
weights, with the mask of either generator and without one: the same kernels, in which
every weight survives and nothing is hashed. Nothing runs. Waiting for memory is not in
a schedule.

The last column is what all tiles of 16 heads with 4096 queries and keys take, those
that kernels skip with --causal as well. A second table has the bundles of XLA's own
kernel for dropout, forward, and for ``x * c``, for a register of 1024 entries.
"""

import argparse
import contextlib
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # nothing runs

import files
import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

import compiler
import jaxdrop
from compiled import described
from jaxdrop._attention import _flash_tile
from jaxdrop.prng import light

LENGTH, TILE, HEADS = 4096, 512, 16
TILES = HEADS * (LENGTH // TILE) ** 2
FORWARD, BACKWARD = "forward", "backward"
CONTENDERS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "no dropout": light,  # and every weight survives
    "light": light,
    "jaxdrop": lambda key: key,
}

ELEMENTWISE: dict[str, Callable[[jax.Array], jax.Array]] = {
    "x * c": lambda x: x * jnp.bfloat16(2),
    "light": lambda x: jaxdrop.dropout(light(jax.random.key(0)), x, rate=0.1),
    "jaxdrop": lambda x: jaxdrop.dropout(jax.random.key(0), x, rate=0.1),
}

_BUNDLE = re.compile(r"\s*(?:0x[0-9a-f]+|0)\s+(?:[A-Z]{2})?\s*:\s*(>?)[> ]*\{(.*)")


def longest_run(schedule: str) -> list[str]:
    """The bundles of a kernel's longest part in a loop without a branch.

    This is what the kernel executes for each tile; what only the first or last tile of
    a row executes stands behind a branch.
    """
    runs: list[list[str]] = [[]]
    for line in schedule.splitlines():
        bundle = _BUNDLE.match(line)
        if bundle and bundle[1]:
            runs[-1].append(bundle[2])
            if "sbr.rel" in bundle[2]:
                runs.append([])
    return max(runs, key=len)


@contextlib.contextmanager
def schedules() -> Iterator[pathlib.Path]:
    """A folder to which libtpu writes the schedules of what is compiled.

    libtpu reads its flags once, when a device is first asked for.
    """
    with tempfile.TemporaryDirectory() as folder:
        flags = f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true"
        os.environ["LIBTPU_INIT_ARGS"] = flags
        yield pathlib.Path(folder)


def kernels_in(folder: pathlib.Path, name: str) -> list[list[str]]:
    """The bundles of each kernel of this name in a folder, which is emptied."""
    found = []
    for path in sorted(folder.iterdir()):
        kernel = name in path.name and "schedule" not in path.name
        if kernel and path.name.endswith("final_bundles.txt"):
            found.append(longest_run(path.read_text()))
        path.unlink()
    return found


def bundles(
    folder: pathlib.Path, device: Any, contender: str, *, features: int, causal: bool
) -> dict[str, int]:
    """The bundles for a tile in the forward and in the backward kernel."""
    x = jax.ShapeDtypeStruct((1, 2 * TILE, 1, features), jnp.bfloat16)
    key = CONTENDERS[contender](jax.random.key(0))

    def attend(query: jax.Array, keys: jax.Array, value: jax.Array) -> jax.Array:
        return jaxdrop.dot_product_attention(
            key, query, keys, value, rate=0.1, is_causal=causal
        )

    def both(*arrays: jax.Array) -> tuple[Any, ...]:
        output, pull = jax.vjp(attend, *arrays)
        return output, pull(output)

    unmasked = contender == "no dropout"
    everything = mock.patch.object(_flash_tile, "survives", all_survive)
    with everything if unmasked else contextlib.nullcontext():
        compiler.compile_for(device, both, (x, x, x))
    found = kernels_in(folder, "dot_product_attention")
    if len(found) != 2:
        sys.exit(
            f"Heads of {features} features compile to {len(found)} kernels of "
            "attention instead of two: kernels take up to 256 features."
        )
    return dict(zip((FORWARD, BACKWARD), map(len, found), strict=True))


def of_register(folder: pathlib.Path, device: Any, name: str) -> float:
    """The bundles that XLA's kernel takes for a register of 1024 entries.

    Each entry is multiplied once, so that products count registers.
    """
    x = jax.ShapeDtypeStruct((8192, 8192), jnp.bfloat16)
    compiler.compile_for(device, ELEMENTWISE[name], (x,))
    kernel = max(kernels_in(folder, "fusion"), key=len)
    return len(kernel) / sum(bundle.count("vmul.f32") for bundle in kernel)


def all_survive(kernel: Any, scalars: Any, at: _flash_tile.Places) -> jax.Array:
    """Instead of :func:`_flash_tile.survives`: no mask."""
    del kernel, scalars
    shape = jnp.broadcast_shapes(at.query.shape, at.key.shape)
    return jnp.full(shape, True)


def table(title: str, found: dict[str, dict[str, int]]) -> Table:
    """Bundles a tile, in multiples of those without dropout, and of all tiles."""
    shown = Table(title=title)
    shown.add_column()
    for passing in (FORWARD, BACKWARD, "both", "x without", "Mcycles of all tiles"):
        shown.add_column(passing, justify="right")
    plain = sum(found["no dropout"].values())
    for contender, kernels in found.items():
        both = sum(kernels.values())
        cells = [*kernels.values(), both, f"{both / plain:.2f}"]
        cells.append(f"{both * TILES / 1e6:.2f}")
        shown.add_row(contender, *map(str, cells))
    return shown


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The options."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--target", choices=tuple(compiler.TPUS), required=True)
    parser.add_argument("--features", type=int, default=128, help="of a head")
    parser.add_argument("--causal", action="store_true", help="with a causal mask")
    parser.add_argument("--json", type=pathlib.Path, help="a file for the figures")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parsed(arguments)
    with schedules() as folder:
        try:
            device = compiler.target(options.target)
        except compiler.Unavailable as error:
            sys.exit(str(error))
        about = described("kernels.py", options.target, device, arguments)
        print(", ".join(f"{name}: {value}" for name, value in about.items()))
        found, registers = {}, {}
        with tqdm(total=len(CONTENDERS) + len(ELEMENTWISE), unit="program") as bar:
            for contender in CONTENDERS:
                found[contender] = bundles(
                    folder,
                    device,
                    contender,
                    features=options.features,
                    causal=options.causal,
                )
                bar.update()
            for name in ELEMENTWISE:
                registers[name] = round(of_register(folder, device, name), 2)
                bar.update()
    title = f"Bundles for a tile of {TILE} x {TILE} weights, {options.target}"
    Console(width=120).print(table(title, found))
    shown = Table("", "bundles", title="Dropout, forward, for 1024 entries")
    for name, count in registers.items():
        shown.add_row(name, str(count))
    Console(width=120).print(shown)
    if options.json:
        results = {"tiles": TILES, "bundles": found, "registers": registers}
        files.write_json(options.json, {**about, **results})
        print(f"wrote {options.json}")


if __name__ == "__main__":
    main()
