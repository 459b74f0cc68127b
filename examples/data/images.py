"""Small images of ten classes, with fixed training, validation and test splits.

========  ======  ==========  ======  ================================================
name       train  validation    test  how it is split
========  ======  ==========  ======  ================================================
digits       500         297   1 000  a fixed permutation of scikit-learn's images
mnist     50 000      10 000  10 000  the last 10 000 of the training file validate
notmnist   7 000         804   2 000  a fixed permutation of the distinct letters
========  ======  ==========  ======  ================================================

``digits`` comes with scikit-learn. The others are read from gzipped idx files, under
their usual names, in folders ``mnist`` and ``notmnist`` (letters A to J in the format
of MNIST's test set).
"""

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.files import DataError, find


class Split(NamedTuple):
    """Images with their classes.

    Attributes:
      x: ``(n, pixels)``, float32 from 0 to 1, row by row.
      y: ``(n,)``, int32 from 0 to 9.
    """

    x: np.ndarray
    y: np.ndarray

    def take(self, rows: slice | np.ndarray) -> "Split":
        """The same of some rows."""
        return Split(self.x[rows], self.y[rows])


class Images(NamedTuple):
    """A data set.

    Attributes:
      train: to fit parameters.
      validation: to choose hyper-parameters.
      test: to report.
      shape: (height, width): ``x.reshape(-1, *shape)`` are images again.
    """

    train: Split
    validation: Split
    test: Split
    shape: tuple[int, int]

    def standardized(self) -> "Images":
        """The same, with training pixels that have mean 0 and variance 1 in all."""
        mean, deviation = self.train.x.mean(), self.train.x.std()
        splits = (Split((x - mean) / deviation, y) for x, y in self[:3])
        return Images(*splits, shape=self.shape)


def load(
    name: str, data_dir: str | Path | None = None, *, train_size: int | None = None
) -> Images:
    """Loads a data set.

    Args:
      name: ``"digits"``, ``"mnist"`` or ``"notmnist"``.
      data_dir: where the files are; by default the variable ``JAXDROP_DATA``.
      train_size: keep only so many training images, the first ones.

    Returns:
      The data set. Two calls give the same splits, on any machine; a smaller
      ``train_size`` gives a part of what a larger one does, and changes neither
      validation nor test.

    Raises:
      DataError: if the name is unknown, files are missing or damaged, or there are not
        ``train_size`` images.
    """
    if name not in _LOADERS:
        raise DataError(f"there is no data set {name!r}: choose from {NAMES}.")
    images = _LOADERS[name](data_dir)
    available = len(images.train.y)
    if train_size is None:
        return images
    if not 1 <= train_size <= available:
        raise DataError(
            f"{name} has {available} training images: the training size must be from "
            f"1 to {available}, got {train_size}."
        )
    return images._replace(train=images.train.take(slice(train_size)))


def _digits(data_dir: str | Path | None) -> Images:
    del data_dir  # they are installed with scikit-learn
    from sklearn.datasets import load_digits

    digits = load_digits()
    split = Split((digits.data / 16).astype(np.float32), digits.target.astype(np.int32))
    return _shuffled(split, sizes=(500, 297, 1000), shape=(8, 8))


def _mnist(data_dir: str | Path | None) -> Images:
    names = [
        f"{part}-{kind}.gz"
        for part in ("train", "t10k")
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ]
    *both, test_images, test_labels = find("mnist", *names, data_dir=data_dir)
    full, test = _read(*both), _read(test_images, test_labels)
    _check_number(full, 60_000, "mnist's training files")
    _check_number(test, 10_000, "mnist's test files")
    return Images(
        train=full.take(slice(50_000)),
        validation=full.take(slice(50_000, None)),
        test=test,
        shape=(28, 28),
    )


def _notmnist(data_dir: str | Path | None) -> Images:
    names = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    letters = _read(*find("notmnist", *names, data_dir=data_dir))
    _, first = np.unique(letters.x, axis=0, return_index=True)
    letters = letters.take(np.sort(first))  # no letter in two splits
    _check_number(letters, 9804, "notmnist without repetitions")
    return _shuffled(letters, sizes=(7000, 804, 2000), shape=(28, 28))


_LOADERS = {"digits": _digits, "mnist": _mnist, "notmnist": _notmnist}
NAMES = tuple(_LOADERS)


def _shuffled(
    split: Split, *, sizes: tuple[int, ...], shape: tuple[int, int]
) -> Images:
    """Cuts a permutation that stays as it is: RandomState never changes its stream."""
    order = np.random.RandomState(0).permutation(len(split.y))
    parts = np.split(order, np.cumsum(sizes)[:-1])
    return Images(*(split.take(rows) for rows in parts), shape=shape)


def _check_number(split: Split, expected: int, what: str) -> None:
    """Other files would give other splits than those that results are quoted for."""
    if len(split.y) != expected:
        raise DataError(f"{what}: expected {expected} images, got {len(split.y)}.")


def _read(images: Path, labels: Path) -> Split:
    pixels = _read_idx(images)
    x = pixels.reshape(len(pixels), -1).astype(np.float32) / 255
    return Split(x, _read_idx(labels).astype(np.int32))


def _read_idx(path: Path) -> np.ndarray:
    """Reads a gzipped idx file of bytes: a magic number, the shape, then the data."""
    try:
        content = gzip.decompress(path.read_bytes())
        rank = content[3]
        shape = np.frombuffer(content, ">u4", count=rank, offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, IndexError, ValueError, zlib.error) as error:
        raise DataError(f"{path} is not a gzipped idx file: {error}.") from error
