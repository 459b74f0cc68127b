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
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from rich.console import Console

import jaxdrop
from data import DataError, load_regression
from jaxdrop import mc
from study.arguments import add_data, add_training, count, parser_of, positive, rate
from study.files import save, write_results
from uci import records
from uci.figures import draw
from uci.published import PUBLISHED, SETTINGS, published_for
from uci.splits import Splits
from uci.training import RegressionRecipe, Scores, fit

CHUNK = 20  # samples of a split that are drawn at a time


class Network(nn.Module):
    """One hidden layer. The rate is an argument; at rate 0 nothing is random."""

    hidden: int

    @nn.compact
    def __call__(self, x: Array, rate: float | Array) -> Array:
        """The target of each row, standardized."""
        drop = partial(jaxdrop.linen.Dropout, rate, deterministic=False)
        dense = partial(nn.Dense, kernel_init=nn.initializers.glorot_uniform())
        x = nn.relu(dense(self.hidden)(drop()(x)))
        return dense(1)(drop()(x))[..., 0]


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
    network = Network(recipe.hidden)
    variables = fit(network, recipe, splits)
    scores = judge(network, recipe, variables, splits, num_samples=num_samples)
    scores = jax.device_get(scores)
    seconds = time.perf_counter() - start
    title = (
        f"{args.dataset}, rate {recipe.rate:g}, {recipe.epochs} epochs, "
        f"{num_samples} samples"
    )
    published = () if args.validate else published_for(args.dataset, recipe, args.long)
    console.print(records.table(scores, published, title))

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


def judge(
    network: Network,
    recipe: RegressionRecipe,
    variables: Any,
    splits: Splits,
    *,
    num_samples: int,
) -> Scores:
    """Predicts the test rows of each split, without noise and by samples."""

    def of_split(key: Array, rate: Array, variables: Any, split: Splits) -> Scores:
        def in_units(outputs: Array) -> Array:
            return outputs * split.scale + split.mean

        def sample(key: Array, variables: Any, x: Array) -> Array:
            return in_units(jaxdrop.linen.mc_apply(network)(key, variables, x, rate))

        def average(values: Array) -> Array:
            there = split.test_weight > 0
            return jnp.where(there, values, 0).sum() / there.sum()

        scaled = in_units(network.apply(variables, split.test_x, 0.0))
        mixture = mc.gaussian_mixture(noise=1 / recipe.tau, targets=split.test_y)
        stats = mc.predict(
            sample,
            key,
            variables,
            split.test_x,
            num_samples=num_samples,
            reducers=mixture,
            chunk_size=min(CHUNK, num_samples),
        ).stats
        rmse = lambda mean: jnp.sqrt(average((mean - split.test_y) ** 2))
        return Scores(
            weight_scaling=rmse(scaled),
            rmse=rmse(stats["mean"]),
            log_likelihood=average(stats["log_density"]),
            mean=stats["mean"],
            std=jnp.sqrt(stats["total"]),
        )

    keys = jax.random.split(jax.random.key(recipe.seed + 1), len(splits.mean))
    # A rate that is traced may be 0; the number 0 would be a function without chance.
    run = jax.jit(jax.vmap(of_split, in_axes=(0, None, 0, 0)))
    return run(keys, jnp.float32(recipe.rate), variables, splits)


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
