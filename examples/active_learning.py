"""Asks for the labels that tell a network the most: random, entropy, BALD, BatchBALD.

    python examples/active_learning.py
    python examples/active_learning.py --dataset mnist --data-dir ~/data

A network starts with two labels of each class and asks for more, ten at a time, by what
functions drawn from it with Monte-Carlo dropout say of the images that have none. All
strategies have the same first labels, weights, recipe and number of samples. The table
says how many labels each needs to be as good as the network whose labels were drawn at
random is in the end; the figures show accuracies by labels, and what was asked for
first. The recipe was chosen with random labels on validation images, as with ``--judge
validation --strategies random``. Digits have taken five minutes of CPU.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from rich.console import Console
from tqdm import tqdm

from data import DataError, Images, Split, load
from jaxdrop import acquisition
from labelling import figures, summary
from labelling.learner import PoolRecipe
from labelling.rounds import Protocol, Run, Strategy, run
from study.arguments import add_data, add_names, add_training, count, parser_of
from study.files import save, write_csv, write_results

RECIPES = {
    "digits": PoolRecipe(
        hidden=(256, 256), rates=(0.1, 0.3), learning_rate=3e-3, num_steps=300
    ),
    "mnist": PoolRecipe(
        hidden=(512, 512), rates=(0.2, 0.5), learning_rate=1e-3, num_steps=600
    ),
}
QUICK = PoolRecipe(hidden=(64, 64), rates=(0.1, 0.3), learning_rate=3e-3, num_steps=150)
REFERENCE = "random"


def random(key: Array, logits: Array, number: int) -> Array:
    """The first ones: candidates are in random order."""
    del key, logits  # which are then not computed
    return jnp.arange(number)


def highest(score: Callable[[Array], Array]) -> Strategy:
    """The candidates of the highest scores, each judged by itself."""
    return lambda key, logits, number: lax.top_k(score(logits), number)[1]


def batch_bald(key: Array, logits: Array, number: int) -> Array:
    """The candidates that together tell the most; logits must be of shared draws."""
    return acquisition.batch_bald(key, logits, num_points=number).indices


STRATEGIES: dict[str, Strategy] = {
    "random": random,
    "max entropy": highest(acquisition.max_entropy),
    "BALD": highest(acquisition.bald),
    "BatchBALD": batch_bald,
}


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    try:
        images = load(args.dataset, args.data_dir)
        protocol = _protocol(args, images)
    except DataError as error:
        parser.exit(2, f"{error}\n")
    num_seeds = args.seeds or (2 if args.quick else 10)

    console = Console()
    console.print(f"Running on {jax.default_backend()}: {jax.devices()}")
    names = [name for name in STRATEGIES if name in {REFERENCE, *args.strategies}]
    pool, judged = split(images.standardized(), args.judge)
    runs = compare(names, protocol, pool, judged, range(num_seeds))
    title = f"{args.dataset}: {len(pool.y)} images in the pool"
    console.print(summary.table(protocol.counts, runs, REFERENCE, title=title))
    console.print(summary.headline(protocol.counts, runs, REFERENCE))
    console.print(summary.verdict(runs, REFERENCE))

    write(args.output / "active_learning.csv", protocol, runs)
    about = {"title": title, "judged_images": len(judged.y)}
    record = about | summary.record(protocol, runs, REFERENCE)
    write_results(args.output / "active_learning.json", record)
    figure = figures.label_efficiency(protocol.counts, runs, REFERENCE, title=title)
    save(figure, args.output / "label_efficiency.png")
    first = int(protocol.counts[0])
    figure = figures.first_asked(
        runs,
        split(images, args.judge)[0],
        images.shape,
        first=first,
        number=min(10, protocol.step),
        title=f"{args.dataset}: asked for first, after {first} labels",
    )
    save(figure, args.output / "first_asked.png")
    console.print(f"Wrote active_learning.csv, .json and two figures to {args.output}.")


def split(images: Images, judge: str) -> tuple[Split, Split]:
    """The pool, and what judges: validation images are in one of the two."""
    if judge == "validation":
        return images.train, images.validation
    both = zip(images.train, images.validation, strict=True)
    return Split(*map(np.concatenate, both)), images.test


def compare(
    names: list[str], protocol: Protocol, pool: Split, judged: Split, seeds: range
) -> dict[str, list[Run]]:
    """The runs of each strategy, one for each seed."""
    pool, judged = jax.device_put((pool, judged))
    runs: dict[str, list[Run]] = {name: [] for name in names}
    rounds = len(names) * len(seeds) * len(protocol.counts)
    with tqdm(total=rounds, unit="round") as bar:
        for name in names:
            bar.set_description(name)
            for seed in seeds:
                runs[name].append(
                    run(
                        STRATEGIES[name],
                        protocol,
                        pool,
                        judged,
                        seed=seed,
                        after_round=bar.update,
                    )
                )
    return runs


def write(path: Path, protocol: Protocol, runs: dict[str, list[Run]]) -> None:
    """Writes one row for each strategy, seed and round."""
    rows = [
        (name, seed, number, accuracy)
        for name, of_strategy in runs.items()
        for seed, one in enumerate(of_strategy)
        for number, accuracy in zip(protocol.counts, one.accuracy, strict=True)
    ]
    write_csv(path, ("strategy", "seed", "labels", "accuracy"), rows)


def _protocol(args: argparse.Namespace, images: Images) -> Protocol:
    budget = args.budget or (60 if args.quick else 200)
    most = len(images.train.y) - args.step  # a strategy has as many to choose from
    if not 20 + args.step <= budget <= most:
        raise DataError(
            f"the budget must be from {20 + args.step} labels, a start of 20 and one "
            f"round, to {most}, got {budget}."
        )
    return Protocol(
        recipe=QUICK if args.quick else RECIPES[args.dataset],
        initial=2,
        step=args.step,
        budget=budget,
        num_samples=20 if args.quick else 100,
    )


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__, compiles_much=True)
    add = parser.add_argument
    add_data(parser, list(RECIPES), holds="mnist")
    add_training(parser, "seeds")
    add("--step", type=count, default=10, help="how many labels a round asks for")
    add("--budget", type=count, help="how many labels there are in the end")
    always = f"; {REFERENCE} is always there"
    names = list(STRATEGIES)
    add_names(parser, "--strategies", names, default=names, note=always)
    add(
        "--judge",
        choices=["test", "validation"],
        default="test",
        help="test: validation images are in the pool; validation: to try things out",
    )
    return parser


if __name__ == "__main__":
    main()
