"""What Monte-Carlo dropout knows that one pass does not, on small images.

    python examples/mc_dropout_uncertainty.py
    python examples/mc_dropout_uncertainty.py --dataset mnist --data-dir ~/data

One network is asked in two ways: by one pass without noise (weight scaling), and by the
mean of passes with dropout. The figure shows the error by the number of samples (as
figure 11 of Srivastava et al., 2014), a reliability diagram, the accuracy if uncertain
images are left to others, and the entropy of images that are none of the ten classes:
digits with shuffled pixels, or for mnist the letters of notmnist. A second table shows
how many samples a tolerance on the standard errors asks for. On two CPU cores digits
take about half a minute.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from rich.console import Console
from rich.table import Table

import jaxdrop
from data import DataError, Images, load
from jaxdrop import mc, metrics
from study.arguments import add_data, add_training, count, parser_of
from study.files import save
from study.recipe import ImageRecipe
from study.tables import new_table
from uncertainty.answers import (
    COUNTS,
    Answers,
    by_one_pass,
    by_samples,
    errors_by_count,
)
from uncertainty.figures import MC_DROPOUT, WEIGHT_SCALING, draw
from uncertainty.network import Network, train

RECIPES = {
    "digits": ImageRecipe(
        hidden=(512, 512), rates=(0.1, 0.3), batch_size=50, learning_rate=3e-3
    ),
    "mnist": ImageRecipe(
        hidden=(800, 800), rates=(0.2, 0.5), batch_size=100, learning_rate=1e-3
    ),
}
TOLERANCES = (0.1, 0.05, 0.03, 0.02)


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    try:
        images = load(args.dataset, args.data_dir, train_size=args.train_size)
        others = _others(args.dataset, images, args.data_dir)
    except DataError as error:
        parser.exit(2, f"{error}\n")
    mean, deviation = images.train.x.mean(), images.train.x.std()
    others = (others - mean) / deviation
    train_images, _, test, _ = images.standardized()
    recipe = RECIPES[args.dataset]
    if args.quick:
        recipe = replace(recipe, hidden=(64, 64), epochs=20)
    recipe = recipe.given(epochs=args.epochs)

    console = Console()
    console.print(f"Running on {jax.default_backend()}: {jax.devices()}")
    model = train(recipe, train_images, seed=args.seed)
    key, *keys = jax.random.split(jax.random.key(args.seed), 1 + args.repeats)
    answers = {
        WEIGHT_SCALING: (by_one_pass(model, test.x), by_one_pass(model, others)),
        MC_DROPOUT: tuple(by_samples(key, model, x) for x in (test.x, others)),
    }
    errors = errors_by_count(jnp.stack(keys), model, test.x, test.y)
    title = f"{args.dataset}, {len(train_images.y)} training images"
    console.print(scores(answers, test.y, title))
    console.print(tolerances(key, model, test.x, test.y))

    path = args.output / f"mc_dropout_uncertainty_{args.dataset}.png"
    save(draw(answers, test.y, dict(zip(COUNTS, errors, strict=True)), title), path)
    console.print(f"Wrote {path}.")


def scores(
    answers: dict[str, tuple[Answers, Answers]], labels: np.ndarray, title: str
) -> Table:
    """How good answers are, and how well they tell strange images."""
    caption = (
        "AURC: area under the risk-coverage curve. AUROC: the chance that a strange "
        "image has a higher score (H: entropy, I: mutual information)."
    )
    headings = ("", "error %", "NLL", "ECE %", "AURC %", "AUROC by H", "AUROC by I")
    table = new_table(title, headings, caption=caption)
    for name, (known, strange) in answers.items():
        wrong = known.probs.argmax(-1) != labels
        is_strange = np.repeat([False, True], [len(known.probs), len(strange.probs)])

        def detected(a: Array, b: Array, is_strange: np.ndarray = is_strange) -> Array:
            return metrics.auroc(jnp.concatenate([a, b]), is_strange)

        nll = metrics.negative_log_likelihood(jnp.log(known.probs), labels)
        by_information = detected(known.information, strange.information)
        table.add_row(
            name,
            f"{100 * wrong.mean():.2f}",
            f"{nll:.3f}",
            f"{100 * metrics.expected_calibration_error(known.probs, labels):.2f}",
            f"{100 * metrics.aurc(-known.entropy, wrong):.3f}",
            f"{detected(known.entropy, strange.entropy):.3f}",
            "–" if np.isnan(by_information) else f"{by_information:.3f}",
        )
    return table


def tolerances(key: Array, model: Network, x: Array, labels: np.ndarray) -> Table:
    """How many samples until no probability has a larger standard error."""

    @jax.jit
    def predict(key: Array, model: Network, x: Array, tol: Array) -> Any:
        return mc.predict(
            jaxdrop.nnx.mc_apply,
            key,
            model,
            x,
            num_samples=1024,
            reducers=mc.categorical(num_groups=0),
            tol=tol,
        )

    title = "Sampling until the largest standard error is small enough"
    headings = ("tolerance", "samples", "largest error", "reached", "error %")
    table = new_table(title, headings)
    for tol in TOLERANCES:
        result = predict(key, model, x[:500], tol)
        wrong = (result.stats["mean"].argmax(-1) != labels[:500]).mean()
        table.add_row(
            f"{tol}",
            f"{result.count}",
            f"{result.stderr['mean'].max():.4f}",
            "yes" if result.converged else "no",
            f"{100 * wrong:.2f}",
        )
    return table


def _others(dataset: str, images: Images, data_dir: Path | None) -> np.ndarray:
    """Images that belong to no class."""
    if dataset == "mnist":
        return load("notmnist", data_dir).test.x
    return np.random.default_rng(0).permuted(images.test.x, axis=1)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__, compiles_much=True)
    add = parser.add_argument
    add_data(parser, list(RECIPES), holds="mnist and notmnist")
    add_training(parser, "train_size", "epochs", "seed")
    add("--repeats", type=count, default=5, help="of the error by number of samples")
    return parser


if __name__ == "__main__":
    main()
