"""Regression with Monte-Carlo dropout, as in Gal and Ghahramani (2016), Table 1.

    python examples/mc_dropout_uci.py
    python examples/mc_dropout_uci.py --dataset concrete --data-dir ~/data
    python examples/mc_dropout_uci.py --dataset yacht --data-dir ~/data --long
    python examples/mc_dropout_uci.py --dataset yacht --data-dir ~/data --rate 0

A network with one hidden layer, and dropout on its inputs and hidden units, learns
each of the splits of a data set, all of them in one program. Its samples give the root
mean squared error of their mean, and the predictive log-likelihood, which are printed
beside the published ones. Without files it takes scikit-learn's diabetes data. Every
score of every split is written to a JSON file. ``--rate 0`` trains without dropout,
with the other settings as they are: the comparison that tells whether dropout helps.
On two CPU cores sets of up to 1600 rows take less than half a minute, with ``--long``
several; those of 8000 rows and more take minutes.

Gal, Ghahramani, "Dropout as a Bayesian approximation: representing model uncertainty
in deep learning", ICML 2016, https://arxiv.org/abs/1506.02142.
"""

import argparse
import time

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from data import DataError, load_regression
from study.arguments import add_data, add_training, count, parser_of, positive, rate
from study.files import save, write_results
from study.tables import new_table
from study.words import standard_error
from uci import records
from uci.figures import draw
from uci.published import PUBLISHED, SETTINGS, published_for
from uci.splits import Splits
from uci.training import RegressionRecipe, Scores, fit, judge

_ROWS = ("RMSE, weight scaling", "RMSE, MC dropout", "log-likelihood")


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    try:
        data = load_regression(args.dataset, args.data_dir)
    except DataError as error:
        parser.exit(2, f"{error}\n")
    if args.validate:
        data = data.for_validation()
    if args.dataset not in SETTINGS and args.tau is None:
        parser.exit(2, f"{args.dataset} needs --tau: choose it with --validate.\n")
    recipe = _recipe(args)
    num_samples = args.samples or (500 if args.quick else 10_000)
    if recipe.rate == 0:
        num_samples = 1  # all are the same

    console = Console()
    console.print(f"Running on {jax.default_backend()}: {jax.devices()}")
    console.print(f"{args.dataset}: {len(data.y)} rows, {len(data.train)} splits")
    console.print(recipe)
    splits, start = Splits.of(data), time.perf_counter()
    variables = fit(recipe, splits)
    scores = jax.device_get(judge(recipe, variables, splits, num_samples=num_samples))
    seconds = time.perf_counter() - start
    title = (
        f"{args.dataset}, rate {recipe.rate:g}, {recipe.epochs} epochs, "
        f"{num_samples} samples"
    )
    published = () if args.validate else published_for(args.dataset, recipe, args.long)
    console.print(report(scores, published, title))

    name = records.name_of(args.dataset, recipe, SETTINGS.get(args.dataset))
    save(draw(scores, splits, published, title), args.output / f"{name}.png")
    content = records.record(
        args.dataset,
        recipe,
        scores,
        num_rows=len(data.y),
        num_samples=num_samples,
        published=published,
        seconds=seconds,
    )
    write_results(args.output / f"{name}.json", content)
    console.print(f"Wrote {name}.png and {name}.json to {args.output}.")


def report(scores: Scores, published: tuple[str, ...], title: str) -> Table:
    """Measured scores beside published ones."""
    caption = "Means over splits, with their standard errors."
    headings = ("", "measured", "published", "median of splits")
    table = new_table(title, headings, caption=caption)
    for index, (name, values) in enumerate(zip(_ROWS, scores, strict=False)):
        measured = f"{values.mean():.4g} ± {standard_error(values):.2g}"
        shown = published[index] if published else "–"
        table.add_row(name, measured, shown, f"{np.median(values):.4g}")
    return table


def _recipe(args: argparse.Namespace) -> RegressionRecipe:
    """The published settings, with those of the command line in their place."""
    unknown = RegressionRecipe(rate=0.05, tau=1.0, length_scale=1e-2)
    recipe = SETTINGS.get(args.dataset, unknown)
    if args.long:
        recipe = recipe.given(epochs=4000, batch_size=128)
    elif args.quick:
        recipe = recipe.given(epochs=40)
    names = ("epochs", "batch_size", "hidden", "rate", "tau", "length_scale", "seed")
    return recipe.given(**{name: getattr(args, name) for name in names})


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__)
    add = parser.add_argument
    add_data(parser, ("diabetes", *PUBLISHED), holds="uci", closed=False)
    add_training(parser, "epochs", "seed")
    add("--rate", type=rate, help="of dropping inputs and hidden units")
    add("--tau", type=positive, help="precision of the noise, in units of the target")
    add("--length-scale", type=positive, help="of the prior of the weights")
    add("--hidden", type=count, help="hidden units")
    add("--batch-size", type=count, help="32 by default")
    add("--samples", type=count, help="how many each prediction is the mean of")
    long = "4000 epochs of batches of 128, as in later results of the authors"
    add("--long", action="store_true", help=long)
    validate = "judge on the last fifth of the training rows, to choose rate and tau"
    add("--validate", action="store_true", help=validate)
    return parser


if __name__ == "__main__":
    main()
