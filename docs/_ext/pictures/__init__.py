"""The pictures of the site, drawn while it is built.

A public function without parameters in one of the files below draws the picture of its
name. Those of other pages of the gallery are derived from their techniques.
"""

import functools
import inspect
import pathlib
from collections.abc import Callable
from types import ModuleType

from gallery import pages_of
from matplotlib.figure import Figure

from pictures import (
    canvas,
    home,
    images,
    networks,
    noise,
    ordinary,
    sequences,
    studies,
)


def drawings(*modules: ModuleType) -> dict[str, Callable[[], Figure]]:
    """The functions that draw, by the names of their pictures."""
    return {
        name: function
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and not inspect.signature(function).parameters
    }


MEASURED = drawings(home, studies)
OWN = MEASURED | drawings(images, networks, noise, sequences)
GALLERY = pathlib.Path(__file__).parents[2] / "gallery"
DERIVED = {
    page.stem: functools.partial(ordinary.picture, page.stem)
    for page in pages_of(GALLERY)
    if page.stem not in OWN
}
DRAWINGS = OWN | DERIVED
"""A function that returns a figure, by the name of the picture."""


def draw_all(app: object) -> None:
    """Draws what is missing or measured; without ``docs/_pictures``, everything."""
    folder = pathlib.Path(app.srcdir) / "_pictures"
    folder.mkdir(exist_ok=True)
    for name, drawing in DRAWINGS.items():
        path = folder / f"{name}.svg"
        if name in MEASURED or not path.exists():
            canvas.save(drawing, path)


def setup(app: object) -> dict[str, bool]:
    """Registers the step with Sphinx."""
    app.connect("builder-inited", draw_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
