"""Eight ways to regularize an LSTM that learns to predict the next character.

    python examples/char_rnn.py  # 5 minutes on two cores
    python examples/char_rnn.py --text shakespeare.txt --train-size 100000
    python examples/char_rnn.py --tune --methods variational zoneout

The network sees a short text many times, and without regularization soon knows it by
heart. Each method changes what happens inside the loop over time, or around it:

none         nothing
naive        the hidden state is dropped, with a mask of its own at every step
locked       inputs and outputs are dropped, with one mask for a whole sequence
variational  what the gates see of input and state is dropped, one mask a sequence
recurrent    only what is written into the memory is dropped, anew at every step
zoneout      units keep their old values at random
weight drop  weights of the recurrent kernel are dropped, once before each sequence

Scores are bits per character of text that follows on the training text. Rates were
chosen on validation text: ``--tune`` shows how.

Gal, Ghahramani, "A theoretically grounded application of dropout in recurrent neural
networks", NeurIPS 2016, https://arxiv.org/abs/1512.05287.
Semeniuta, Severyn, Barth, "Recurrent dropout without memory loss", COLING 2016,
https://arxiv.org/abs/1603.05118.
Krueger et al., "Zoneout", ICLR 2017, https://arxiv.org/abs/1606.01305.
Merity, Keskar, Socher, "Regularizing and optimizing LSTM language models", ICLR 2018,
https://arxiv.org/abs/1708.02182, for locked dropout and weight drop.
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from rich.console import Console
from tqdm import tqdm

from data import DataError, Text, load_text
from jaxdrop import plots
from study.arguments import add_names
from study.files import save
from text import report, tuning
from text.arguments import parser_of
from text.recurrent import METHODS, CharacterLSTM, Method
from text.training import TextRecipe, Trainer
from text.tuning import best_scores

RECIPE = TextRecipe(
    rounds=20,
    steps=40,
    batch_size=16,
    length=64,
    context=24,
    learning_rate=1e-2,
)
INPUTS, UNITS, TRAIN_SIZE = 32, 128, 20_000
QUICK = ("none", "variational")  # that --quick compares
RATES = np.array([0.1, 0.2, 0.3, 0.4, 0.5])  # that --tune tries


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    try:
        text = load_text(args.text, train_size=args.train_size)
    except DataError as error:
        parser.exit(2, f"{error}\n")
    recipe = replace(RECIPE, rounds=2, steps=10) if args.quick else RECIPE
    recipe = recipe.given(rounds=args.rounds)
    num_seeds = args.seeds or (1 if args.tune or args.quick else 3)
    seeds = jax.random.split(jax.random.key(0), num_seeds)
    usual = QUICK if args.quick else [method.key for method in METHODS]
    methods = [method for method in METHODS if method.key in (args.methods or usual)]

    console = Console()
    console.print(f"Running on {jax.default_backend()}: {jax.devices()}")
    name = args.text.name if args.text else "Python's help"
    title = f"{name}: {len(text.train)} characters, {recipe.num_steps} steps"
    if args.tune:
        tune(methods, recipe, text, seeds, console, args.output, title)
        return
    outcomes = compare(methods, recipe, text, seeds)
    console.print(report.table(outcomes, title=title, round_steps=recipe.steps))
    console.print(report.verdict(outcomes, where=f"On {name}"))
    report.write(args.output, "char_rnn", outcomes, title=title, recipe=asdict(recipe))
    curves = report.learning_curves(outcomes, title=title, round_steps=recipe.steps)
    save(curves, args.output / "char_rnn_curves.png")
    scores = report.test_scores(outcomes, title=title)
    save(scores, args.output / "char_rnn_scores.png")
    console.print(f"Wrote char_rnn.csv, .json and two figures to {args.output}.")


def trainer_of(
    method: Method, recipe: TextRecipe, text: Text, seeds: jax.Array
) -> Trainer:
    """Trains the network of a method, one for each seed."""

    def build(rngs: nnx.Rngs) -> CharacterLSTM:
        return method.network(len(text.alphabet), INPUTS, UNITS, rngs)

    return Trainer(build, recipe, text, seeds)


def compare(
    methods: list[Method], recipe: TextRecipe, text: Text, seeds: jax.Array
) -> list[report.Outcome]:
    """Trains and judges every method, from the same seeds."""
    full_strength = np.ones((len(seeds), recipe.num_steps))
    outcomes = []
    with tqdm(total=len(methods) * recipe.rounds, unit="round") as bar:
        for method in methods:
            bar.set_description(method.name)
            trainer = trainer_of(method, recipe, text, seeds)
            state, curves, seconds = trainer.run(full_strength, bar.update)
            scores = trainer.test_scores(state)
            found = curves, scores, seconds, method.strength
            outcomes.append(report.Outcome(method.name, *found))
    return outcomes


def tune(
    methods: list[Method],
    recipe: TextRecipe,
    text: Text,
    seeds: jax.Array,
    console: Console,
    output: Path,
    title: str,
) -> None:
    """Tries all rates of each method that has one."""
    methods = [method for method in methods if method.rate or method.locked]
    repeated = jax.numpy.tile(seeds, len(RATES))
    results, always = {}, np.ones(recipe.num_steps)
    with tqdm(total=len(methods) * recipe.rounds, unit="round") as bar:
        for method in methods:
            bar.set_description(method.name)
            shares = RATES / (method.rate or method.locked)
            trainer = trainer_of(method, recipe, text, repeated)
            results[method.name] = best_scores(trainer, shares, always, bar.update)
    console.print(tuning.table(results, RATES, title=title, by="method"))
    label = "best validation bits per character"
    series = {name: best.T for name, best in results.items()}
    figure = plots.rate_sweep(RATES, series, ylabel=label)
    figure.axes[0].set_title(title, fontsize=10)
    save(figure, output / "char_rnn_rates.png")
    console.print(f"Wrote {output / 'char_rnn_rates.png'}.")


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__, train_size=TRAIN_SIZE, round_steps=RECIPE.steps)
    names = [method.key for method in METHODS]
    add_names(parser, "--methods", names, note="; by default all")
    return parser


if __name__ == "__main__":
    main()
