"""Conducts a study: trains and measures, prints tables, writes files."""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

from comparison import (
    ensemble_report,
    ensembles,
    figures,
    sizes,
    studies,
    study_figures,
    study_report,
)
from comparison.method import Method
from comparison.methods import ALL_METHODS
from comparison.sizes import Rule
from comparison.studies import Budget
from data import DataError, Images, load
from study.files import save
from study.recipe import ImageRecipe
from study.tables import show

_DIGITS = ImageRecipe(
    hidden=(256, 256),
    rates=(0.1, 0.3),
    standardize=True,
    epochs=100,
    batch_size=50,
    learning_rate=3e-3,
)
_MNIST = ImageRecipe(
    hidden=(256, 256),
    rates=(0.2, 0.5),
    standardize=False,
    epochs=100,
    batch_size=100,
    learning_rate=1e-3,
)
_SIZE_RATES = (0.0, 0.2, 0.5)
_RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a study uses of a data set.

    Attributes:
      recipe: how its networks are trained.
      train_size: how many training images there are; None for all.
      num_seeds: how many networks each strength trains.
      sizes: the numbers of training images, if they are what is studied.
      rule: how long networks are trained then; the recipe's epochs have no meaning.
    """

    recipe: ImageRecipe
    train_size: int | None = None
    num_seeds: int = 5
    sizes: tuple[int, ...] = ()
    rule: Rule | None = None


SETTINGS = {
    ("strengths", "digits"): Setting(recipe=replace(_DIGITS, hidden=(128, 128))),
    ("strengths", "mnist"): Setting(
        recipe=replace(_MNIST, hidden=(128, 128), epochs=50), train_size=1000
    ),
    ("rate", "digits"): Setting(recipe=_DIGITS),
    ("rate", "mnist"): Setting(recipe=replace(_MNIST, epochs=50), train_size=5000),
    ("size", "digits"): Setting(
        recipe=_DIGITS,
        num_seeds=10,
        sizes=(20, 50, 100, 200, 350, 500),
        rule=Rule(check=10, patience=300, epochs=5, most=4000),
    ),
    ("size", "mnist"): Setting(
        recipe=replace(_MNIST, decay=0.93),
        num_seeds=3,
        sizes=(100, 1000, 10_000, 50_000),
        rule=Rule(check=250, patience=1000, epochs=5, most=20_000),
    ),
    ("ensemble", "digits"): Setting(recipe=_DIGITS),
    ("ensemble", "mnist"): Setting(
        recipe=replace(_MNIST, epochs=30), train_size=1000, num_seeds=3
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
    rule = setting.rule and replace(setting.rule, most=3 * setting.rule.check)
    return replace(setting, recipe=recipe, num_seeds=3, sizes=sizes, rule=rule)


def conduct(
    study: str,
    setting: Setting,
    images: Images,
    output: Path,
    *,
    title: str,
    methods: list[Method] | None = None,
    num_samples: int = 50,
    data_dir: Path | None = None,
) -> None:
    """Conducts a study.

    Args:
      study: which, one of ``STUDIES``.
      setting: what is trained.
      images: the data.
      output: the folder that files are written to.
      title: what tables and figures are called.
      methods: the methods of a study of strengths or of table 9; by default all.
      num_samples: how many Monte-Carlo samples a prediction is the mean of.
      data_dir: where the letters are that a study of ensembles on MNIST takes for
        images of no class; by default the variable ``JAXDROP_DATA``.
    """
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
    elif study == "ensemble":
        others = _strange(images, data_dir)
        _ensembles(setting, images, others, budget, output, about)
    else:
        chosen = list(methods or ALL_METHODS)
        if study == "table9":
            names = {method.name for method in chosen}
            chosen = [one for one in studies.table_9() if one.name in names]
        _strengths(chosen, setting, images, budget, output, about)
    print(f"Study {study}: {time.perf_counter() - start:.0f} s in all.")
    print(f"Wrote {', '.join(sorted(p.name for p in output.iterdir()))} to {output}.")


def _rates(
    setting: Setting, images: Images, budget: Budget, output: Path, about: dict
) -> None:
    measured = studies.by_rate(_RATES, setting.recipe, images, budget)
    show(study_report.rate_table(measured, title=about["title"]), width=120)
    _save(output, "rate", study_figures.rates, measured, about["title"])
    study_report.write_measured(output / "results.csv", measured)
    study_report.write_json(output / "results.json", about, measured._asdict())


def _sizes(
    setting: Setting, images: Images, budget: Budget, output: Path, about: dict
) -> None:
    most = len(images.train.y)
    numbers = tuple(size for size in setting.sizes if size <= most)
    title = f"{about['title'].split(':')[0]}: {setting.rule}"
    about = {**about, "title": title, "rule": asdict(setting.rule)}
    about["recipe"] = {k: v for k, v in about["recipe"].items() if k != "epochs"}
    found = sizes.by_size(
        numbers, _SIZE_RATES, setting.recipe, setting.rule, images, budget.seeds
    )
    show(study_report.size_table(found, title=title), width=120)
    _save(output, "size", study_figures.sizes, found, title)
    study_report.write_sizes(output / "results.csv", found)
    records = study_report.size_records(found)
    study_report.write_json(output / "results.json", about, records)


def _strange(images: Images, data_dir: Path | None) -> np.ndarray:
    """Images of no class: letters for MNIST, else digits with shuffled pixels."""
    if images.shape != (28, 28):
        return ensembles.strange(images)
    try:
        return load("notmnist", data_dir).test.x
    except DataError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def _ensembles(
    setting: Setting,
    images: Images,
    others: np.ndarray,
    budget: Budget,
    output: Path,
    about: dict,
) -> None:
    found = ensembles.compare(
        setting.recipe,
        images,
        others,
        num_seeds=budget.num_seeds,
        num_samples=budget.num_samples,
    )
    title = about["title"]
    show(ensemble_report.table(found, title=title), width=120)
    print(ensemble_report.conclusion(found))
    _save(output, "ensemble", ensemble_report.figure, found, title)
    ensemble_report.write_csv(output / "results.csv", found)
    results = {
        "ways": ensemble_report.records(found),
        "ensemble_over_mc_dropout": ensemble_report.advantages(found),
    }
    study_report.write_json(output / "results.json", about, results)


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
    show(
        study_report.scores_table(outcomes, title=title, num_samples=num_samples),
        study_report.representation_table(outcomes),
        width=120,
    )
    where = f"On {title.partition(', ')[2]}"
    print(study_report.conclusion(outcomes, where=where))
    study_report.write_scores(output / "results.csv", outcomes)
    records = [study_report.as_record(outcome) for outcome in outcomes]
    found = study_report.gains_over_first(outcomes) if len(outcomes) > 1 else []
    about = about | {
        "gains_over": outcomes[0].method.name,
        "gains": {gain.name: gain._asdict() for gain in found},
    }
    study_report.write_json(output / "results.json", about, records)
    _save(output, "representations", study_figures.representations, outcomes, title)
    few = studies.best(outcomes)
    if len(few) < len(outcomes):
        number = len(outcomes) - 1
        title = f"{title}, the best {len(few) - 1} of {number} methods by validation"
    for name, draw in (
        ("strengths", study_figures.strengths),
        ("learning_curves", figures.learning_curves),
        ("reliability_diagrams", figures.reliability_diagrams),
    ):
        _save(output, name, draw, few, title)


def _save(
    output: Path, name: str, draw: Callable[..., Figure], results: object, title: str
) -> None:
    save(draw(results, title=title), output / f"{name}.png")
