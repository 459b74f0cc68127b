"""Predictions to draw, every plot of them, and what a legend says."""

import numpy as np
import pytest

from jaxdrop import plots

RNG = np.random.default_rng(0)
PROBS = RNG.dirichlet(np.ones(4), 60).astype(np.float32)
LABELS = RNG.integers(0, 4, 60)
CONFIDENCE, CORRECT = PROBS.max(-1), PROBS.argmax(-1) == LABELS
X = np.linspace(-1, 1, 9)

DRAWN = {
    "reliability_diagram": lambda **kw: plots.reliability_diagram(PROBS, LABELS, **kw),
    "rejection_curve": lambda **kw: plots.rejection_curve(CONFIDENCE, CORRECT, **kw),
    "uncertainty_histogram": lambda **kw: plots.uncertainty_histogram(
        {"all": CONFIDENCE}, **kw
    ),
    "predictive_band": lambda **kw: plots.predictive_band(
        X, X, X**2, samples=np.ones((2, 9)), observed=(X, X), **kw
    ),
    "learning_curves": lambda **kw: plots.learning_curves(
        {"a": X + 2, "b": np.ones((3, 9))}, **kw
    ),
    "rate_sweep": lambda **kw: plots.rate_sweep(X, {"a": X, "b": np.eye(9)}, **kw),
    "mask": lambda **kw: plots.mask(np.eye(5, dtype=bool), **kw),
}
for_every_plot = pytest.mark.parametrize("name", DRAWN)


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]
