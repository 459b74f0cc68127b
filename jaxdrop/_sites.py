"""Named, jitted implementations, by which techniques are found in traced programs.

The implementation of each technique, and of each function that draws bits, is a jitted
function whose name (``jaxdrop.dropout``) is visible in the traced program. An eager
call costs one dispatch instead of one for each operation, and a model with many sites
traces each distinct one once. Each implementation declares the traits that
:mod:`jaxdrop.diagnostics` needs to judge its use.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, ParamSpec, TypeVar

import jax

_P = ParamSpec("_P")
_R = TypeVar("_R")

Draws = Literal["mask", "noise", "nothing"]
ActsOn = Literal[
    "entries",
    "regions",
    "attention",
    "bits",
    "branches",
    "inputs",
    "states",
    "tokens",
    "weights",
]


@dataclasses.dataclass(frozen=True)
class Traits:
    """The properties of a technique that are not visible in a traced program.

    Attributes:
      draws: ``"mask"`` where random bits are compared with the keep probability,
        ``"noise"`` for any other random values, or ``"nothing"``.
      acts_on: ``"entries"`` or ``"regions"`` (channels or blocks) of activations, which
        are multiplied by noise; or another kind of data.
      adds_variance: activations have more variance in training than in evaluation,
        which a later batch normalization would include in its statistics. False if the
        method was published for use before batch normalization.
      breaks_selu: the mean and variance that SELU preserves are changed.
      resizes: the size of the output depends on the rate.
      redraws: the mask is drawn again for the backward pass, and never kept.
    """

    draws: Draws
    acts_on: ActsOn
    adds_variance: bool = False
    breaks_selu: bool = False
    resizes: bool = False
    redraws: bool = False


_DECLARED: dict[str, Traits] = {}


def site(
    name: str,
    /,
    *,
    draws: Draws,
    acts_on: ActsOn,
    adds_variance: bool = False,
    breaks_selu: bool = False,
    resizes: bool = False,
    redraws: bool = False,
    static: tuple[str, ...] = (),
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Makes a function the named, jitted implementation of a technique.

    Args:
      name: the public name of the technique, as it appears in programs.
      draws: see :class:`Traits`, as for the next five.
      acts_on: the kind of data.
      adds_variance: whether it adds variance in training.
      breaks_selu: whether it breaks self-normalization.
      resizes: whether the size of the output depends on the rate.
      redraws: whether the backward pass draws the mask again.
      static: the names of static arguments.
    """
    _DECLARED[name] = Traits(
        draws, acts_on, adds_variance, breaks_selu, resizes, redraws
    )

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        function.__name__ = function.__qualname__ = name
        jitted: Callable[_P, _R] = jax.jit(function, static_argnames=static)
        return jitted

    return decorate


def traits_of(name: str, /) -> Traits:
    """The declared traits of a technique, by its name in a program."""
    return _DECLARED.get(name, Traits("noise", "bits"))
