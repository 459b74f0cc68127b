"""All splits of a data set as arrays of one shape, so that one program serves all."""

from typing import NamedTuple

import numpy as np

from data import Regression


class Splits(NamedTuple):
    """Splits, along the first axis of every array.

    Splits with fewer rows than the largest are filled up with rows of weight 0. Inputs
    and training targets have mean 0 and variance 1 over the training rows.

    Attributes:
      x: ``(splits, rows, features)``.
      y: ``(splits, rows)``.
      weight: ``(splits, rows)``: 1, and 0 where a row is not there.
      mean: ``(splits,)``: of the training targets.
      scale: ``(splits,)``: their standard deviation.
      test_x: as ``x``.
      test_y: ``(splits, rows)``, in the units of the data set.
      test_weight: as ``weight``.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    test_weight: np.ndarray

    @staticmethod
    def of(data: Regression) -> "Splits":
        """Cuts and standardizes a data set."""
        sizes = [max(map(len, rows)) for rows in (data.train, data.test)]
        splits = []
        for train, test in zip(data.train, data.test, strict=True):
            x, y = data.x[train], data.y[train]
            spread = np.where(x.std(0) > 0, x.std(0), 1)
            mean, scale = y.mean(), y.std()
            inside = (x - x.mean(0)) / spread, (y - mean) / scale, np.ones(len(y))
            unseen_x = (data.x[test] - x.mean(0)) / spread
            unseen = unseen_x, data.y[test], np.ones(len(test))
            splits.append(
                (
                    *(_filled(a, sizes[0]) for a in inside),
                    mean,
                    scale,
                    *(_filled(a, sizes[1]) for a in unseen),
                )
            )
        arrays = (
            np.stack(column).astype(np.float32) for column in zip(*splits, strict=True)
        )
        return Splits(*arrays)


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
    missing = [(0, size - len(rows))] + [(0, 0)] * (rows.ndim - 1)
    return np.pad(rows, missing)
