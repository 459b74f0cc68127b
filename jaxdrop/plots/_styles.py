"""The colours, line styles and markers that every plot takes its series from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxdrop._errors import named

# Distances of colours in normal vision, and as protanopes and deuteranopes see them,
# are at least 14 (CIEDE2000); contrasts to white and to a black page are at least 3.
BLUE, ORANGE, GREEN = "#1552f9", "#fe4710", "#1aa75f"
PURPLE, SKY, RED = "#864f8b", "#089bea", "#c01c22"
GREY = "#808080"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
_LINES = ("-", "-.", ":", "--")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
BASELINE = "none"


@named
def styles(names: Sequence[str], /) -> dict[str, dict[str, Any]]:
    """A colour, a line style and a marker for each of several series.

    All plots of this package draw named series in these styles. The six colours differ
    for people with protanopia and deuteranopia too, on white and on dark pages. The
    first 24 series differ in the pair of colour and line style, and the first 42 in the
    pair of colour and marker. A series called ``none`` is grey and dashed wherever it
    stands, and does not take a colour from the others.

    Args:
      names: the names of the series, in order.

    Returns:
      Keyword arguments of ``Axes.plot`` by name: ``color``, ``linestyle``, ``marker``.

    Raises:
      TypeError: if ``names`` is a single string.

    Examples:
      >>> from jaxdrop import plots
      >>> found = plots.styles(["none", "dropout", "zoneout"])
      >>> found["none"]
      {'color': '#808080', 'linestyle': '--', 'marker': '.'}
      >>> found["dropout"]
      {'color': '#1552f9', 'linestyle': '-', 'marker': 'o'}
    """
    each = as_list(names)
    if isinstance(names, str) or each is None:
        raise TypeError(f"names must be a list of names, got {names!r}.")
    ranks = iter(range(len(each)))
    return {
        name: style_of(None if name == BASELINE else next(ranks))
        for name in dict.fromkeys(each)
    }


def style_of(rank: int | None, /) -> dict[str, Any]:
    """The style of the series with this number, or of the baseline if None."""
    if rank is None:
        return {"color": GREY, "linestyle": "--", "marker": "."}
    turn = rank // len(COLORS)
    return {
        "color": COLORS[rank % len(COLORS)],
        "linestyle": _LINES[(rank % len(COLORS) - turn) % len(_LINES)],
        "marker": _MARKERS[rank % len(_MARKERS)],
    }


def as_list(values: Any, /) -> list[Any] | None:
    """The entries of any iterable, also of a JAX array; None for what is not one."""
    try:
        return list(values)
    except TypeError:
        return None
