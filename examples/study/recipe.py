"""How networks are trained: what all scripts have in common, and perceptrons on images.

A script whose training takes more than this adds it in a subclass.
"""

from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained with Adam.

    Attributes:
      batch_size: the number of examples in a step.
      learning_rate: at its highest; schedules begin with it, after a warmup if any.
    """

    batch_size: int
    learning_rate: float

    def given(self, **values: Any) -> Self:
        """The same with other values in some fields; those that are None stay."""
        known = {name: value for name, value in values.items() if value is not None}
        return replace(self, **known)


@dataclass(frozen=True, kw_only=True)
class PerceptronRecipe(Recipe):
    """How a multilayer perceptron with dropout is trained.

    Attributes:
      hidden: the number of units in each hidden layer.
      rates: the rates of dropout at the inputs and at hidden layers.
    """

    hidden: tuple[int, ...]
    rates: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class ImageRecipe(PerceptronRecipe):
    """How one is trained on images, all of which have labels.

    Attributes:
      standardize: whether pixels have mean 0 and variance 1; otherwise 0 is black, and
        dropout leaves the background as it is.
      epochs: how often each training image is seen.
      decay: the factor of the learning rate from one epoch to the next.
    """

    standardize: bool = True
    epochs: int = 100
    decay: float = 0.98
