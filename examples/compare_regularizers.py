"""Compares ten ways to regularize a network, with and without Monte-Carlo dropout.

    python examples/compare_regularizers.py
    python examples/compare_regularizers.py --dataset mnist --train-size 5000

The same multilayer perceptron learns the same images with each method, from several
seeds at once. The table shows the test error with its standard error over seeds, the
negative log-likelihood and the expected calibration error, by one pass without noise
and by the mean of many passes with noise. Each method has a usual strength, adjusted on
the validation images of digits.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import jax
from rich.console import Console
from tqdm import tqdm

from comparison import figures, report, sweep
from comparison.evaluation import evaluate
from comparison.methods import METHODS, Method
from comparison.training import Recipe, seen_by, train
from data import DataError, Images, load

RECIPES = {
    "digits": Recipe(
        hidden=(512, 512),
        rates=(0.1, 0.3),
        standardize=True,
        epochs=100,
        batch_size=50,
        learning_rate=3e-3,
    ),
    "mnist": Recipe(
        hidden=(800, 800),
        rates=(0.2, 0.5),
        standardize=False,
        epochs=100,
        batch_size=100,
        learning_rate=1e-3,
    ),
}
RECIPES["notmnist"] = RECIPES["mnist"]


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    try:
        images = load(args.dataset, args.data_dir, train_size=args.train_size)
    except DataError as error:
        parser.exit(2, f"{error}\n")
    recipe = RECIPES[args.dataset]
    if args.quick:
        recipe = replace(recipe, hidden=(64, 64), epochs=5)
    if args.epochs:
        recipe = replace(recipe, epochs=args.epochs)
    num_seeds = args.seeds or (2 if args.quick else 5)
    num_samples = 5 if args.quick else 50

    print(f"Running on {jax.default_backend()}: {jax.devices()}")
    methods = [method for method in METHODS if method.key in args.methods]
    title = (
        f"{args.dataset}: {len(images.train.y)} training images, {recipe.epochs} epochs"
    )
    outcomes = compare(methods, recipe, images, num_seeds, num_samples)
    Console().print(report.table(outcomes, title=title, num_samples=num_samples))

    args.output.mkdir(parents=True, exist_ok=True)
    report.write_csv(args.output / "results.csv", outcomes)
    curves = figures.learning_curves(outcomes, title=title)
    curves.savefig(args.output / "learning_curves.png", dpi=150)
    diagrams = figures.reliability_diagrams(outcomes, title=title)
    diagrams.savefig(args.output / "reliability_diagrams.png", dpi=150)
    print(f"Wrote results.csv and two figures to {args.output}.")


def compare(
    methods: list[Method],
    recipe: Recipe,
    images: Images,
    num_seeds: int,
    num_samples: int,
) -> list[report.Outcome]:
    """Trains and judges every method, from the same seeds."""
    seeds = jax.random.split(jax.random.key(0), num_seeds)
    test_keys = jax.random.split(jax.random.key(1), num_seeds)
    outcomes = []
    with tqdm(total=len(methods) * recipe.epochs, unit="epoch") as bar:
        for method in methods:
            bar.set_description(method.name)
            seen = seen_by(method, recipe, images)
            training = train(method, recipe, seen, seeds, bar.update)
            states, curves = sweep.at(training[:2], 0)  # of the one strength
            scores = {report.WEIGHT_SCALING: evaluate(test_keys, states, seen.test)}
            if method.is_random:
                bar.set_description(f"{method.name}, {num_samples} samples")
                scores[report.MC_DROPOUT] = evaluate(
                    test_keys, states, seen.test, num_samples=num_samples
                )
            outcomes.append(report.Outcome(method, curves, scores, training.seconds))
    return outcomes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [method.key for method in METHODS]
    add = parser.add_argument
    add("--dataset", choices=RECIPES, default="digits")
    add("--data-dir", type=Path, help="the folder of mnist and notmnist")
    add("--train-size", type=int, help="use only so many training images")
    add("--epochs", type=_count, help="in place of the recipe's number")
    add("--seeds", type=_count, help="how many networks each method trains")
    add(
        "--methods",
        nargs="+",
        choices=names,
        default=names,
        metavar="METHOD",
        help=", ".join(names),
    )
    add("--quick", action="store_true", help="a short run, to see that all works")
    add("--output", type=Path, default=Path("results"), help="where files are written")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


if __name__ == "__main__":
    main()
