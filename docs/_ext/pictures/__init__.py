"""The pictures of the site, drawn while it is built.

A public function without parameters in one of the files below draws the picture of its
name.
"""

import inspect
import pathlib
from collections.abc import Callable
from types import ModuleType

from matplotlib.figure import Figure

from pictures import canvas, home, images, networks, noise, sequences, studies


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
DRAWINGS = MEASURED | drawings(images, networks, noise, sequences)
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
