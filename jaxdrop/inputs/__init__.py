"""Noise on data: on pixels, on whole examples and their labels, on embeddings.

Pure functions of a key and a batch, for use inside a jitted training step or before it.
Under ``vmap`` over keys they treat each example like an example of a batch; except
mixup and cutmix, which mix the examples of a batch.

- :func:`cutmix`: pastes boxes of other images, and mixes labels by area.
- :func:`cutout`: erases squares of fixed size at random places.
- :func:`embedding_noise`: uniform noise on embedded tokens (NEFTune).
- :func:`gaussian_noise`: normal noise on every entry.
- :func:`mixup`: convex combinations of pairs of examples and of their labels.
- :func:`random_erasing`: erases boxes of random size and shape.
"""

from jaxdrop.inputs._cutmix import cutmix
from jaxdrop.inputs._cutout import cutout
from jaxdrop.inputs._embedding_noise import embedding_noise
from jaxdrop.inputs._gaussian_noise import gaussian_noise
from jaxdrop.inputs._mixup import mixup
from jaxdrop.inputs._random_erasing import random_erasing

__all__ = (
    "cutmix",
    "cutout",
    "embedding_noise",
    "gaussian_noise",
    "mixup",
    "random_erasing",
)


def __dir__() -> list[str]:
    return sorted(__all__)
