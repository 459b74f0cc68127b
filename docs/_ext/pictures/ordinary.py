"""The picture of a technique on activations that has no function of its own."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxdrop
from pictures.canvas import labelled, photograph, triptych

KEY = jax.random.key(7)
RATE = 0.2


def picture(name: str) -> Figure:
    """Draws what ``jaxdrop.NAME(key, x, rate=...)`` does to positions with features.

    Raises:
      ValueError: if the technique needs more, or does the same to all of an example.
    """
    try:
        technique = functools.partial(getattr(jaxdrop, name), KEY, rate=RATE)
        figure = panels(technique, f"rate {RATE}")
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"docs/gallery/{name}.md needs a function {name} in docs/_ext/pictures, "
            f"which draws its picture, since jaxdrop.{name}(key, x, rate={RATE}) with "
            f"one example of 96 positions and 120 features cannot be drawn: {error}"
        ) from error
    labelled(figure.axes[1], "features", "positions")
    return figure


def panels(technique: Callable[[jax.Array], jax.Array], knobs: str) -> Figure:
    """A photograph, the mask or the factors of a technique, and their product.

    Each colour of the photograph is an example, ``(1, 96, 120)``, and all are given the
    same draw. Without factors if the technique does more than to multiply.
    """
    x = photograph()
    y = np.stack([technique(jnp.asarray(x[None, ..., i]))[0] for i in range(3)], -1)
    factors = np.asarray(technique(jnp.ones((1, *x.shape[:2])))[0])
    if not np.allclose(y, x * factors[..., None], atol=1e-5):
        return triptych(("input", f"output, {knobs}"), (x, y))
    if np.ptp(factors) == 0:
        raise ValueError("all entries of the example have the same factor")
    kept = factors != 0
    if np.ptp(factors[kept]) < 1e-5:  # shown without the division by 1 - rate
        arrays = (x, kept.astype(float), x * kept[..., None])
        return triptych(("input", f"mask, {knobs}", "kept"), arrays)
    return triptych(("input", f"factors, {knobs}", "product"), (x, factors / 2, y))
