"""A recurrent cell with one mask for all time steps, as a Linen module."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from jaxdrop._checks import check_rate
from jaxdrop._dropout._sequences import (
    MaskedCarry,
    apply_mask,
    draw_mask,
    drop_last,
    state_of,
)
from jaxdrop._typing import Array, Key, Rate
from jaxdrop.linen._cells import (
    RecurrentDropoutLSTMCell,
    RecurrentModule,
    ZoneoutCell,
)

_GATES: dict[type[nn.RNNCellBase], tuple[str, ...]] = {
    nn.LSTMCell: ("i", "f", "g", "o"),
    RecurrentDropoutLSTMCell: ("i", "f", "g", "o"),
    nn.GRUCell: ("r", "z", "n"),
    nn.MGUCell: ("f", "n"),
    nn.SimpleCell: ("",),
    nn.ConvLSTMCell: ("h",),
}
"""Cells whose products are layers of their own, named ``i`` or ``h`` and the gate."""


class VariationalCell(RecurrentModule):
    """A recurrent cell that drops the same inputs and units at every step.

    Masks are drawn when a sequence starts, one for the inputs and one for the hidden
    state, and serve all of its time steps. What is masked is what the products of the
    cell multiply: in an LSTM, a GRU or a residual cell the memory itself passes
    undamped. Of a cell that is not Flax's own, the inputs and the last array of the
    carry that is floating point are masked.

    The usual rates are 0.2 to 0.5, for inputs and state alike. An
    :func:`jaxdrop.embedding_dropout` goes before the network and a
    :func:`jaxdrop.locked_dropout` after it.

    Attributes:
      cell: a cell such as ``nn.LSTMCell`` or ``nn.GRUCell``.
      input_rate: the probability of dropping an input feature of a sequence.
      state_rate: the probability of dropping a unit of the hidden state.
      per_gate: draw a mask for each gate, instead of one for all.

    References:
      Gal, Ghahramani, `A theoretically grounded application of dropout in recurrent
      neural networks <https://arxiv.org/abs/1512.05287>`_, NeurIPS 2016.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> from flax import linen as nn
      >>> cell = jaxdrop.linen.VariationalCell(
      ...     nn.LSTMCell(16), input_rate=0.3, state_rate=0.3, deterministic=False
      ... )
      >>> keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
      >>> y, variables = nn.RNN(cell).init_with_output(keys, jnp.ones((4, 10, 8)))
      >>> y.shape
      (4, 10, 16)
    """

    cell: nn.RNNCellBase
    input_rate: Rate = 0.0
    state_rate: Rate = 0.0
    per_gate: bool = False

    def __post_init__(self) -> None:
        for name in ("input_rate", "state_rate"):
            check_rate(getattr(self, name), caller="VariationalCell", name=name)
        if isinstance(self.cell, VariationalCell | ZoneoutCell):
            raise TypeError(
                "VariationalCell goes around a plain cell, got "
                f"{type(self.cell).__name__}; zoneout goes outside: "
                "ZoneoutCell(VariationalCell(cell))."
            )
        if self.per_gate and len(_gates(self.cell) or ()) < 2:
            raise ValueError(
                "VariationalCell: per_gate needs a cell with a layer for each gate, "
                f"such as nn.LSTMCell or nn.GRUCell, got {type(self.cell).__name__}. "
                "(nn.LSTMCell takes the parameters of nn.OptimizedLSTMCell.)"
            )
        super().__post_init__()

    @nn.nowrap
    def initialize_carry(self, rng: Key, input_shape: tuple[int, ...]) -> MaskedCarry:
        """Starts sequences: the carry of the cell, and masks from the collection.

        Args:
          rng: for the carry of the cell.
          input_shape: the shape of the inputs of one step, ``(*batch, features)``.

        Returns:
          A :class:`MaskedCarry`.
        """
        of_cell, of_masks = jax.random.split(rng)
        carry = self.cell.initialize_carry(of_cell, input_shape)
        flag = self.mode(None)
        key = self.start_key(of_masks, flag, self.input_rate, self.state_rate)
        of_inputs, of_state = (None, None) if key is None else jax.random.split(key)
        gates = len(_gates(self.cell) or ()) if self.per_gate else None
        return MaskedCarry(
            carry,
            draw_mask(
                of_inputs, input_shape, rate=self.input_rate, flag=flag, num_gates=gates
            ),
            draw_mask(
                of_state,
                state_of(carry).shape,
                rate=self.state_rate,
                flag=flag,
                num_gates=gates,
            ),
        )

    def __call__(self, carry: MaskedCarry, inputs: Array) -> tuple[MaskedCarry, Array]:
        """One step.

        Args:
          carry: from :meth:`initialize_carry`, or the step before.
          inputs: ``(*batch, features)``.

        Returns:
          The next carry, and the output of the cell.
        """
        flag = self.mode(None)

        def drop_inputs(x: Array, gate: int | None = None) -> Array:
            return apply_mask(
                x, carry.inputs, rate=self.input_rate, flag=flag, gate=gate
            )

        def drop_state(h: Array, gate: int | None = None) -> Array:
            return apply_mask(
                h, carry.state, rate=self.state_rate, flag=flag, gate=gate
            )

        gates = _gates(self.cell)
        if gates is None:
            dropped = drop_last(carry.cell, drop_state)
            new, output = self.cell(dropped, drop_inputs(inputs))
        else:
            drops = {
                **{f"i{gate}": (drop_inputs, i) for i, gate in enumerate(gates)},
                **{f"h{gate}": (drop_state, i) for i, gate in enumerate(gates)},
            }
            with nn.intercept_methods(_drop_before(self.cell, drops)):
                new, output = self.cell(carry.cell, inputs)
        return MaskedCarry(new, carry.inputs, carry.state), output

    @property
    def num_feature_axes(self) -> int:
        """How many axes of the inputs are features."""
        return self.cell.num_feature_axes


def _drop_before(
    cell: nn.RNNCellBase, drops: dict[str, tuple[Callable[..., Array], int]]
) -> Callable[..., Any]:
    """Masks what the layers of a cell multiply, each by its name."""

    def intercept(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        layer = context.module
        called = context.method_name == "__call__" and layer.parent is cell
        if not called or layer.name not in drops:
            return next_fun(*args, **kwargs)
        drop, gate = drops[layer.name]
        return next_fun(drop(args[0], gate), *args[1:], **kwargs)

    return intercept


def _gates(cell: nn.RNNCellBase) -> tuple[str, ...] | None:
    for kind, gates in _GATES.items():
        if isinstance(cell, kind):
            return gates
    return None
