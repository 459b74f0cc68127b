"""A recurrent cell with one mask for all time steps, as an NNX module."""

from collections.abc import Callable
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from jaxdrop._dropout._sequences import (
    MaskedCarry,
    apply_mask,
    draw_mask,
    drop_last,
    state_of,
)
from jaxdrop._typing import Array
from jaxdrop._typing import Rate as RateLike
from jaxdrop.nnx._cells import RecurrentModule, ZoneoutCell
from jaxdrop.nnx._module import Mode, Rate, value_of

_OF_INPUTS = {"ii": 0, "if_": 1, "ig": 2, "io": 3, "dense_i": None}
_OF_STATE = {"hi": 0, "hf": 1, "hg": 2, "ho": 3, "dense_h": None}
"""The products of Flax's cells by attribute, and their gates; None for all at once."""


class VariationalCell(RecurrentModule):
    """A recurrent cell that drops the same inputs and units at every step.

    Masks are drawn when a sequence starts, one for the inputs and one for the hidden
    state, and serve all of its time steps. What is masked is what the products of the
    cell multiply: in an LSTM, a GRU or a residual cell the memory itself passes
    undamped. Of a cell that is not Flax's own, the inputs and the last array of the
    carry that is floating point are masked.

    Without ``rngs`` a key comes with each call, ``nnx.RNN(cell)(x, rngs=key)``. Of one
    key ``nnx.Bidirectional`` makes the same masks in both directions.

    The usual rates are 0.2 to 0.5, for inputs and state alike. An
    :func:`jaxdrop.embedding_dropout` goes before the network and a
    :func:`jaxdrop.locked_dropout` after it.

    Args:
      cell: a cell such as ``nnx.LSTMCell`` or ``nnx.GRUCell``.
      input_rate: the probability of dropping an input feature of a sequence.
      state_rate: the probability of dropping a unit of the hidden state.
      per_gate: draw a mask for each gate, instead of one for all.
      **mode: see :class:`StochasticModule`.

    References:
      Gal, Ghahramani, `A theoretically grounded application of dropout in recurrent
      neural networks <https://arxiv.org/abs/1512.05287>`_, NeurIPS 2016.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> cell = jaxdrop.nnx.VariationalCell(
      ...     nnx.LSTMCell(8, 16, rngs=rngs), input_rate=0.3, state_rate=0.3, rngs=rngs
      ... )
      >>> nnx.RNN(cell)(jnp.ones((4, 10, 8))).shape
      (4, 10, 16)
    """

    def __init__(
        self,
        cell: nnx.RNNCellBase,
        *,
        input_rate: RateLike | Rate = 0.0,
        state_rate: RateLike | Rate = 0.0,
        per_gate: bool = False,
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(**mode)
        if isinstance(cell, VariationalCell | ZoneoutCell):
            raise TypeError(
                f"VariationalCell goes around a plain cell, got {type(cell).__name__}; "
                "zoneout goes outside: ZoneoutCell(VariationalCell(cell))."
            )
        if per_gate and not _knows(cell):
            raise ValueError(
                "VariationalCell: per_gate needs a cell whose gates are known, such as "
                f"nnx.LSTMCell or nnx.GRUCell, got {type(cell).__name__}."
            )
        self.cell = cell
        self.input_rate = self.hold_rate(input_rate, "input_rate")
        self.state_rate = self.hold_rate(state_rate, "state_rate")
        self.per_gate = per_gate

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: Any = None, *args: Any
    ) -> MaskedCarry:
        """Starts sequences: the carry of the cell, and masks.

        Args:
          input_shape: the shape of the inputs of one step, ``(*batch, features)``.
          rngs: a key or ``nnx.Rngs``, for masks and the carry of the cell; a stream is
            for the carry alone, and masks come from the module's own.
          *args: what else the cell takes.

        Returns:
          A :class:`MaskedCarry`.
        """
        flag = self.mode(None)
        input_rate, state_rate = value_of(self.input_rate), value_of(self.state_rate)
        key, rngs = self.sources(rngs, flag, input_rate, state_rate)
        carry = self.cell.initialize_carry(input_shape, rngs, *args)
        of_inputs, of_state = (None, None) if key is None else jax.random.split(key)
        gates = _num_gates(self.cell) if self.per_gate else None
        return MaskedCarry(
            carry,
            draw_mask(
                of_inputs, input_shape, rate=input_rate, flag=flag, num_gates=gates
            ),
            draw_mask(
                of_state,
                state_of(carry).shape,
                rate=state_rate,
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
            rate = value_of(self.input_rate)
            return apply_mask(x, carry.inputs, rate=rate, flag=flag, gate=gate)

        def drop_state(h: Array, gate: int | None = None) -> Array:
            rate = value_of(self.state_rate)
            return apply_mask(h, carry.state, rate=rate, flag=flag, gate=gate)

        if _knows(self.cell):
            gates = _num_gates(self.cell) if self.per_gate else None
            cell: Any = _DroppedCell(self.cell, drop_inputs, drop_state, gates)
            new, output = type(self.cell).__call__(cell, carry.cell, inputs)
        else:
            dropped = drop_last(carry.cell, drop_state)
            new, output = self.cell(dropped, drop_inputs(inputs))
        return MaskedCarry(new, carry.inputs, carry.state), output

    @property
    def num_feature_axes(self) -> int:
        """How many axes of the inputs are features."""
        return self.cell.num_feature_axes


class _DroppedCell:
    """A cell of Flax as its own step sees it, with masks before its products.

    The step of a cell reads its products as attributes. Here it finds products that
    drop what they multiply; every other attribute is that of the cell.
    """

    def __init__(
        self,
        cell: nnx.RNNCellBase,
        drop_inputs: Callable[..., Array],
        drop_state: Callable[..., Array],
        num_gates: int | None,
    ) -> None:
        self._cell = cell
        self._num_gates = num_gates
        self._drops = {
            **{name: (drop_inputs, gate) for name, gate in _OF_INPUTS.items()},
            **{name: (drop_state, gate) for name, gate in _OF_STATE.items()},
        }

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._cell, name)
        if name not in self._drops:
            return value
        drop, gate = self._drops[name]
        if gate is None and self._num_gates is not None:
            return lambda x: _product_of_gates(value, x, drop, self._num_gates)
        return lambda x: value(drop(x, gate))


def _product_of_gates(
    linear: nnx.Linear, x: Array, drop: Callable[..., Array], num_gates: int
) -> Array:
    """The products of all gates at once, each with a mask of its own."""
    tiled = jnp.broadcast_to(x[..., None, :], (*x.shape[:-1], num_gates, x.shape[-1]))
    bias = None if linear.bias is None else linear.bias[...]
    x, kernel, bias = linear.promote_dtype(
        (drop(tiled), linear.kernel[...], bias), dtype=linear.dtype
    )
    kernel = jnp.reshape(kernel, (kernel.shape[0], num_gates, -1))
    y = jnp.einsum("...gf,fgh->...gh", x, kernel, precision=linear.precision)
    y = jnp.reshape(y, (*y.shape[:-2], -1))
    return y if bias is None else y + jnp.reshape(bias, (1,) * (y.ndim - 1) + (-1,))


def _knows(cell: nnx.RNNCellBase) -> bool:
    return any(hasattr(cell, name) for name in _OF_STATE)


def _num_gates(cell: Any) -> int:
    if hasattr(cell, "dense_h"):
        return int(cell.dense_h.out_features // cell.hidden_features)
    return sum(hasattr(cell, name) for name in _OF_STATE)
