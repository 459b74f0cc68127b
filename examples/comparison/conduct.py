"""Conducts a study: trains and measures, prints tables, writes files."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

from comparison import ensembles, figures, sizes, studies
from comparison.arguments import Setting, shuffled, title_of
from comparison.method import Method
from data import DataError, Images, load
from study.files import save, write_results
from study.tables import show

_SIZE_RATES = (0.0, 0.2, 0.5)
_RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def conduct(
    args: argparse.Namespace,
    setting: Setting,
    images: Images,
    methods: Sequence[Method],
    every: Sequence[Method],
) -> None:
    """Conducts a study.

    Args:
      args: the command line: which study, where the letters are that a study of
        ensembles on MNIST takes for images of no class, and where files are written.
      setting: what is trained.
      images: the data.
      methods: the methods of a study of strengths, or some of those of table 9.
      every: all methods, of which other studies take their own.
    """
    print(f"Running on {jax.default_backend()}: {jax.devices()}")
    known = {method.key: method for method in every}
    output = args.output / f"{args.study}-{args.dataset}"
    about = {
        "study": args.study,
        "title": f"{args.study}, {title_of(args, setting, images)}",
        "train_images": len(images.train.y),
        "recipe": asdict(setting.recipe),
        "num_seeds": setting.num_seeds,
        "num_samples": setting.num_samples,
        "backend": jax.default_backend(),
    }
    start = time.perf_counter()
    if args.study == "rate":
        _rates(known["dropout"], setting, images, output, about)
    elif args.study == "size":
        _sizes(known["dropout"], setting, images, output, about)
    elif args.study == "ensemble":
        others = _strange(images, args.data_dir)
        both = known["none"], known["dropout"]
        _ensembles(both, setting, images, others, output, about)
    else:
        if args.study == "table9":
            names = {method.name for method in methods}
            methods = [one for one in studies.table_9(known) if one.name in names]
        _strengths(methods, setting, images, output, about)
    print(f"Study {args.study}: {time.perf_counter() - start:.0f} s in all.")
    print(f"Wrote {', '.join(sorted(p.name for p in output.iterdir()))} to {output}.")


def _rates(
    dropout: Method, setting: Setting, images: Images, output: Path, about: dict
) -> None:
    recipe, budget = setting.recipe, setting.budget
    measured = studies.by_rate(dropout, _RATES, recipe, images, budget)
    show(studies.rate_table(measured, title=about["title"]), width=120)
    _save(output, "rate", figures.rates, measured, about["title"])
    studies.write_measured(output / "results.csv", measured)
    _write(output, about, measured._asdict())


def _sizes(
    dropout: Method, setting: Setting, images: Images, output: Path, about: dict
) -> None:
    most = len(images.train.y)
    numbers = tuple(size for size in setting.sizes if size <= most)
    title = f"{about['title'].split(':')[0]}: {setting.rule}"
    about = {**about, "title": title, "rule": asdict(setting.rule)}
    about["recipe"] = {k: v for k, v in about["recipe"].items() if k != "epochs"}
    found = sizes.by_size(
        dropout,
        numbers,
        _SIZE_RATES,
        setting.recipe,
        setting.rule,
        images,
        setting.budget.seeds,
    )
    show(sizes.table(found, title=title), width=120)
    _save(output, "size", figures.sizes, found, title)
    sizes.write_csv(output / "results.csv", found)
    records = sizes.records(found)
    _write(output, about, records)


def _strange(images: Images, data_dir: Path | None) -> np.ndarray:
    """Images of no class: letters for MNIST, else digits with shuffled pixels."""
    if images.shape != (28, 28):
        return shuffled(images)
    try:
        return load("notmnist", data_dir).test.x
    except DataError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def _ensembles(
    methods: tuple[Method, Method],
    setting: Setting,
    images: Images,
    others: np.ndarray,
    output: Path,
    about: dict,
) -> None:
    found = ensembles.compare(
        *methods,
        setting.recipe,
        images,
        others,
        num_seeds=setting.num_seeds,
        num_samples=setting.num_samples,
    )
    title = about["title"]
    show(ensembles.table(found, title=title), width=120)
    print(ensembles.conclusion(found))
    _save(output, "ensemble", ensembles.figure, found, title)
    ensembles.write_csv(output / "results.csv", found)
    results = {
        "ways": ensembles.records(found),
        "ensemble_over_mc_dropout": ensembles.advantages(found),
    }
    _write(output, about, results)


def _strengths(
    methods: Sequence[Method],
    setting: Setting,
    images: Images,
    output: Path,
    about: dict,
) -> None:
    title, num_samples = about["title"], setting.num_samples
    outcomes = studies.by_strength(methods, setting.recipe, images, setting.budget)
    show(
        studies.scores_table(outcomes, title=title, num_samples=num_samples),
        studies.representation_table(outcomes),
        width=120,
    )
    where = f"On {title.partition(', ')[2]}"
    print(studies.conclusion(outcomes, where=where))
    studies.write_scores(output / "results.csv", outcomes)
    records = [studies.as_record(outcome) for outcome in outcomes]
    found = studies.gains_over_first(outcomes) if len(outcomes) > 1 else []
    about = about | {
        "gains_over": outcomes[0].method.name,
        "gains": {gain.name: gain._asdict() for gain in found},
    }
    _write(output, about, records)
    _save(output, "representations", figures.representations, outcomes, title)
    few = studies.best(outcomes)
    if len(few) < len(outcomes):
        number = len(outcomes) - 1
        title = f"{title}, the best {len(few) - 1} of {number} methods by validation"
    for name, draw in (
        ("strengths", figures.strengths),
        ("learning_curves", figures.learning_curves),
        ("reliability_diagrams", figures.reliability_diagrams),
    ):
        _save(output, name, draw, few, title)


def _save(
    output: Path, name: str, draw: Callable[..., Figure], results: object, title: str
) -> None:
    save(draw(results, title=title), output / f"{name}.png")


def _write(output: Path, about: dict, results: object) -> None:
    write_results(output / "results.json", about | {"results": results})
