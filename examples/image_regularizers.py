"""Compares eight ways to regularize a small residual network on images.

    python examples/image_regularizers.py
    python examples/image_regularizers.py --tune
    python examples/image_regularizers.py --dataset mnist --data-dir ~/data
    python examples/image_regularizers.py --underfit

The same network with batch normalization learns the same few images with each method,
from several seeds. Noise is where batch normalization allows it: before the classifier,
or at the end of a residual branch, after its last normalization. Rates follow depth or
time where they were published so; all of them are data, and one program serves all
strengths of a method. The table shows test errors with their standard error and seconds
per epoch; the figures show learning curves and what the masks look like. Strengths were
chosen by ``--tune`` on validation images of digits. These have taken 8 minutes of CPU,
and ``--underfit`` 2 minutes on two cores.

``--underfit`` trains a narrow network for a short time on more images, so that it fits
not even these, and compares dropout and stochastic depth, at the least of the strengths
that ``--tune`` tries, with those that end early, or start late: Liu, Xu, Jin, Shen,
Darrell, "Dropout reduces underfitting", ICML 2023, https://arxiv.org/abs/2303.01500.
"""

import argparse
from dataclasses import asdict, replace

import jax
import numpy as np
from rich.console import Console
from tqdm import tqdm

from data import DataError, Images, load
from residual import figures, report
from residual.methods import ALL_METHODS, METHODS, TIMED_METHODS, Method
from residual.network import Shape
from residual.report import Outcome
from residual.training import ResidualRecipe, State, Trainer, as_maps, evaluate, stacked
from study.arguments import add_data, add_names, add_training, parser_of
from study.files import save

RECIPES = {
    "digits": ResidualRecipe(
        shape=Shape(width=16),
        train_size=200,
        epochs=60,
        batch_size=25,
        learning_rate=1e-2,
    ),
    "mnist": ResidualRecipe(
        shape=Shape(width=16, stem_stride=2),
        train_size=1000,
        epochs=30,
        batch_size=50,
        learning_rate=1e-2,
    ),
}
UNDERFIT = {
    "digits": replace(
        RECIPES["digits"],
        shape=Shape(width=4, blocks_per_stage=2),
        train_size=500,
        epochs=5,
    ),
    "mnist": replace(
        RECIPES["mnist"],
        shape=Shape(width=4, blocks_per_stage=2, stem_stride=2),
        train_size=10_000,
        epochs=2,
    ),
}
QUICK = ("none", "mixup")
OF_UNDERFIT = ("none", "dropout", "stochastic depth")


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    recipe = _recipe(args)
    try:
        images = load(args.dataset, args.data_dir, train_size=recipe.train_size)
    except DataError as error:
        parser.exit(2, f"{error}\n")
    if recipe.batch_size > recipe.train_size:
        recipe = replace(recipe, batch_size=recipe.train_size)
    seeds = range(args.seeds or (2 if args.quick else 3 if args.tune else 5))
    methods = _methods(args)

    console = Console(width=max(100, Console().width))
    console.print(f"Running on {jax.default_backend()}: {jax.devices()}")
    seen = as_maps(images.standardized())
    outcomes, state = compare(methods, recipe, seen, seeds, tune=args.tune)
    title = f"{args.dataset}: {recipe.train_size} images, {recipe.epochs} epochs"
    title += ", a narrow network" if args.underfit else ""
    if args.tune:
        console.print(report.tuning(outcomes, title=title))
        report.write_csv(args.output / "image_regularizers_tuning.csv", outcomes)
        console.print(f"Wrote image_regularizers_tuning.csv to {args.output}.")
        return
    console.print(report.scores(outcomes, title=title))
    where = f"On {args.dataset} with {recipe.train_size} training images"
    console.print(report.verdict(outcomes, where=where))

    report.write(args.output, outcomes, title=title, recipe=asdict(recipe))
    every = recipe.epochs_between_checks
    steps = every * np.arange(1, outcomes[0].checks.nll.shape[1] + 1)
    curves = figures.learning_curves(outcomes, steps=steps, title=title)
    save(curves, args.output / "image_regularizers_curves.png")
    network, x = state.network, seen.test.x[:8]
    network.eval()
    maps, title = network.maps(x[:1])[0], "What is dropped: masks, and what is left"
    masks = figures.masks(jax.random.key(0), maps, x, title=title)
    save(masks, args.output / "image_regularizers_masks.png")
    written = "image_regularizers.csv, .json and two figures"
    console.print(f"Wrote {written} to {args.output}.")


def compare(
    methods: list[Method],
    recipe: ResidualRecipe,
    images: Images,
    seeds: range,
    *,
    tune: bool,
) -> tuple[list[Outcome], State]:
    """Trains with every method, and returns a network of the first one as well."""
    trials = [
        (method, (method.candidates if tune else ()) or (method.strength,))
        for method in methods
    ]
    num_networks = len(seeds) * sum(len(strengths) for _, strengths in trials)
    outcomes, first = [], None
    with tqdm(total=num_networks * recipe.epochs, unit="epoch") as bar:
        for method, strengths in trials:
            bar.set_description(method.name)
            trainer = Trainer(method, recipe, images)
            for strength in strengths:
                trained = [trainer.train(s, strength, bar.update) for s in seeds]
                first = first or trained[0].state
                finals, fits = (
                    [evaluate(one.state, part) for one in trained]
                    for part in (images.test, images.train)
                )
                outcomes.append(
                    Outcome(
                        method,
                        strength,
                        checks=stacked([one.checks for one in trained]),
                        test=stacked(finals),
                        train=stacked(fits),
                        seconds=np.array([one.seconds for one in trained]),
                    )
                )
    return outcomes, first


def _methods(args: argparse.Namespace) -> list[Method]:
    """The methods that are named, and none; by default those of the setting."""
    if args.methods:
        names = {METHODS[0].key, *args.methods}
        return [method for method in ALL_METHODS if method.key in names]
    if args.underfit:
        chosen = [method for method in METHODS if method.name in OF_UNDERFIT]
        chosen += TIMED_METHODS
        return [replace(m, strength=min(m.candidates, default=0.0)) for m in chosen]
    return [m for m in METHODS if m.key in QUICK] if args.quick else list(METHODS)


def _recipe(args: argparse.Namespace) -> ResidualRecipe:
    recipe = (UNDERFIT if args.underfit else RECIPES)[args.dataset]
    if args.quick:
        shape = replace(recipe.shape, width=4, blocks_per_stage=1)
        recipe = replace(recipe, shape=shape, train_size=100, epochs=4)
    return recipe.given(train_size=args.train_size, epochs=args.epochs)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__, compiles_much=True)
    names = [method.key for method in ALL_METHODS]
    add = parser.add_argument
    add_data(parser, list(RECIPES), holds="mnist")
    add_training(parser, "train_size", "epochs", "seeds")
    usual = f"; {names[0]} is always there; by default those noisy at all times"
    add_names(parser, "--methods", names, note=usual)
    underfit = "a narrow network that fits not even the training images"
    add("--underfit", action="store_true", help=underfit)
    add("--tune", action="store_true", help="try several strengths of each method")
    return parser


if __name__ == "__main__":
    main()
