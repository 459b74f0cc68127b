r"""Data- and tensor-parallel training with dropout: one process, several, or a cluster.

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

    python examples/distributed.py --coordinator host:1234 \
        --num-processes 2 --process-id 0

The address is that of process 0, with any free port.

All three runs take about a minute. If a process of a run is ended, JAX ends the others:
a step fails as soon as the connection breaks, and a process of which nothing is heard
any more is given up after ``--heartbeat`` seconds. Every ``--save-every`` steps a run
writes a checkpoint into ``--output``, a folder that all its processes see. Started
again with the same options it continues from there, and ends with the same bits as
without the interruption: its batches and masks follow from seed and step.
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
from tqdm import tqdm

from data import load
from parallel import checkpoints, figures, network, records, tables
from parallel.launching import LaunchError, free_port, is_of_another_process, launch
from study.arguments import add_training, count, parser_of
from study.files import save


def main() -> None:
    args = parse()
    try:
        if args.cluster or args.num_processes:
            join(args)
        else:
            compare(args)
    except (
        LaunchError,
        checkpoints.CheckpointError,
        network.LayoutError,
        records.RecordError,
    ) as error:
        sys.exit(f"{error}")
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or not is_of_another_process(error):
            raise
        sys.exit(
            f"A step failed, probably since another process has ended ({error}). Start "
            "all processes again: they continue from the last checkpoint."
        )


def join(args: argparse.Namespace) -> None:
    """Trains as one process of one or more; every process runs this."""
    if args.devices:
        jax.config.update("jax_num_cpu_devices", args.devices)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if args.cluster:
        jax.distributed.initialize(heartbeat_timeout_seconds=args.heartbeat)
    elif args.num_processes > 1:
        jax.distributed.initialize(
            args.coordinator,
            args.num_processes,
            args.process_id,
            initialization_timeout=args.timeout,
            heartbeat_timeout_seconds=args.heartbeat,
        )
    mesh = network.make_mesh(args.model_shards)
    images = load("digits")
    saving = checkpoints.Saving(args.output / "checkpoint.npz", args.save_every)
    params, losses = network.train(
        mesh, images, seed=args.seed, steps=args.steps, saving=saving
    )
    error = network.error_of(mesh, params, images)
    masks = network.drawn_masks(mesh, seed=args.seed, step=args.steps - 1)
    whole = network.gathered(mesh, params)
    records.write(args.output, losses, error, whole, masks)
    checkpoints.remove(saving.path)
    if jax.process_index() == 0:
        name = f"{jax.process_count()} × {jax.local_device_count()} devices"
        Console().print(tables.by_step({name: records.Run(losses, error, {}, {})}))


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
            runs[name] = run_here(*shape, Path(scratch, name), args)
    alone = network.make_mesh(1)
    masks = network.drawn_masks(alone, seed=args.seed, step=args.steps - 1)
    whole = {site: np.asarray(mask) for site, mask in masks.items()}
    console = Console()
    console.print(tables.by_step(runs))
    console.print(tables.by_run(runs, whole))
    *_, (name, run) = runs.items()
    console.print(tables.by_device(name, run, whole))
    path = args.output / "distributed.png"
    save(figures.draw(whole["hidden"], runs, "hidden"), path)
    console.print(f"Wrote {path}.")


def run_here(
    processes: int, devices: int, shards: int, folder: Path, args: argparse.Namespace
) -> records.Run:
    """Starts a run on this machine, waits for it, and reads what it leaves."""
    address = f"127.0.0.1:{free_port()}"
    kept = ("steps", "seed", "timeout", "heartbeat", "save_every")
    of_run = {"num_processes": processes, "devices": devices, "model_shards": shards}
    options = {"coordinator": address, "output": folder} | of_run
    options |= {name: getattr(args, name) for name in kept}
    flags = [
        part
        for name, value in options.items()
        for part in (f"--{name.replace('_', '-')}", f"{value}")
    ]
    command = [sys.executable, str(Path(__file__).resolve()), *flags, "--process-id"]
    launch(
        [[*command, f"{rank}"] for rank in range(processes)],
        timeout=args.timeout,
        env={
            "JAX_PLATFORMS": "cpu",
            "JAX_COORDINATOR_BIND_ADDRESS": address,
            "JAX_DISABLE_MOST_OPTIMIZATIONS": f"{int(args.quick)}",
        },
    )
    return records.read(folder)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = parser_of(__doc__, compiles_much=True)
    add, environ = parser.add_argument, os.environ
    add("--steps", type=count, default=100)
    add_training(parser, "seed")
    add("--model-shards", type=count, default=2, help="devices that share the units")
    add("--timeout", type=count, default=600, help="seconds that a run may take")
    add("--heartbeat", type=count, default=30, help="seconds without a sign of life")
    add("--save-every", type=count, default=20, help="steps between checkpoints")
    one = parser.add_argument_group("one process of a run that somebody else starts")
    add = one.add_argument
    add("--cluster", action="store_true", help="JAX knows the launcher")
    add(
        "--coordinator",
        default=environ.get("JAX_COORDINATOR_ADDRESS"),
        help="host:port of process 0",
    )
    add("--num-processes", type=count, default=environ.get("JAX_NUM_PROCESSES"))
    add("--process-id", type=int, default=environ.get("JAX_PROCESS_ID", 0))
    add("--devices", type=count, help="virtual CPU devices of this process")
    args = parser.parse_args(argv)
    if args.quick:
        args.steps = 20
    if (args.num_processes or 1) > 1 and not args.coordinator:
        parser.error("--num-processes needs --coordinator: the address of process 0")
    return args


if __name__ == "__main__":
    main()
