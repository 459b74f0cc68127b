"""Data- and tensor-parallel training with dropout: one process, several, or a cluster.

    python examples/distributed.py

trains one small network on scikit-learn's digits three times: on one device, on eight
devices of one process, and on eight devices of two processes, which this script starts
itself. The three runs learn the same parameters, because a mask is a function of its
key and not of where it is drawn: every device draws its own part of the one mask, and
nothing is exchanged for it. Without other devices, virtual ones of the CPU are used.

Training itself is the same on a real cluster. Where the launcher is known to JAX (TPU
pods, SLURM, Open MPI, Kubernetes), processes find each other:

    srun python examples/distributed.py --cluster

that is, with ``jax.distributed.initialize()``, without arguments. Anywhere else, start
one process after the other, and say which is which, by flags or by the environment
variables JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID:

    python examples/distributed.py --coordinator host:1234 --num-processes 2 \\
        --process-id 0

The address is that of process 0, with any free port.
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from data import load
from parallel import figures, network, records
from parallel.launching import LaunchError, free_port, launch


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    if args.quick:
        args.steps = 20
    try:
        if args.cluster or args.num_processes:
            join(args)
        else:
            compare(args)
    except (LaunchError, ValueError) as error:
        parser.exit(1, f"{error}\n")


def join(args: argparse.Namespace) -> None:
    """Trains as one process of one or more; every process runs this."""
    if args.devices:
        jax.config.update("jax_num_cpu_devices", args.devices)
    if args.cluster:
        jax.distributed.initialize()
    elif args.num_processes > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(
            args.coordinator,
            args.num_processes,
            args.process_id,
            initialization_timeout=args.timeout,
        )
    mesh = network.make_mesh(args.model_shards)
    images = load("digits")
    params, losses = network.train(mesh, images, seed=args.seed, steps=args.steps)
    error = network.error_of(mesh, params, images)
    masks = network.drawn_masks(mesh, seed=args.seed, step=args.steps - 1)
    whole = network.gathered(mesh, params)
    records.write(args.output, losses, error, whole, masks)
    if jax.process_index() == 0:
        name = f"{jax.process_count()} × {jax.local_device_count()} devices"
        Console().print(by_step({name: records.Run(losses, error, {}, {})}))


def compare(args: argparse.Namespace) -> None:
    """Starts all runs on this machine, one after the other, and compares them."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what was started
    shapes = {
        "1 process × 1 device": (1, 1, 1),
        "1 process × 8 devices": (1, 8, args.model_shards),
        "2 processes × 4 devices": (2, 4, args.model_shards),
    }
    runs = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, shape in tqdm(shapes.items(), desc="runs", disable=None):
            folder = Path(scratch, name)
            launch(
                commands(*shape, folder, args),
                timeout=args.timeout,
                env={"JAX_PLATFORMS": "cpu"},
            )
            runs[name] = records.read(folder)
    masks = network.drawn_masks(network.make_mesh(1), seed=args.seed, step=args.steps - 1)
    whole = {site: np.asarray(mask) for site, mask in masks.items()}
    console = Console()
    console.print(by_step(runs))
    console.print(by_run(runs, whole))
    *_, (name, run) = runs.items()
    console.print(by_device(name, run, whole))
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "distributed.png"
    figures.draw(whole["hidden"], runs, "hidden").savefig(path, dpi=150)
    console.print(f"Wrote {path}.")


def commands(
    processes: int, devices: int, shards: int, folder: Path, args: argparse.Namespace
) -> list[list[str]]:
    """The command of each process of a run on this machine."""
    options = {
        "coordinator": f"127.0.0.1:{free_port()}",
        "num-processes": processes,
        "devices": devices,
        "model-shards": shards,
        "steps": args.steps,
        "seed": args.seed,
        "timeout": args.timeout,
        "output": folder,
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", f"{value}")]
    script = str(Path(__file__).resolve())
    return [
        [sys.executable, script, *flags, "--process-id", str(rank)]
        for rank in range(processes)
    ]


def by_step(runs: dict[str, records.Run]) -> Table:
    """The losses of runs at some steps, and the error of what they have learned."""
    table = Table(title="Training loss")
    for heading in ("step", *runs):
        table.add_column(heading, justify="right")
    last = min(len(run.losses) for run in runs.values()) - 1
    for step in sorted({round(last * part / 5) for part in range(6)}):
        table.add_row(f"{step}", *(f"{run.losses[step]:.6f}" for run in runs.values()))
    table.add_section()
    table.add_row("test error", *(f"{run.error:.2%}" for run in runs.values()))
    return table


def by_run(runs: dict[str, records.Run], whole: dict[str, np.ndarray]) -> Table:
    """How far the parameters of runs are from those of the first."""
    caption = (
        "Sums over a batch are taken in another order by more devices: that, and no "
        "mask, is the difference."
    )
    table = Table(title="Against one device", caption=caption)
    table.add_column("")
    table.add_column("largest difference of a parameter", justify="right")
    table.add_column("masks", justify="right")
    first = next(iter(runs.values()))
    for name, run in runs.items():
        same = "equal" if records.agrees(run, whole) else "DIFFERENT"
        table.add_row(name, f"{records.difference(first, run):.1e}", same)
    return table


def by_device(name: str, run: records.Run, whole: dict[str, np.ndarray]) -> Table:
    """Which part of each mask a device drew, and how much it kept."""
    table = Table(title=f"What each device drew in the last step, in {name}")
    table.add_column("device", justify="right")
    table.add_column("process", justify="right")
    for site in run.parts:
        for heading in (f"of “{site}”", "kept", "equal"):
            table.add_column(heading, justify="right")
    for device, parts in enumerate(zip(*run.parts.values(), strict=True)):
        cells = []
        for site, part in zip(run.parts, parts, strict=True):
            (row, column), (rows, columns) = part.first, part.kept.shape
            same = np.array_equal(part.kept, part.within(whole[site]))
            cells.append(f"{row}:{row + rows}, {column}:{column + columns}")
            cells += [f"{part.kept.mean():.1%}", "yes" if same else "NO"]
        table.add_row(f"{device}", f"{parts[0].process}", *cells)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, environ = parser.add_argument, os.environ
    add("--steps", type=int, default=200)
    add("--seed", type=int, default=0)
    add("--model-shards", type=int, default=2, help="devices that share the units")
    add("--quick", action="store_true", help="20 steps, to see that all works")
    add("--output", type=Path, default=Path("results"), help="where files are written")
    add("--timeout", type=int, default=300, help="seconds that a run may take")
    one = parser.add_argument_group("one process of a run that somebody else starts")
    add = one.add_argument
    add("--cluster", action="store_true", help="JAX knows the launcher")
    add(
        "--coordinator",
        default=environ.get("JAX_COORDINATOR_ADDRESS"),
        help="host:port of process 0",
    )
    add("--num-processes", type=int, default=environ.get("JAX_NUM_PROCESSES"))
    add("--process-id", type=int, default=environ.get("JAX_PROCESS_ID", 0))
    add("--devices", type=int, help="virtual CPU devices of this process")
    return parser


if __name__ == "__main__":
    main()
