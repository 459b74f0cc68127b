"""Compares nine ways to regularize a network with none: which helps, and how sure?

    python examples/compare_regularizers.py
    python examples/compare_regularizers.py --dataset mnist --train-size 5000

The same multilayer perceptron learns the same images with each method, from several
seeds at once, at the strength that validation images choose on a small grid. The first
table is sorted by what each method gains over none in test error, with intervals that
cover the choice of seeds and of test images, and verdicts that are corrected for the
number of methods; the second shows likelihood and calibration, the third what
predictions know of their errors and of images that belong to no class, by one pass
without noise, by Monte-Carlo dropout and by deep ensembles. One or two sentences say
what follows. All numbers are in gains.json, the picture of them in gains.png.

On digits this takes about three minutes on two CPU cores, without a search (--strengths
usual) half as long, and with --quick, which compares two methods, 30 s.

    python examples/compare_regularizers.py --study strengths
    python examples/compare_regularizers.py --study rate
    python examples/compare_regularizers.py --study size
    python examples/compare_regularizers.py --study ensemble
    python examples/compare_regularizers.py --study table9 --dataset mnist

A study sweeps strengths instead, all of a method and all seeds in one program. It
writes tables, figures, CSV and JSON to a folder of its own. ``strengths``: all methods,
each at the strength that validation images choose. ``rate``: dropout at ten rates.
``size``: dropout and none on more and more images, each trained until validation images
say that it is enough, at the rate that they choose. ``ensemble``: Monte-Carlo dropout
and an ensemble of five networks, at the same compute. ``table9``: what of the table of
that number in Srivastava et al. (2014) can be trained in minutes. On two busy CPU cores
and digits ``rate`` has taken 73 s and ``strengths`` 296 s; ``ensemble`` and ``size``
take about 3 minutes; on MNIST ``rate`` has taken 8 minutes and ``table9`` 30, and
``size`` takes about 15. Each study prints its time.
Only ``strengths`` takes ``--methods``.
"""

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from comparison import (
    conduct,
    default,
    figures,
    panel,
    report,
    search,
    verdict_report,
    verdicts,
)
from comparison.method import Method
from comparison.methods import ALL_METHODS, METHODS
from comparison.panel import Row
from comparison.report import Outcome
from comparison.studies import Budget
from comparison.training import Recipe
from comparison.verdicts import Verdicts
from data import DataError, Images, load

RECIPES = {
    "digits": Recipe(
        hidden=(128, 128),
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
SEEDS = {"digits": 15, "mnist": 5, "notmnist": 5}
QUICK = ("none", "dropout")
STRANGE = {
    "shuffled": "test images with shuffled pixels",
    "rotated": "test images turned by 90 degrees",
    "letters": "letters of notmnist",
}


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    if args.study:
        conduct_study(args, parser)
    else:
        compare(args, parser)


def conduct_study(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """``--study``: strengths are swept."""
    if args.methods and args.study != "strengths":
        parser.error(
            f"--study {args.study} has methods of its own: leave --methods out, or use "
            "--study strengths."
        )
    if args.strengths == "usual" or args.strange:
        parser.error("--strengths and --strange are not options of a --study.")
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
        data_dir=args.data_dir,
    )


def compare(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """The default: what each method gains over none, and how sure that is."""
    start = time.perf_counter()
    images = _load(args, parser, args.train_size)
    kind, strange = _strange(args, parser, images)
    recipe = RECIPES[args.dataset]
    if args.quick:
        recipe = replace(recipe, hidden=(16, 16), epochs=5)
    if args.epochs:
        recipe = replace(recipe, epochs=args.epochs)
    budget = Budget(
        num_seeds=args.seeds or (5 if args.quick else SEEDS[args.dataset]),
        num_samples=5 if args.quick else 50,
    )
    searched = args.strengths == "validation"
    search_seeds = max(1, budget.num_seeds // search.TRIALS) if searched else None

    print(f"Running on {jax.default_backend()}: {jax.devices()}")
    outcomes = default.compare(
        _chosen(args), recipe, images, strange, budget, search_seeds=search_seeds
    )
    judged = verdicts.judge(outcomes, images.test)
    ordered = verdicts.ranked(outcomes, judged)
    rows = panel.panel(outcomes, images.test.y)
    title = _describe(args, images, recipe)
    about = {
        "seeds": budget.num_seeds,
        "search_seeds": search_seeds,
        "samples": budget.num_samples,
        "test_images": len(images.test.y),
        "strange_images": STRANGE[kind],
        "recipe": asdict(recipe),
    }
    size = len(images.train.y)
    found = verdicts.conclusion(judged, f"On {args.dataset} with {size} images")
    _print(
        verdict_report.error_table(ordered, judged, title=title, searched=searched),
        verdict_report.price_table(ordered, judged) if len(outcomes) > 1 else "",
        verdict_report.panel_table(
            rows, strange=STRANGE[kind], num_samples=budget.num_samples
        ),
        found,
    )
    _write(args.output, outcomes, ordered, judged, rows, title, found, about)
    print(f"Took {time.perf_counter() - start:.0f} s in all.")


def _print(*parts: Table | str) -> None:
    for part in parts:
        Console(width=max(100, Console().width), highlight=False).print(part)


def _write(
    output: Path,
    outcomes: list[Outcome],
    ordered: list[Outcome],
    judged: Verdicts,
    rows: list[Row],
    title: str,
    conclusion: str,
    about: dict[str, Any],
) -> None:
    output.mkdir(parents=True, exist_ok=True)
    report.write_csv(output / "results.csv", outcomes)
    verdict_report.write_json(
        output / "gains.json",
        ordered,
        judged,
        rows,
        title=title,
        conclusion=conclusion,
        about=about,
    )
    for name, figure in (
        ("gains", figures.gains(ordered, judged, title=title)),
        ("learning_curves", figures.learning_curves(outcomes, title=title)),
        ("reliability_diagrams", figures.reliability_diagrams(outcomes, title=title)),
    ):
        figure.savefig(output / f"{name}.png", dpi=150)
    print(f"Wrote results.csv, gains.json and three figures to {output}.")


def _strange(
    args: argparse.Namespace, parser: argparse.ArgumentParser, images: Images
) -> tuple[str, np.ndarray]:
    """Images of no class: their kind, and their pixels."""
    kind = args.strange or ("letters" if args.dataset == "mnist" else "shuffled")
    if kind == "rotated":
        pictures = images.test.x.reshape(-1, *images.shape)
        return kind, np.rot90(pictures, axes=(1, 2)).reshape(images.test.x.shape)
    if kind == "letters":
        if images.shape != (28, 28) or args.dataset == "notmnist":
            parser.error("--strange letters takes --dataset mnist.")
        try:
            return kind, load("notmnist", args.data_dir).test.x
        except DataError as error:
            if args.strange:
                parser.exit(2, f"{error}\n")
            kind = "shuffled"
    return kind, np.random.default_rng(0).permuted(images.test.x, axis=1)


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
        help=f"{', '.join(names)}; by default the first ten, in a study all; the first "
        "of them is the baseline",
    )
    add(
        "--strengths",
        choices=("validation", "usual"),
        default="validation",
        help="chosen on validation images, or fixed",
    )
    add(
        "--strange",
        choices=STRANGE,
        help="the images of no class; by default shuffled, for mnist letters",
    )
    add("--study", choices=conduct.STUDIES, help="sweep strengths, see above")
    add("--quick", action="store_true", help="a short run, to see that all works")
    add("--output", type=Path, default=Path("results"), help="where files are written")
    return parser


def _chosen(args: argparse.Namespace) -> list[Method]:
    """The methods that are named; by default the ten, or all that a study has."""
    usual = ALL_METHODS if args.study else METHODS
    keys = args.methods or [method.key for method in usual]
    if args.quick and not (args.study or args.methods):
        keys = QUICK
    return [method for method in ALL_METHODS if method.key in keys]


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


if __name__ == "__main__":
    main()
