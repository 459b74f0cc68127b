"""A plot of masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jax.typing import ArrayLike

from jaxdrop.plots._canvas import BLUE, check_some, figure_of, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def mask(kept: ArrayLike, /, *, ax: Axes | None = None) -> Figure:
    """Draws the kept entries of a mask dark, and the dropped ones light.

    Args:
      kept: a boolean mask, ``True`` where kept: ``(n,)``, ``(rows, columns)``, or
        ``(panels, rows, columns)``, such as the examples or the channels of a batch.
      ax: where to draw a single panel; a new figure if None.

    Returns:
      The figure; the share that is dropped stands above each panel.

    Raises:
      ValueError: if the mask is empty, or has no or more than three axes, or several
        panels are to be drawn into one.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import plots
      >>> figure = plots.mask(jnp.ones((3, 8, 8), bool))
      >>> len(figure.axes), figure.axes[0].get_title()
      (3, '0 % dropped')
    """
    from matplotlib.colors import ListedColormap

    shown = np.asarray(kept).astype(bool)
    if not 1 <= shown.ndim <= 3:
        raise ValueError(f"a mask of 1, 2 or 3 axes can be drawn, got {shown.shape}.")
    check_some(shown, name="kept")
    shown = shown.reshape((1,) * (3 - shown.ndim) + shown.shape)
    if ax is not None and len(shown) > 1:
        raise ValueError(f"{len(shown)} panels do not fit one ax; leave ax out.")
    colors = ListedColormap(["#e3e8ee", BLUE])
    axes = [ax] if ax is not None else panels(len(shown), shown.shape[1:])
    for panel, place in zip(shown, axes, strict=True):
        place.imshow(panel, cmap=colors, vmin=0, vmax=1, interpolation="nearest")
        place.set(xticks=[], yticks=[])
        dropped = 100 * (1 - panel.mean())
        place.set_title(f"{dropped:.3g} % dropped", fontsize="medium")
    return figure_of(axes[0])
