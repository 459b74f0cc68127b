"""Conducts a study: trains and measures, prints tables, writes files."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import jax
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from comparison import figures, studies, study_figures, study_report
from comparison.method import Method
from comparison.methods import ALL_METHODS
from comparison.studies import Budget
from comparison.training import Recipe
from data import Images

_DIGITS = Recipe(
    hidden=(256, 256),
    rates=(0.1, 0.3),
    standardize=True,
    epochs=100,
    batch_size=50,
    learning_rate=3e-3,
)
_MNIST = Recipe(
    hidden=(256, 256),
    rates=(0.2, 0.5),
    standardize=False,
    epochs=100,
    batch_size=100,
    learning_rate=1e-3,
)
_RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a study uses of a data set.

    Attributes:
      recipe: how its networks are trained.
      train_size: how many training images there are; None for all.
      num_seeds: how many networks each strength trains.
      sizes: the numbers of training images, if they are what is studied.
    """

    recipe: Recipe
    train_size: int | None = None
    num_seeds: int = 5
    sizes: tuple[int, ...] = ()


SETTINGS = {
    ("strengths", "digits"): Setting(recipe=replace(_DIGITS, hidden=(128, 128))),
    ("strengths", "mnist"): Setting(
        recipe=replace(_MNIST, hidden=(128, 128), epochs=50), train_size=1000
    ),
    ("rate", "digits"): Setting(recipe=_DIGITS),
    ("rate", "mnist"): Setting(recipe=replace(_MNIST, epochs=50), train_size=5000),
    ("size", "digits"): Setting(
        recipe=_DIGITS, num_seeds=10, sizes=(20, 50, 100, 200, 350, 500)
    ),
    ("size", "mnist"): Setting(
        recipe=replace(_MNIST, epochs=10, decay=0.8),
        sizes=(100, 500, 1000, 5000, 10_000, 50_000),
    ),
    ("table9", "digits"): Setting(recipe=_DIGITS),
    ("table9", "mnist"): Setting(recipe=_MNIST, train_size=5000),
}
STUDIES = tuple(dict.fromkeys(study for study, _ in SETTINGS))
DATASETS = tuple(dict.fromkeys(dataset for _, dataset in SETTINGS))


def quick(setting: Setting) -> Setting:
    """The same with hardly any training, to see that all works."""
    recipe = replace(setting.recipe, hidden=(16, 16), epochs=2)
    sizes = setting.sizes[:1] + setting.sizes[-1:]
    return replace(setting, recipe=recipe, num_seeds=2, sizes=sizes)


def conduct(
    study: str,
    setting: Setting,
    images: Images,
    output: Path,
    *,
    title: str,
    methods: list[Method] | None = None,
    num_samples: int = 50,
) -> None:
    """Conducts a study.

    Args:
      study: which, one of ``STUDIES``.
      setting: what is trained.
      images: the data.
      output: the folder that files are written to.
      title: what tables and figures are called.
      methods: the methods of a study of strengths; by default all.
      num_samples: how many Monte-Carlo samples a prediction is the mean of.
    """
    output.mkdir(parents=True, exist_ok=True)
    budget = Budget(num_seeds=setting.num_seeds, num_samples=num_samples)
    about = {
        "study": study,
        "title": title,
        "train_images": len(images.train.y),
        "recipe": asdict(setting.recipe),
        "num_seeds": budget.num_seeds,
        "num_samples": num_samples,
        "backend": jax.default_backend(),
    }
    start = time.perf_counter()
    if study == "rate":
        _rates(setting, images, budget, output, about)
    elif study == "size":
        _sizes(setting, images, budget, output, about)
    else:
        chosen = studies.table_9() if study == "table9" else methods
        _strengths(list(chosen or ALL_METHODS), setting, images, budget, output, about)
    print(f"Study {study}: {time.perf_counter() - start:.0f} s in all.")
    print(f"Wrote {', '.join(sorted(p.name for p in output.iterdir()))} to {output}.")


def _rates(
    setting: Setting, images: Images, budget: Budget, output: Path, about: dict
) -> None:
    measured = studies.by_rate(_RATES, setting.recipe, images, budget)
    _print(study_report.rate_table(measured, title=about["title"]))
    _save(output, "rate", study_figures.rates, measured, about["title"])
    study_report.write_measured(output / "results.csv", measured)
    study_report.write_json(output / "results.json", about, measured._asdict())


def _sizes(
    setting: Setting, images: Images, budget: Budget, output: Path, about: dict
) -> None:
    sizes = tuple(size for size in setting.sizes if size <= len(images.train.y))
    measured = studies.by_size(sizes, setting.recipe, images, budget)
    _print(study_report.size_table(measured, title=about["title"]))
    _save(output, "size", study_figures.sizes, measured, about["title"])
    study_report.write_measured(output / "results.csv", measured)
    study_report.write_json(output / "results.json", about, measured._asdict())


def _strengths(
    methods: list[Method],
    setting: Setting,
    images: Images,
    budget: Budget,
    output: Path,
    about: dict,
) -> None:
    title, num_samples = about["title"], budget.num_samples
    outcomes = studies.by_strength(methods, setting.recipe, images, budget)
    _print(
        study_report.scores_table(outcomes, title=title, num_samples=num_samples),
        study_report.representation_table(outcomes),
    )
    study_report.write_scores(output / "results.csv", outcomes)
    records = [study_report.as_record(outcome) for outcome in outcomes]
    study_report.write_json(output / "results.json", about, records)
    for name, draw in (
        ("strengths", study_figures.strengths),
        ("representations", study_figures.representations),
        ("learning_curves", figures.learning_curves),
        ("reliability_diagrams", figures.reliability_diagrams),
    ):
        _save(output, name, draw, outcomes, title)


def _print(*tables: Table) -> None:
    for table in tables:
        Console(width=max(120, Console().width)).print(table)


def _save(
    output: Path, name: str, draw: Callable[..., Figure], results: object, title: str
) -> None:
    draw(results, title=title).savefig(output / f"{name}.png", dpi=150)
