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

import jax

from comparison import (
    arguments,
    conduct,
    default,
    panel,
    search,
    verdict_report,
    verdicts,
)
from comparison.studies import Budget
from data import Images
from study.recipe import ImageRecipe
from study.tables import show

RECIPES = {
    "digits": ImageRecipe(
        hidden=(128, 128),
        rates=(0.1, 0.3),
        standardize=True,
        epochs=100,
        batch_size=50,
        learning_rate=3e-3,
    ),
    "mnist": ImageRecipe(
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


def main() -> None:
    parser = arguments.parser(__doc__)
    args = parser.parse_args()
    if args.study:
        conduct_study(args, parser)
    else:
        compare(args, parser)


def compare(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """The default: what each method gains over none, and how sure that is."""
    start = time.perf_counter()
    images = arguments.images_of(args, parser, args.train_size)
    kind, strange = arguments.strange_of(args, parser, images)
    recipe = RECIPES[args.dataset]
    if args.quick:
        recipe = replace(recipe, hidden=(16, 16), epochs=5)
    recipe = recipe.given(epochs=args.epochs)
    budget = Budget(
        num_seeds=args.seeds or (5 if args.quick else SEEDS[args.dataset]),
        num_samples=5 if args.quick else 50,
    )
    searched = args.strengths == "validation"
    search_seeds = max(1, budget.num_seeds // search.TRIALS) if searched else None

    print(f"Running on {jax.default_backend()}: {jax.devices()}")
    outcomes = default.compare(
        arguments.methods_of(args),
        recipe,
        images,
        strange,
        budget,
        search_seeds=search_seeds,
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
        "strange_images": arguments.STRANGE[kind],
        "recipe": asdict(recipe),
    }
    size = len(images.train.y)
    found = verdicts.conclusion(judged, f"On {args.dataset} with {size} images")
    show(
        verdict_report.error_table(ordered, judged, title=title, searched=searched),
        verdict_report.price_table(ordered, judged) if len(outcomes) > 1 else "",
        verdict_report.panel_table(
            rows, strange=arguments.STRANGE[kind], num_samples=budget.num_samples
        ),
        found,
    )
    default.write(
        args.output, outcomes, judged, rows, title=title, conclusion=found, about=about
    )
    print(f"Took {time.perf_counter() - start:.0f} s in all.")


def conduct_study(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """``--study``: strengths are swept."""
    setting = arguments.setting_of(args, parser)
    images = arguments.images_of(args, parser, args.train_size or setting.train_size)
    print(f"Running on {jax.default_backend()}: {jax.devices()}")
    conduct.conduct(
        args.study,
        setting,
        images,
        args.output / f"{args.study}-{args.dataset}",
        title=f"{args.study}, {_describe(args, images, setting.recipe)}",
        methods=arguments.methods_of(args),
        num_samples=5 if args.quick else 50,
        data_dir=args.data_dir,
    )


def _describe(args: argparse.Namespace, images: Images, recipe: ImageRecipe) -> str:
    size = len(images.train.y)
    return f"{args.dataset}: {size} training images, {recipe.epochs} epochs"


if __name__ == "__main__":
    main()
