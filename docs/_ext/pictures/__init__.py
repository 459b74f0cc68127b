"""The pictures of the site, drawn while it is built."""

import pathlib

from pictures import canvas, home, images, networks, noise, sequences, studies

DRAWINGS = {
    **home.DRAWINGS,
    **images.DRAWINGS,
    **networks.DRAWINGS,
    **noise.DRAWINGS,
    **sequences.DRAWINGS,
    **studies.DRAWINGS,
}
"""A function that returns a figure, by the name of the picture."""


def draw_all(app: object) -> None:
    """Draws what is missing or measured; without ``docs/_pictures``, everything."""
    folder = pathlib.Path(app.srcdir) / "_pictures"
    folder.mkdir(exist_ok=True)
    for name, drawing in DRAWINGS.items():
        path = folder / f"{name}.svg"
        if name in home.DRAWINGS | studies.DRAWINGS or not path.exists():
            canvas.save(drawing, path)


def setup(app: object) -> dict[str, bool]:
    """Registers the step with Sphinx."""
    app.connect("builder-inited", draw_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
