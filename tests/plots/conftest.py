"""Draws without a display."""

import matplotlib as mpl

mpl.use("Agg")
