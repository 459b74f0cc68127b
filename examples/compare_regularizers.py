"""Compares ten ways to regularize a network, with and without Monte-Carlo dropout.

    python examples/compare_regularizers.py
    python examples/compare_regularizers.py --dataset mnist --train-size 5000

The same multilayer perceptron learns the same images with each method, from several
seeds at once. The table shows the test error with its standard error over seeds, the
negative log-likelihood and the expected calibration error, by one pass without noise
and by the mean of many passes with noise. Each method has a usual strength, adjusted on
the validation images of digits.

    python examples/compare_regularizers.py --study strengths
    python examples/compare_regularizers.py --study rate
    python examples/compare_regularizers.py --study size
    python examples/compare_regularizers.py --study table9 --dataset mnist

A study sweeps strengths instead, all of a method and all seeds in one program. It
writes tables, figures, CSV and JSON to a folder of its own. ``strengths``: all methods,
each at the strength that validation images choose. ``rate``: dropout at ten rates.
``size``: dropout and none on more and more images. ``table9``: what of the table of
that number in Srivastava et al. (2014) can be trained in minutes. On two busy CPU cores
and digits ``rate`` has taken 73 s, ``size`` 290 s and ``strengths`` 296 s; on MNIST
``rate`` has taken 8 minutes, ``size`` 9 and ``table9`` 30. Each study prints its time.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import jax
from rich.console import Console

from comparison import conduct, figures, gains, report
from comparison.method import Method
from comparison.methods import ALL_METHODS, METHODS
from comparison.studies import Budget, at_usual_strengths
from comparison.training import Recipe
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
    if args.study:
        conduct_study(args, parser)
    else:
        compare_usual_strengths(args, parser)


def conduct_study(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """``--study``: strengths are swept."""
    setting = conduct.SETTINGS.get((args.study, args.dataset))
    if setting is None:
        parser.error(f"--study {args.study} takes {' or '.join(conduct.DATASETS)}.")
    if args.quick:
        setting = conduct.quick(setting)
    if args.epochs:
        setting = replace(setting, recipe=replace(setting.recipe, epochs=args.epochs))
    if args.seeds:
        setting = replace(setting, num_seeds=args.seeds)
    images = _load(args, parser, args.train_size or setting.train_size)
    print(f"Running on {jax.default_backend()}: {jax.devices()}")
    conduct.conduct(
        args.study,
        setting,
        images,
        args.output / f"{args.study}-{args.dataset}",
        title=f"{args.study}, {_describe(args, images, setting.recipe)}",
        methods=_chosen(args),
        num_samples=5 if args.quick else 50,
    )


def compare_usual_strengths(
    args: argparse.Namespace, parser: argparse.ArgumentParser
) -> None:
    """The default: every method at its usual strength."""
    images = _load(args, parser, args.train_size)
    recipe = RECIPES[args.dataset]
    if args.quick:
        recipe = replace(recipe, hidden=(64, 64), epochs=5)
    if args.epochs:
        recipe = replace(recipe, epochs=args.epochs)
    budget = Budget(
        num_seeds=args.seeds or (2 if args.quick else 5),
        num_samples=5 if args.quick else 50,
    )

    print(f"Running on {jax.default_backend()}: {jax.devices()}")
    title = _describe(args, images, recipe)
    outcomes = at_usual_strengths(_chosen(args), recipe, images, budget)
    table = report.table(outcomes, title=title, num_samples=budget.num_samples)
    Console().print(table)

    args.output.mkdir(parents=True, exist_ok=True)
    report.write_csv(args.output / "results.csv", outcomes)
    curves = figures.learning_curves(outcomes, title=title)
    curves.savefig(args.output / "learning_curves.png", dpi=150)
    diagrams = figures.reliability_diagrams(outcomes, title=title)
    diagrams.savefig(args.output / "reliability_diagrams.png", dpi=150)
    found = gains.gains(outcomes)
    gains.write_json(args.output / "gains.json", found, title=title)
    gains.figure(found, title=title).savefig(args.output / "gains.png", dpi=150)
    print(f"Wrote results.csv, gains.json and three figures to {args.output}.")


def _load(
    args: argparse.Namespace, parser: argparse.ArgumentParser, train_size: int | None
) -> Images:
    try:
        return load(args.dataset, args.data_dir, train_size=train_size)
    except DataError as error:
        parser.exit(2, f"{error}\n")


def _describe(args: argparse.Namespace, images: Images, recipe: Recipe) -> str:
    size = len(images.train.y)
    return f"{args.dataset}: {size} training images, {recipe.epochs} epochs"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [method.key for method in ALL_METHODS]
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
        metavar="METHOD",
        help=f"{', '.join(names)}; by default the first ten, in a study all",
    )
    add("--study", choices=conduct.STUDIES, help="sweep strengths, see above")
    add("--quick", action="store_true", help="a short run, to see that all works")
    add("--output", type=Path, default=Path("results"), help="where files are written")
    return parser


def _chosen(args: argparse.Namespace) -> list[Method]:
    """The methods that are named; by default the ten, or all that a study has."""
    usual = ALL_METHODS if args.study else METHODS
    keys = args.methods or [method.key for method in usual]
    return [method for method in ALL_METHODS if method.key in keys]


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


if __name__ == "__main__":
    main()
