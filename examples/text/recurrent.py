"""Eight ways to regularize an LSTM: what each puts in, before and after the loop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

import jaxdrop
from jaxdrop.nnx import Rate, RecurrentDropoutLSTMCell, VariationalCell, ZoneoutCell

Layer = Callable[[int, int, Rate, nnx.Rngs], nnx.Module]


class StepDropoutCell(jaxdrop.nnx.StochasticModule, nnx.RNNCellBase):
    """What one writes first: a mask of its own for the hidden state at every step.

    What the gates see is dropped; the memory of an LSTM passes, so that it still can
    remember. Gal and Ghahramani advise against masks that change from step to step.
    """

    def __init__(self, cell: nnx.RNNCellBase, rate: Rate, *, rngs: nnx.Rngs) -> None:
        super().__init__(rngs=rngs)
        self.cell, self.rate = cell, rate

    def initialize_carry(self, input_shape: tuple[int, ...], rngs: Any = None) -> Any:
        """The carry of the cell, a key for the sequence, and the number of the step."""
        key = None if self._mode(None) is True else self._draw_key()
        return self.cell.initialize_carry(input_shape, rngs), key, jnp.int32(0)

    def __call__(self, carry: Any, inputs: Array) -> tuple[Any, Array]:
        """One step."""
        (memory, state), key, step = carry
        if key is not None:
            mask_key = jax.random.fold_in(key, step)
            state = jaxdrop.dropout(mask_key, state, rate=self.rate[...])
        new, output = self.cell((memory, state), inputs)
        return (new, key, step + 1), output

    @property
    def num_feature_axes(self) -> int:
        """How many axes of the inputs are features."""
        return self.cell.num_feature_axes


class WeightDroppedLSTM(jaxdrop.nnx.StochasticModule):
    """An LSTM whose recurrent kernel is masked once, before the loop over time."""

    def __init__(self, sizes: tuple[int, int], rate: Rate, *, rngs: nnx.Rngs) -> None:
        super().__init__(rngs=rngs)
        self.rnn, self.rate = plain(*sizes, rate, rngs), rate

    def __call__(self, x: Array) -> Array:
        """The outputs at all steps."""
        if self._mode(None) is True:
            return self.rnn(x)
        graphdef, state = nnx.split(self.rnn)
        state = jaxdrop.drop_connect(
            self._draw_key(),
            state,
            rate=self.rate[...],
            where=lambda path, _: path.endswith("dense_h/kernel"),
        )
        return nnx.merge(graphdef, state)(x)


def plain(inputs: int, units: int, rate: Rate, rngs: nnx.Rngs) -> nnx.RNN:
    """An LSTM as it is."""
    del rate
    return nnx.RNN(nnx.OptimizedLSTMCell(inputs, units, rngs=rngs))


def _naive(inputs: int, units: int, rate: Rate, rngs: nnx.Rngs) -> nnx.RNN:
    cell = nnx.OptimizedLSTMCell(inputs, units, rngs=rngs)
    return nnx.RNN(StepDropoutCell(cell, rate, rngs=rngs))


def _variational(inputs: int, units: int, rate: Rate, rngs: nnx.Rngs) -> nnx.RNN:
    cell = nnx.OptimizedLSTMCell(inputs, units, rngs=rngs)
    return nnx.RNN(VariationalCell(cell, input_rate=rate, state_rate=rate, rngs=rngs))


def _recurrent(inputs: int, units: int, rate: Rate, rngs: nnx.Rngs) -> nnx.RNN:
    cell = RecurrentDropoutLSTMCell(inputs, units, rate, per_step=True, rngs=rngs)
    return nnx.RNN(cell)


def _zoneout(inputs: int, units: int, rate: Rate, rngs: nnx.Rngs) -> nnx.RNN:
    cell = nnx.OptimizedLSTMCell(inputs, units, rngs=rngs)
    of_state = Rate(rate[...] / 10)  # as in the paper: 0.5 and 0.05
    return nnx.RNN(ZoneoutCell(cell, memory_rate=rate, state_rate=of_state, rngs=rngs))


def _weight_drop(inputs: int, units: int, rate: Rate, rngs: nnx.Rngs) -> nnx.Module:
    return WeightDroppedLSTM((inputs, units), rate, rngs=rngs)


class CharacterLSTM(nnx.Module):
    """Predicts the next character: embedding, recurrent layer, linear layer."""

    def __init__(
        self,
        layer: nnx.Module,
        sizes: tuple[int, int, int],
        locked: Any,
        rngs: nnx.Rngs,
    ) -> None:
        characters, inputs, units = sizes
        self.embed = nnx.Embed(characters, inputs, rngs=rngs)
        self.before = jaxdrop.nnx.LockedDropout(locked, rngs=rngs)
        self.layer = layer
        self.after = jaxdrop.nnx.LockedDropout(locked, rngs=rngs)
        self.linear = nnx.Linear(units, characters, rngs=rngs)

    def __call__(self, ids: Array) -> Array:
        """Logits of the character after each, ``(windows, length, characters)``."""
        x = self.before(self.embed(ids))
        return self.linear(self.after(self.layer(x)))


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to regularize.

    Attributes:
      name: what the table says.
      layer: makes the recurrent layer.
      rate: in the layer; chosen on validation text, as is ``locked``.
      locked: the rate of locked dropout before and after the layer.
    """

    name: str
    layer: Layer = plain
    rate: float = 0.0
    locked: float = 0.0

    @property
    def key(self) -> str:
        """The name as ``--methods`` takes it."""
        return self.name.lower().replace(" + ", "+").replace(" ", "-")

    @property
    def strength(self) -> dict[str, float]:
        """The rates that are not 0, by their names."""
        rates = {"rate": self.rate, "locked": self.locked}
        return {name: rate for name, rate in rates.items() if rate}

    def network(
        self, characters: int, inputs: int, units: int, rngs: nnx.Rngs
    ) -> CharacterLSTM:
        """A network of that many characters, embedding features and units."""
        layer = self.layer(inputs, units, Rate(self.rate), rngs)
        locked = Rate(self.locked) if self.locked else 0.0
        return CharacterLSTM(layer, (characters, inputs, units), locked, rngs)


METHODS = (
    Method(name="none"),
    Method(name="naive", layer=_naive, rate=0.4),
    Method(name="locked", locked=0.1),
    Method(name="variational", layer=_variational, rate=0.3),
    Method(name="recurrent", layer=_recurrent, rate=0.1),
    Method(name="zoneout", layer=_zoneout, rate=0.2),
    Method(name="weight drop", layer=_weight_drop, rate=0.2),
    Method(name="locked + weight drop", layer=_weight_drop, rate=0.3, locked=0.3),
)
