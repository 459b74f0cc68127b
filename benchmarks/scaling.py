"""How dropout scales: with the number of elements, and with the number of devices.

    python benchmarks/scaling.py            # up to 2**28 elements, as memory allows
    python benchmarks/scaling.py --quick    # small arrays, to see that it runs

Forward and backward together, float32, rate 0.5, ours beside Flax's; ``x * c`` is the
floor. Time and temporary memory are given by element, so that what scales is flat: a
technique that held a whole array of bits would show it here. Without other devices, the
CPU is split into eight: they share its cores, so that no time is gained by them, but
the memory and the work of each are what a device would have.
"""

import argparse
import dataclasses
import math
import os
import pathlib
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from files import replacing
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import jaxdrop
from timing import (
    Timing,
    describe_machine,
    interleaved,
    keep_freed_memory,
    write_json,
)

RATE, COLUMNS = 0.5, 128
FLAT = 0.1  # an exponent of growth that is called none
OVERHEAD = 2**16  # elements below which a call costs more than its data
ARRAYS = 8  # as many as the largest contender may hold at once, with a margin
FLOOR = "x * c"
COLORS = {"jaxdrop": "#D55E00", "flax.nnx": "#0072B2", FLOOR: "0.6"}

Drop = Callable[[jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one call costs.

    Attributes:
      time: seconds.
      temporary: bytes on each device, beside inputs and outputs.
      work: operations on each device, as XLA counts them: those of a loop once.
      elements: of the array.
      devices: over which the array is spread.
    """

    time: Timing
    temporary: int
    work: float
    elements: int
    devices: int

    @property
    def nanoseconds(self) -> float:
        """By element."""
        return self.time.median * 1e9 / self.elements

    @property
    def bytes(self) -> float:
        """Of temporary memory, by element that a device has."""
        return self.temporary * self.devices / self.elements

    @property
    def operations(self) -> float:
        """By element that a device has."""
        return self.work * self.devices / self.elements


Costs = dict[int, dict[str, Cost]]


def contenders() -> dict[str, Drop]:
    """``(key, x) -> y``, ours first."""
    flax_nnx = nnx.Dropout(RATE)
    return {
        "jaxdrop": lambda key, x: jaxdrop.dropout(key, x, rate=RATE),
        "flax.nnx": lambda key, x: flax_nnx(x, rngs=key),
        FLOOR: lambda key, x: x * jnp.asarray(1 / (1 - RATE), x.dtype),
    }


def both_passes(drop: Drop) -> Callable[..., tuple[jax.Array, ...]]:
    """The output, and the gradient for a cotangent."""

    def run(key: jax.Array, x: jax.Array, ct: jax.Array) -> tuple[jax.Array, ...]:
        y, pull = jax.vjp(lambda x: drop(key, x), x)
        return y, *pull(ct)

    return jax.jit(run)


def data(elements: int, devices: int) -> tuple[jax.Array, jax.Array]:
    """An array and a cotangent, their rows spread over devices."""
    mesh = jax.make_mesh(
        (devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices]
    )

    def make() -> tuple[jax.Array, jax.Array]:
        angles = jnp.arange(elements, dtype=jnp.float32).reshape(-1, COLUMNS)
        return jnp.cos(angles), jnp.sin(angles)

    return jax.jit(make, out_shardings=NamedSharding(mesh, PartitionSpec("data")))()


def measure(elements: int, devices: int, rounds: int) -> dict[str, Cost]:
    """Costs by contender, for one array."""
    args = jax.random.key(0), *data(elements, devices)
    programs = {
        name: both_passes(drop).lower(*args).compile()
        for name, drop in contenders().items()
    }
    runs = {
        name: lambda program=program: program(*args)
        for name, program in programs.items()
    }
    label = f"2**{math.log2(elements):.0f} elements, devices: {devices}"
    timings = interleaved(runs, rounds=rounds, label=label)
    return {
        name: Cost(
            timings[name],
            program.memory_analysis().temp_size_in_bytes,
            program.cost_analysis()["flops"],
            elements,
            devices,
        )
        for name, program in programs.items()
    }


def largest_exponent() -> int:
    """Of two: the elements that fit into the memory that is there, at most 2**28."""
    stats = jax.devices()[0].memory_stats()
    if stats:
        free = stats["bytes_limit"] - stats["bytes_in_use"]
    elif hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:
        free = 2**32
    return min(28, int(math.log2(free / (4 * ARRAYS))))


def exponent_of_growth(costs: Costs, name: str, value: str) -> float:
    """The slope, in logarithms, of what an element costs: 0 is flat.

    Args:
      costs: by number.
      name: the contender.
      value: ``"nanoseconds"``, ``"bytes"`` or ``"operations"``.

    Returns:
      The exponent k of a least-squares fit ``number**k``.
    """
    numbers = np.array(sorted(costs), np.float64)
    values = np.array([getattr(costs[int(n)][name], value) for n in numbers])
    if not values.any():
        return 0.0
    return float(np.polyfit(np.log(numbers), np.log(np.maximum(values, 1e-3)), 1)[0])


def verdict(costs: Costs, name: str, value: str) -> str:
    """Whether what an element costs is flat, in words."""
    if len(costs) < 2:
        return "one measurement says nothing"
    slope = exponent_of_growth(costs, name, value)
    low, high = (
        pick(getattr(cost[name], value) for cost in costs.values())
        for pick in (min, max)
    )
    if slope > FLAT:
        found = f"grows as the power {slope:.2f}"
    else:
        found = "flat" if high <= 2 * low else "no trend"
        found = found if slope > -FLAT else f"falls as the power {-slope:.2f}"
    return f"{found}, from {low:.3g} to {high:.3g}"


def table(title: str, heading: str, costs: Costs) -> Table:
    """What an element costs, by number and contender."""
    names = list(next(iter(costs.values())))
    printed = Table(title=title, caption="ns / temporary bytes / operations an element")
    printed.add_column(heading, justify="right")
    for name in names:
        printed.add_column(name, justify="right")
    for number, row in costs.items():
        shown = f"2**{math.log2(number):.0f}" if number > 64 else f"{number}"
        printed.add_row(
            shown,
            *(
                f"{cost.nanoseconds:.2f} / {cost.bytes:.2f} / {cost.operations:.0f}"
                for cost in row.values()
            ),
        )
    return printed


def figure(by_size: Costs, by_devices: Costs) -> Figure:
    """Time and memory by element, against the number of elements and of devices."""
    drawn = Figure(figsize=(9, 6.5), layout="constrained")
    panels = drawn.subplots(2, 2)
    for row, costs, heading in (
        (panels[0], by_size, "elements"),
        (panels[1], by_devices, "devices"),
    ):
        _panel(row[0], costs, "nanoseconds", heading, "ns an element")
        _panel(row[1], costs, "bytes", heading, "temporary bytes an element")
        row[0].set_yscale("log")
        row[1].set_ylim(-0.4, 10)
    fixed = next(iter(next(iter(by_devices.values())).values())).elements
    for axes in panels[0]:
        axes.set_title("one device")
        axes.set_xticks(
            list(by_size), [f"$2^{{{math.log2(size):.0f}}}$" for size in by_size]
        )
    for axes in panels[1]:
        axes.set_title(f"$2^{{{math.log2(fixed):.0f}}}$ elements")
        axes.set_xticks(list(by_devices), [str(count) for count in by_devices])
    panels[0, 0].legend(fontsize=8)
    return drawn


def _panel(axes: Axes, costs: Costs, value: str, heading: str, label: str) -> None:
    numbers = sorted(costs)
    for name in next(iter(costs.values())):
        values = [getattr(costs[number][name], value) for number in numbers]
        axes.plot(numbers, values, "o-", ms=4, color=COLORS[name], label=name)
    axes.set_xscale("log", base=2)
    axes.set(xlabel=heading, ylabel=label)
    axes.minorticks_off()
    axes.grid(alpha=0.3)


def rounds_for(elements: int, most: int) -> int:
    """Fewer for what takes longer, and never less than three."""
    return max(3, min(most, most * 2**20 // elements))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small arrays, few rounds")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument(
        "--max-exponent",
        type=int,
        choices=range(10, 31),
        metavar="10..30",
        help="of two: of elements; by default what fits into memory, at most 28",
    )
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("results/scaling.json")
    )
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", 8)
    keep_freed_memory()
    print(describe_machine())
    largest = options.max_exponent or (16 if options.quick else largest_exponent())
    most = 3 if options.quick else options.rounds
    sizes = [2**e for e in range(10, largest + 1, 2)]
    counts = [count for count in (1, 2, 4, 8) if count <= jax.device_count()]
    fixed = min(2**22, sizes[-1])
    by_size = {n: measure(n, 1, rounds_for(n, most)) for n in sizes}
    by_devices = {d: measure(fixed, d, rounds_for(fixed, most)) for d in counts}
    console = Console(width=100)
    console.print(table("One device", "elements", by_size))
    console.print(table(f"{fixed} elements", "devices", by_devices))
    report(console, by_size, by_devices)
    results: Mapping[str, Costs] = {"by_size": by_size, "by_devices": by_devices}
    write_json(options.output, results)
    picture = options.output.with_suffix(".png")
    with replacing(picture) as partial:
        figure(by_size, by_devices).savefig(partial, dpi=150)
    print(f"wrote {picture}")


def report(console: Console, by_size: Costs, by_devices: Costs) -> None:
    """Says whether time, memory and work of an element are flat."""
    large = {n: row for n, row in by_size.items() if n >= OVERHEAD} or by_size
    for name in next(iter(by_size.values())):
        console.print(f"\n{name}, an element's")
        for value in ("nanoseconds", "bytes"):
            said = verdict(large, name, value)
            console.print(f"  {value} from {min(large)} elements on: {said}")
        for value in ("bytes", "operations"):
            console.print(f"  {value} by devices: {verdict(by_devices, name, value)}")
    last = by_size[max(by_size)]
    times = {
        name: cost.nanoseconds / last[FLOOR].nanoseconds for name, cost in last.items()
    }
    said = ", ".join(f"{name} {ratio:.1f}" for name, ratio in times.items())
    console.print(f"\nTimes {FLOOR} at {max(by_size)} elements: {said}")


if __name__ == "__main__":
    main()
