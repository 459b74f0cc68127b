"""Masks as values: which entries survive. ``True`` means kept.

A mask is a function of key, shape and rate alone: not of the dtype of the data, of x64
mode, of jit, of sharding or of the device. Masks drawn at different rates from one key
are nested: what is kept at a rate is kept at every lower rate.

- :func:`bernoulli`: each entry independently.
- :func:`exact`: an exact number of entries.
- :func:`blocks`: contiguous blocks, of every shape and rank.
- :func:`masksembles`: a fixed set of masks with a chosen overlap.
- :func:`survives`: random bits compared with a keep probability.
- :func:`keep_probability`: ``1 - rate``, as all masks and scales use it.
- :func:`apply`: zeroes what a mask drops and rescales the rest.
"""

from jaxdrop._masks import apply as apply
from jaxdrop._masks import bernoulli as bernoulli
from jaxdrop._masks import blocks as blocks
from jaxdrop._masks import exact as exact
from jaxdrop._masks import keep_probability as keep_probability
from jaxdrop._masks import masksembles as masksembles
from jaxdrop._masks import survives as survives

__all__ = [
    "apply",
    "bernoulli",
    "blocks",
    "exact",
    "keep_probability",
    "masksembles",
    "survives",
]


def __dir__() -> list[str]:
    return sorted(__all__)
