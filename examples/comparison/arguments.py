"""The command line of ``compare_regularizers.py``, and the data that it names."""

import argparse
from dataclasses import replace

import numpy as np

from comparison import conduct
from comparison.conduct import Setting
from comparison.method import Method
from comparison.methods import ALL_METHODS, METHODS
from data import DataError, Images, load
from study.arguments import add_data, add_names, add_training, parser_of

_DATASETS = ("digits", "mnist", "notmnist")
_QUICK = ("none", "dropout")
STRANGE = {
    "shuffled": "test images with shuffled pixels",
    "rotated": "test images turned by 90 degrees",
    "letters": "letters of notmnist",
}


def parser(description: str) -> argparse.ArgumentParser:
    """All options, and what the script does."""
    new = parser_of(description, compiles_much=True)
    names = [method.key for method in ALL_METHODS]
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
    add("--study", choices=conduct.STUDIES, help="sweep strengths, see above")
    return new


def methods_of(args: argparse.Namespace) -> list[Method]:
    """The methods that are named; by default two, the ten, or all that a study has."""
    usual = ALL_METHODS if args.study else METHODS
    keys = args.methods or [method.key for method in usual]
    if args.quick and not args.methods:
        keys = _QUICK
    return [method for method in ALL_METHODS if method.key in keys]


def images_of(
    args: argparse.Namespace,
    parser: argparse.ArgumentParser,
    train_size: int | None = None,
) -> Images:
    """The data set, of which a study may use a part."""
    try:
        return load(args.dataset, args.data_dir, train_size=train_size)
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
    return kind, np.random.default_rng(0).permuted(images.test.x, axis=1)


def setting_of(args: argparse.Namespace, parser: argparse.ArgumentParser) -> Setting:
    """What ``--study`` trains; options that it would ignore are refused."""
    if args.methods and args.study != "strengths":
        parser.error(
            f"--study {args.study} has methods of its own: leave --methods out, or use "
            "--study strengths."
        )
    if args.strengths == "usual" or args.strange:
        parser.error("--strengths and --strange are not options of a --study.")
    if args.epochs and args.study == "size":
        parser.error("--study size trains by a rule: leave --epochs out.")
    setting = conduct.SETTINGS.get((args.study, args.dataset))
    if setting is None:
        parser.error(f"--study {args.study} takes {' or '.join(conduct.DATASETS)}.")
    if setting.sizes and (args.train_size or setting.sizes[0]) < setting.sizes[0]:
        parser.error(
            f"--study size starts with {setting.sizes[0]} images: --train-size must be "
            f"at least that, got {args.train_size}."
        )
    if args.quick:
        setting = conduct.quick(setting)
    recipe = setting.recipe.given(epochs=args.epochs)
    return replace(setting, recipe=recipe, num_seeds=args.seeds or setting.num_seeds)
