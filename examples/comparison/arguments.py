"""The command line of ``compare_regularizers.py``, its data, and its settings."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from comparison.method import Method
from comparison.search import TRIALS
from comparison.sizes import Rule
from comparison.training import Budget
from data import DataError, Images, load
from study.arguments import add_data, add_names, add_training, parser_of
from study.recipe import ImageRecipe

_DATASETS = ("digits", "mnist", "notmnist")
_QUICK = ("none", "dropout")
STRANGE = {
    "shuffled": "test images with shuffled pixels",
    "rotated": "test images turned by 90 degrees",
    "letters": "letters of notmnist",
}
_STUDIES = """
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


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the comparison, or a study, uses of a data set.

    Attributes:
      recipe: how its networks are trained.
      train_size: how many training images there are; None for all.
      num_seeds: how many networks each strength trains.
      num_samples: how many Monte-Carlo samples a prediction is the mean of.
      search_seeds: how many networks are trained at each strength that the comparison
        tries; None for the usual strengths.
      sizes: the numbers of training images, if they are what is studied.
      rule: how long networks are trained then; the recipe's epochs have no meaning.
    """

    recipe: ImageRecipe
    train_size: int | None = None
    num_seeds: int = 5
    num_samples: int = 50
    search_seeds: int | None = None
    sizes: tuple[int, ...] = ()
    rule: Rule | None = None

    @property
    def budget(self) -> Budget:
        """What may be spent."""
        return Budget(num_seeds=self.num_seeds, num_samples=self.num_samples)

    def quick(self, *, epochs: int) -> "Setting":
        """The same with hardly any training, to see that all works."""
        return replace(
            self,
            recipe=replace(self.recipe, hidden=(16, 16), epochs=epochs),
            num_samples=5,
            sizes=self.sizes[:1] + self.sizes[-1:],
            rule=self.rule and replace(self.rule, most=3 * self.rule.check),
        )


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
_COMPARED_MNIST = Setting(recipe=replace(_MNIST, hidden=(800, 800)))
SETTINGS = {
    (None, "digits"): Setting(recipe=replace(_DIGITS, hidden=(128, 128)), num_seeds=15),
    (None, "mnist"): _COMPARED_MNIST,
    (None, "notmnist"): _COMPARED_MNIST,
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
STUDIES = tuple(dict.fromkeys(study for study, _ in SETTINGS if study))


def parser(description: str, methods: Sequence[Method]) -> argparse.ArgumentParser:
    """All options, and what the script does."""
    new = parser_of(f"{description}{_STUDIES}", compiles_much=True)
    names = [method.key for method in methods]
    add = new.add_argument
    add_data(new, _DATASETS, holds="mnist and notmnist")
    add_training(new, "train_size", "epochs", "seeds")
    note = "; by default the first ten, in a study all; the first is the baseline"
    add_names(new, "--methods", names, note=note)
    add(
        "--strengths",
        choices=("validation", "usual"),
        default="validation",
        help="chosen on validation images, or fixed",
    )
    add(
        "--strange",
        choices=STRANGE,
        help="the images of no class; by default shuffled, for mnist letters",
    )
    add("--study", choices=STUDIES, help="sweep strengths, see above")
    return new


def methods_of(
    args: argparse.Namespace, usual: Sequence[Method], every: Sequence[Method]
) -> list[Method]:
    """The methods that are named; by default two, the usual ones, or all in a study."""
    keys = args.methods or [method.key for method in (every if args.study else usual)]
    if args.quick and not args.methods:
        keys = _QUICK
    return [method for method in every if method.key in keys]


def images_of(
    args: argparse.Namespace, parser: argparse.ArgumentParser, setting: Setting
) -> Images:
    """The data set, of which a study may use a part."""
    try:
        return load(args.dataset, args.data_dir, train_size=setting.train_size)
    except DataError as error:
        parser.exit(2, f"{error}\n")


def strange_of(
    args: argparse.Namespace, parser: argparse.ArgumentParser, images: Images
) -> tuple[str, np.ndarray]:
    """Images of no class: their kind, and their pixels."""
    kind = args.strange or ("letters" if args.dataset == "mnist" else "shuffled")
    if kind == "rotated":
        pictures = images.test.x.reshape(-1, *images.shape)
        return kind, np.rot90(pictures, axes=(1, 2)).reshape(images.test.x.shape)
    if kind == "letters":
        if images.shape != (28, 28) or args.dataset == "notmnist":
            parser.error("--strange letters takes --dataset mnist.")
        try:
            return kind, load("notmnist", args.data_dir).test.x
        except DataError as error:
            if args.strange:
                parser.exit(2, f"{error}\n")
            kind = "shuffled"
    return kind, shuffled(images)


def shuffled(images: Images) -> np.ndarray:
    """Test images whose pixels are shuffled, each in its own way."""
    return np.random.default_rng(0).permuted(images.test.x, axis=1)


def setting_of(args: argparse.Namespace, parser: argparse.ArgumentParser) -> Setting:
    """What is trained; options that a study would ignore are refused."""
    if args.study and args.methods and args.study != "strengths":
        parser.error(
            f"--study {args.study} has methods of its own: leave --methods out, or use "
            "--study strengths."
        )
    if args.study and (args.strengths == "usual" or args.strange):
        parser.error("--strengths and --strange are not options of a --study.")
    if args.epochs and args.study == "size":
        parser.error("--study size trains by a rule: leave --epochs out.")
    setting = SETTINGS.get((args.study, args.dataset))
    if setting is None:
        of_study = [dataset for study, dataset in SETTINGS if study == args.study]
        parser.error(f"--study {args.study} takes {' or '.join(of_study)}.")
    if setting.sizes and (args.train_size or setting.sizes[0]) < setting.sizes[0]:
        parser.error(
            f"--study size starts with {setting.sizes[0]} images: --train-size must be "
            f"at least that, got {args.train_size}."
        )
    if args.quick:
        setting = setting.quick(epochs=2 if args.study else 5)
        setting = replace(setting, num_seeds=3 if args.study else 5)
    num_seeds, search_seeds = args.seeds or setting.num_seeds, None
    if args.strengths == "validation":
        search_seeds = max(1, num_seeds // TRIALS)
    return replace(
        setting,
        recipe=setting.recipe.given(epochs=args.epochs),
        train_size=args.train_size or setting.train_size,
        num_seeds=num_seeds,
        search_seeds=search_seeds,
    )


def title_of(args: argparse.Namespace, setting: Setting, images: Images) -> str:
    """What tables and figures are called."""
    size, epochs = len(images.train.y), setting.recipe.epochs
    return f"{args.dataset}: {size} training images, {epochs} epochs"
