"""A small transformer that predicts characters; its dropout follows a schedule.

    python examples/char_transformer.py  # 5 minutes on two cores
    python examples/char_transformer.py --text shakespeare.txt --train-size 200000
    python examples/char_transformer.py --tune
    python examples/char_transformer.py --one-pass  # 2 minutes
    export XLA_FLAGS=--xla_force_host_platform_device_count=8  # as if there were 8

Characters, attention weights, what sub-layers add, and whole sub-layers are dropped.
Three networks differ in when: never, always, or early, from full rates to none at the
middle of training. To the program a rate is a number like any other, so the three are
trained by the same compiled code. Weight decay leaves biases, scales and embeddings
alone. A batch is shared among all devices that there are; the result does not depend
on their number.

``--one-pass`` sees each character once, as large language models do: Liu, Bauer,
Manning, "Drop dropout on single-epoch language model pretraining", Findings of ACL
2025, https://arxiv.org/abs/2505.24788, find any dropout worse than none then. Early
dropout is meant for networks that underfit: Liu, Xu, Jin, Shen, Darrell, "Dropout
reduces underfitting", ICML 2023, https://arxiv.org/abs/2303.01500.
"""

import argparse
from dataclasses import asdict, replace

import jax
import numpy as np
from flax import nnx
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from tqdm import tqdm

from data import DataError, Text, load_text
from jaxdrop import schedules
from study.arguments import count
from study.files import save
from text import report, tuning
from text.arguments import parser_of, strength
from text.training import State, TextRecipe, Trainer, of_one_pass
from text.transformer import CharacterTransformer, Rates
from text.tuning import best_scores
from text.writing import continue_text

RECIPE = TextRecipe(
    rounds=20,
    steps=40,
    batch_size=16,
    length=64,
    context=24,
    learning_rate=3e-3,
    weight_decay=0.1,
)
# Chosen on validation text, by --tune.
RATES = Rates(embedding=0.025, attention=0.025, residual=0.05, depth=0.025)
STRENGTHS = np.array([0.0, 0.5, 1.0, 2.0])  # that --tune multiplies them by
PREFIX = "char_transformer"  # of the files that are written
SIZES, TRAIN_SIZE = {"width": 96, "num_blocks": 2, "heads": 4}, 20_000
QUICK = {"width": 32, "num_blocks": 1, "heads": 2}
ROUNDS_OF_ONE_PASS, TRAIN_SIZE_OF_ONE_PASS = 4, 100_000


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    is_long = args.one_pass and not args.quick
    usual = TRAIN_SIZE_OF_ONE_PASS if is_long else TRAIN_SIZE
    try:
        text = load_text(args.text, train_size=args.train_size or usual)
        recipe = replace(RECIPE, rounds=2, steps=10) if args.quick else RECIPE
        recipe = recipe.given(rounds=args.rounds)
        if args.one_pass:
            rounds = args.rounds or min(recipe.rounds, ROUNDS_OF_ONE_PASS)
            recipe = of_one_pass(recipe, text, rounds)
    except DataError as error:
        parser.exit(2, f"{error}\n")
    num_seeds = args.seeds or (1 if args.tune or args.quick else 3)
    seeds = jax.random.split(jax.random.key(0), num_seeds)
    rates = Rates(*(args.strength * rate for rate in RATES))
    sizes = QUICK if args.quick else SIZES

    console = Console()
    console.print(f"Running on {jax.default_backend()}: {jax.devices()}")
    if args.tune:
        console.print(tune(recipe, text, seeds, sizes))
        return
    trainer = trainer_of(recipe, rates, text, seeds, sizes=sizes)
    if (sharing := trainer.program.mesh.size) > 1:
        console.print(f"{sharing} devices share each batch.")
    methods = schedules_of(recipe.num_steps)
    outcomes, states = train(trainer, methods)
    assert trainer.num_traces == 1, "a schedule must not compile again"
    console.print(f"{len(methods)} schedules of rates, 1 compilation.")

    name = args.text.name if args.text else "Python's help"
    passes = " of one pass" if recipe.one_pass else ""
    title = f"{name}: {len(text.train)} characters, {recipe.num_steps} steps{passes}"
    console.print(report.table(outcomes, title=title, round_steps=recipe.steps))
    last = recipe.one_pass  # where nothing is seen twice, the last is what is used
    console.print(report.verdict(outcomes, where=f"On {name}", last=last))
    best = min(outcomes, key=lambda outcome: outcome.best_validation.mean())
    sample = continue_text(states[best.name], text, recipe, count=args.characters)
    heading = f"{best.name}: what it writes after the start of the test text"
    console.print(Panel(escape(sample), title=heading))

    settings = asdict(recipe) | {"rates": rates._asdict()}
    report.write(args.output, PREFIX, outcomes, title=title, recipe=settings)
    curves = report.learning_curves(outcomes, title=title, round_steps=recipe.steps)
    save(curves, args.output / f"{PREFIX}_curves.png")
    console.print(f"Wrote {PREFIX}.csv, .json and a figure to {args.output}.")


def schedules_of(num_steps: int) -> dict[str, np.ndarray]:
    """The share of its rates that a network has at each step, ``(steps,)``."""
    steps = np.arange(num_steps)
    early = schedules.early(1.0, cutoff=max(1, num_steps // 2))
    return {
        "none": np.zeros(num_steps),
        "dropout": np.ones(num_steps),
        "early dropout": np.asarray(early(steps)),
    }


def trainer_of(
    recipe: TextRecipe,
    rates: Rates,
    text: Text,
    seeds: jax.Array,
    devices: list[jax.Device] | None = None,
    *,
    sizes: dict[str, int] = SIZES,
) -> Trainer:
    """Trains transformers, one for each seed, on some or all devices."""

    def build(rngs: nnx.Rngs) -> CharacterTransformer:
        return CharacterTransformer(
            len(text.alphabet),
            length=recipe.length,
            **sizes,
            rates=rates,
            rngs=rngs,
        )

    return Trainer(build, recipe, text, seeds, devices)


def train(
    trainer: Trainer, methods: dict[str, np.ndarray]
) -> tuple[list[report.Outcome], dict[str, State]]:
    """Trains and judges networks by each schedule, from the same seeds."""
    outcomes, states = [], {}
    with tqdm(total=len(methods) * trainer.recipe.rounds, unit="round") as bar:
        for name, strengths in methods.items():
            bar.set_description(name)
            of_runs = np.tile(strengths, (len(trainer.seeds), 1))
            states[name], curves, seconds = trainer.run(of_runs, bar.update)
            scores = trainer.test_scores(states[name])
            outcomes.append(report.Outcome(name, curves, scores, seconds))
    return outcomes, states


def tune(recipe: TextRecipe, text: Text, seeds: jax.Array, sizes: dict) -> Table:
    """Tries all strengths in one program, and looks at validation text only."""
    repeated = jax.numpy.tile(seeds, len(STRENGTHS))
    trainer = trainer_of(recipe, RATES, text, repeated, sizes=sizes)
    by_name, results = schedules_of(recipe.num_steps), {}
    with tqdm(total=2 * recipe.rounds, unit="round") as bar:
        for name in ("dropout", "early dropout"):
            bar.set_description(name)
            schedule = by_name[name]
            results[name] = best_scores(trainer, STRENGTHS, schedule, bar.update)
    title = f"{len(text.train)} characters, {recipe.num_steps} steps"
    return tuning.table(results, STRENGTHS, title=title, by="strength")


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__, train_size=TRAIN_SIZE, round_steps=RECIPE.steps)
    add = parser.add_argument
    times = "what all rates are multiplied by"
    add("--strength", type=strength, default=1.0, help=times)
    one_pass = f"see each character once; {TRAIN_SIZE_OF_ONE_PASS} without --train-size"
    parser.set_defaults(train_size=None)
    add("--one-pass", action="store_true", help=one_pass)
    add("--characters", type=count, default=400, help="how many are written")
    return parser


if __name__ == "__main__":
    main()
