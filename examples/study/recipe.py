"""How a multilayer perceptron with dropout is trained on images."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained with Adam.

    Attributes:
      hidden: the number of units in each hidden layer.
      rates: the rates of dropout at the pixels and at hidden layers.
      standardize: whether pixels have mean 0 and variance 1; otherwise 0 is black, and
        dropout leaves the background as it is.
      epochs: how often each training image is seen.
      batch_size: the number of images in a step.
      learning_rate: in the first epoch.
      decay: its factor from one epoch to the next.
    """

    hidden: tuple[int, ...]
    rates: tuple[float, float]
    standardize: bool = True
    epochs: int = 100
    batch_size: int
    learning_rate: float
    decay: float = 0.98
