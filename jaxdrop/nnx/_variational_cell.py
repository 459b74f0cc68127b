"""A recurrent cell with one mask for all time steps, as an NNX module."""

from typing import Any, Unpack

import jax
from flax import nnx

from jaxdrop._dropout._carries import (
    MaskedCarry,
    StateAt,
    check_assumed,
    check_cell,
    checked_by_value,
    drop_state,
    is_plain,
    require_state,
    state_of,
)
from jaxdrop._dropout._sequences import Drop, draw_mask
from jaxdrop._typing import Array
from jaxdrop._typing import Rate as RateLike
from jaxdrop.nnx._cells import (
    RecurrentModule,
    ZoneoutCell,
    has_step_of_its_own,
    knows_carry,
)
from jaxdrop.nnx._masked_products import masks_products, num_gates, step_with_masks
from jaxdrop.nnx._module import Mode, Rate


class VariationalCell(RecurrentModule):
    """A recurrent cell that drops the same inputs and units at every step.

    Masks are drawn when a sequence starts, one for the inputs and one for the hidden
    state, and serve all of its time steps. The inputs and the state are masked on their
    way into the cell. In a GRU and a residual cell of Flax the state is the memory too,
    and only what their products multiply is masked, so that the memory passes undamped;
    likewise in a subclass whose step calls ``super().__call__``.

    Any other cell may be wrapped, transformed by ``nnx.jit`` or ``nnx.remat`` too. If
    its carry has several arrays, ``state`` says which one is the state. A cell of your
    own that adds its state to what it computes, as a GRU does, should drop it itself,
    before its products: else its memory is dropped and rescaled at every step.

    Without ``rngs`` a key comes with each call, ``nnx.RNN(cell)(x, rngs=key)``. With
    one key ``nnx.Bidirectional`` draws the same masks in both directions.

    Inside ``jax.shard_map`` the scan of ``nnx.RNN`` refuses the first carry of any
    cell, which is the same on every device. Start from one that varies, for example
    from ``jax.lax.pcast(zeros, "data", to="varying")``: pass what
    ``initialize_carry(..., carry=start)`` returns as ``initial_carry``.

    The usual rates are 0.2 to 0.5, for inputs and state alike. An
    :func:`jaxdrop.embedding_dropout` goes before the network and a
    :func:`jaxdrop.locked_dropout` after it.

    Args:
      cell: a cell such as ``nnx.LSTMCell`` or ``nnx.GRUCell``.
      input_rate: the probability of dropping an input feature of a sequence.
      state_rate: the probability of dropping a unit of the hidden state.
      per_gate: draw a mask for each gate, instead of one for all.
      state: where the carry of the cell has its state: a key such as ``0`` or ``"h"``,
        a tuple of keys, or a function that takes the carry and returns the state. By
        default it is the array that is the state in Flax's cells, or the only floating
        point array; a cell that returns another one as its output is refused, and one
        that returns a copy of another one gives NaN. If given, inputs and state are
        masked on their way in, whatever the cell.
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
        state: StateAt = None,
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(**mode)
        check_cell(cell)
        if isinstance(cell, VariationalCell | ZoneoutCell):
            raise TypeError(
                f"cell must be a plain cell, got {type(cell).__name__}; zoneout goes "
                "outside: ZoneoutCell(VariationalCell(cell))."
            )
        if per_gate and (state is not None or not num_gates(cell)):
            raise ValueError(
                "per_gate needs a cell whose gates are known, such as nnx.LSTMCell or "
                f"nnx.GRUCell, and no state=; got {type(cell).__name__} and "
                f"state={state!r}."
            )
        self.cell = cell
        self.input_rate = self._hold_rate(input_rate, "input_rate")
        self.state_rate = self._hold_rate(state_rate, "state_rate")
        self.per_gate = per_gate
        self.state = state

    def initialize_carry(
        self,
        input_shape: tuple[int, ...],
        rngs: Any = None,
        *args: Any,
        carry: Any = None,
    ) -> MaskedCarry:
        """Starts sequences: the carry of the cell, and masks.

        Args:
          input_shape: the shape of the inputs of one step, ``(*batch, features)``.
          rngs: a key or ``nnx.Rngs``, for masks and the carry of the cell; a stream is
            for the carry alone, and masks come from the module's own.
          *args: what else the cell takes.
          carry: a carry of the cell to start from, such as that of an encoder; by
            default the cell makes one.

        Returns:
          A :class:`MaskedCarry`.
        """
        flag = self._mode(None)
        input_rate, state_rate = self._rate("input_rate"), self._rate("state_rate")
        key, rngs = self._sources(rngs, flag, input_rate, state_rate)
        carry = self._start_cell(self.cell, input_shape, rngs, *args, carry=carry)
        shape = state_of(carry, self._find_state(carry)).shape
        of_inputs, of_state = (None, None) if key is None else jax.random.split(key)
        gates = num_gates(self.cell) if self.per_gate else None
        return MaskedCarry(
            carry,
            draw_mask(
                of_inputs, input_shape, rate=input_rate, flag=flag, num_gates=gates
            ),
            draw_mask(of_state, shape, rate=state_rate, flag=flag, num_gates=gates),
        )

    def __call__(self, carry: MaskedCarry, inputs: Array) -> tuple[MaskedCarry, Array]:
        """One step.

        Args:
          carry: from :meth:`initialize_carry`, or the step before.
          inputs: ``(*batch, features)``.

        Returns:
          The next carry, and the output of the cell.
        """
        flag = self._mode(None)
        rates = self._rate("input_rate"), self._rate("state_rate")
        if is_plain(carry, (MaskedCarry,), rates=rates, flag=flag):
            return self.cell(carry, inputs)
        of_inputs = Drop(carry.inputs, rates[0], flag)
        of_state = Drop(carry.state, rates[1], flag)
        if self._masks_products():
            new, output = step_with_masks(
                self.cell,
                carry.cell,
                inputs,
                of_inputs=of_inputs,
                of_state=of_state,
                per_gate=self.per_gate,
            )
        else:
            at = self._find_state(carry.cell)
            dropped = drop_state(carry.cell, at, of_state)
            new, output = self.cell(dropped, of_inputs(inputs))
            if self.state is None:
                check_assumed(new, output, at)
                if has_step_of_its_own(self.cell):
                    output = checked_by_value(new, output, at)
        return MaskedCarry(new, carry.inputs, carry.state), output

    @property
    def num_feature_axes(self) -> int:
        """How many axes of the inputs are features."""
        return self.cell.num_feature_axes

    def _masks_products(self) -> bool:
        return self.state is None and masks_products(self.cell, per_gate=self.per_gate)

    def _find_state(self, carry: Any) -> int:
        return require_state(carry, self.state, is_known=knows_carry(self.cell))
