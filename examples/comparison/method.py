"""A method: its name, its numbers, and how a sweep puts others in their place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from flax import nnx
from jax import Array
from jax.typing import ArrayLike

_HE_NORMAL = nnx.initializers.he_normal()


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to regularize; each field by default does nothing.

    Numbers may be traced, so that :meth:`at` can put the strengths of a sweep in the
    place of the usual ones. What they do is in the class that the script derives:
    ``network``, ``examples``, ``loss``, ``optimizer`` and ``updates``.

    Attributes:
      name: what the table says.
      noise: the module before each linear layer, made from a rate.
      linear: the linear layers, if they are noisy themselves; they take a rate.
      rates: at the pixels and at hidden layers, where they are not the recipe's.
      standardize: give the network standardized pixels, whatever the recipe says.
      activation: what follows hidden layers.
      kernel_init: how kernels are initialized.
      l2: the coefficient of the sum of squared kernels in the loss.
      weight_decay: of AdamW, which multiplies it by the learning rate.
      max_norm: the largest norm of the weights that lead into a unit.
      label_smoothing: the share of each label that is spread over all classes.
      patience: how many epochs without a better validation loss stop training.
      grid: the strengths of a sweep, by field; ``rate`` stands for ``rates``.
    """

    name: str
    noise: Callable[..., nnx.Module] | None = None
    linear: Callable[..., nnx.Module] | None = None
    rates: tuple[ArrayLike, ArrayLike] | None = None
    standardize: bool = False
    activation: Callable[[Array], Array] = nnx.relu
    kernel_init: nnx.Initializer = _HE_NORMAL
    l2: ArrayLike | None = None
    weight_decay: ArrayLike | None = None
    max_norm: ArrayLike | None = None
    label_smoothing: ArrayLike | None = None
    patience: int | None = None
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name as ``--methods`` takes it."""
        return self.name.lower().replace(" + ", "+").replace(" ", "-")

    @property
    def is_random(self) -> bool:
        """Whether the trained network has noise, so that Monte-Carlo samples differ."""
        return self.noise is not None or self.linear is not None

    def at(
        self, strength: Mapping[str, ArrayLike], rates: tuple[float, float]
    ) -> "Method":
        """The method at a strength: numbers by the names of fields, traced or not.

        Args:
          strength: what replaces the fields. ``rate`` is the rate at hidden layers;
            pixels keep the share of it that they have.
          rates: the recipe's, where the method has none of its own.

        Returns:
          The same method with other numbers, and with rates in any case.
        """
        numbers = dict(strength)
        input_rate, hidden_rate = self.rates or rates
        rate = numbers.pop("rate", hidden_rate)
        share = input_rate / hidden_rate
        return replace(self, rates=(share * rate, rate), **numbers)


SomeMethod = TypeVar("SomeMethod", bound=Method)
_RATES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65)
_DECAYS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_L2 = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
_MIXUP = (0.05, 0.1, 0.2, 0.4, 1.0, 2.0)
_NORMS = (0.7, 1.0, 1.5, 2.0, 3.0, 4.0)
FIELDS = {
    "rate": _RATES,
    "l2": _L2,
    "weight_decay": _DECAYS,
    "max_norm": _NORMS,
    "mixup": _MIXUP,
    "consistency": (0.1, 0.3, 1.0, 3.0, 10.0),
}
"""What is tried of one field while the others of a method stay as they are."""

_GRIDS = {
    "dropout": {"rate": _RATES},
    "gaussian-dropout": {"rate": _RATES},
    "dropconnect": {"rate": _RATES},
    "alpha-dropout+selu": {"rate": (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)},
    "l2-penalty": {"l2": _L2},
    "weight-decay": {"weight_decay": _DECAYS},
    "dropout+max-norm": {"rate": (0.2, 0.35, 0.5), "max_norm": (1.0, 2.0)},
    "label-smoothing": {"label_smoothing": (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)},
    "dropout+weight-decay": {"rate": (0.2, 0.35, 0.5), "weight_decay": (0.1, 1.0)},
    "concrete-dropout": {"learned_rates": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01)},
    "l1": {"l1": (1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2)},
    "elastic-net": {"l1": (3e-3, 0.01, 0.03), "l2": (1e-4, 1e-3)},
    "group-lasso": {"group_lasso": (0.003, 0.01, 0.03, 0.1, 0.2, 0.3)},
    "orthogonal": {"orthogonal": (1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0)},
    "max-norm": {"max_norm": _NORMS},
    "dropout+l2": {"rate": (0.2, 0.35, 0.5), "l2": (1e-5, 1e-4)},
    "confidence-penalty": {"confidence": (0.03, 0.1, 0.2, 0.4, 0.7, 1.0)},
    "mixup": {"mixup": _MIXUP},
    "mixup+dropout": {"rate": (0.1, 0.2, 0.35), "mixup": (0.1, 0.4)},
    "input-noise": {"input_noise": (0.03, 0.1, 0.2, 0.4, 0.7, 1.0)},
    "r-drop": {"rate": (0.2, 0.35, 0.5), "consistency": (0.3, 2.0)},
    "early-dropout": {"rate": _RATES},
    "curriculum-dropout": {"rate": _RATES},
}


def with_grids(*methods: SomeMethod) -> tuple[SomeMethod, ...]:
    """The methods with the strengths that are tried of each."""
    return tuple(replace(method, grid=_GRIDS.get(method.key, {})) for method in methods)
