"""Samples of logits, and the information in labels by brute force."""

import numpy as np
from scipy import special


def logits(samples, points, classes, *, scale=2.0, seed=0):
    rng = np.random.default_rng(seed)
    return (scale * rng.normal(size=(samples, points, classes))).astype(np.float32)


def probabilities(given):
    return special.softmax(np.asarray(given, np.float64), -1)


def joint_information(given, points):
    """I(y_1, ..., y_n; w), by going through all labels, in float64."""
    p = probabilities(given)
    table = np.ones((len(p), 1))
    for point in points:
        table = (table[:, :, None] * p[:, None, point]).reshape(len(p), -1)
    conditional = special.entr(p[:, list(points)]).sum(-1).mean(0).sum()
    return special.entr(table.mean(0)).sum() - conditional
