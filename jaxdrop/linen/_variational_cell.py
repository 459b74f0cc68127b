"""A recurrent cell with one mask for all time steps, as a Linen module."""

from typing import Any

import jax
from flax import linen as nn

from jaxdrop._checks import check_rate
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
from jaxdrop._typing import Array, Key, Rate
from jaxdrop.linen._cells import (
    RecurrentModule,
    ZoneoutCell,
    has_step_of_its_own,
    knows_carry,
)
from jaxdrop.linen._masked_products import gates_of, masks_products, step_with_masks
from jaxdrop.linen._module import tidy


class VariationalCell(RecurrentModule):
    """A recurrent cell that drops the same inputs and units at every step.

    Masks are drawn when a sequence starts, one for the inputs and one for the hidden
    state, and serve all of its time steps. The inputs and the state are masked on their
    way into the cell. In a GRU, an MGU and a residual cell of Flax the state is the
    memory too, and only what their products multiply is masked, so that the memory
    passes undamped; likewise in a subclass whose step calls ``super().__call__``.

    Any other cell may be wrapped, transformed by ``nn.jit``, ``nn.remat`` or
    ``nn.map_variables`` too. If its carry has several arrays, ``state`` says which one
    is the state. A cell of your own that adds its state to what it computes, as a GRU
    does, should drop it itself, before its products: else its memory is dropped and
    rescaled at every step.

    Inside ``jax.shard_map`` the scan of ``nn.RNN`` refuses the first carry of any cell,
    which is the same on every device. Start from one that varies, for example from
    ``jax.lax.pcast(zeros, "data", to="varying")``: pass what
    ``initialize_carry(..., carry=start)`` returns as ``initial_carry``.

    The usual rates are 0.2 to 0.5, for inputs and state alike. An
    :func:`jaxdrop.embedding_dropout` goes before the network and a
    :func:`jaxdrop.locked_dropout` after it.

    Attributes:
      cell: a cell such as ``nn.LSTMCell`` or ``nn.GRUCell``.
      input_rate: the probability of dropping an input feature of a sequence.
      state_rate: the probability of dropping a unit of the hidden state.
      per_gate: draw a mask for each gate, instead of one for all.
      state: where the carry of the cell has its state: a key such as ``0`` or ``"h"``,
        a tuple of keys, or a function that takes the carry and returns the state. By
        default it is the array that is the state in Flax's cells, or the only floating
        point array; a cell that returns another one as its output is refused, and one
        that returns a copy of another one gives NaN. If given, inputs and state are
        masked on their way in, whatever the cell.

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
    state: StateAt = None

    def __post_init__(self) -> None:
        tidy(self)
        for name in ("input_rate", "state_rate"):
            check_rate(getattr(self, name), name=name)
        check_cell(self.cell)
        if isinstance(self.cell, VariationalCell | ZoneoutCell):
            raise TypeError(
                f"cell must be a plain cell, got {type(self.cell).__name__}; zoneout "
                "goes outside: ZoneoutCell(VariationalCell(cell))."
            )
        if self.per_gate and (self.state is not None or len(gates_of(self.cell)) < 2):
            raise ValueError(
                "per_gate needs a cell with a layer for each gate, such as nn.LSTMCell "
                f"or nn.GRUCell, and no state=; got {type(self.cell).__name__} and "
                f"state={self.state!r}. (nn.LSTMCell takes the parameters of "
                "nn.OptimizedLSTMCell.)"
            )
        super().__post_init__()

    @nn.nowrap
    def initialize_carry(
        self, rng: Key, input_shape: tuple[int, ...], *, carry: Any = None
    ) -> MaskedCarry:
        """Starts sequences: the carry of the cell, and masks from the collection.

        Args:
          rng: for the carry of the cell.
          input_shape: the shape of the inputs of one step, ``(*batch, features)``.
          carry: a carry of the cell to start from, such as that of an encoder; by
            default the cell makes one.

        Returns:
          A :class:`MaskedCarry`.
        """
        of_cell, of_masks = jax.random.split(rng)
        carry = self._start_cell(self.cell, of_cell, input_shape, carry=carry)
        shape = state_of(carry, self._find_state(carry)).shape
        flag = self._mode(None)
        key = self._start_key(of_masks, flag, self.input_rate, self.state_rate)
        of_inputs, of_state = (None, None) if key is None else jax.random.split(key)
        gates = len(gates_of(self.cell)) if self.per_gate else None
        return MaskedCarry(
            carry,
            draw_mask(
                of_inputs, input_shape, rate=self.input_rate, flag=flag, num_gates=gates
            ),
            draw_mask(
                of_state, shape, rate=self.state_rate, flag=flag, num_gates=gates
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
        rates, flag = (self.input_rate, self.state_rate), self._mode(None)
        if is_plain(carry, (MaskedCarry,), rates=rates, flag=flag):
            return self.cell(carry, inputs)
        of_inputs = Drop(carry.inputs, self.input_rate, flag)
        of_state = Drop(carry.state, self.state_rate, flag)
        products = masks_products(self.cell, per_gate=self.per_gate)
        if products and self.state is None:
            new, output = step_with_masks(
                self.cell,
                carry.cell,
                inputs,
                of_inputs=of_inputs,
                of_state=of_state,
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

    @nn.nowrap
    def _find_state(self, carry: Any) -> int:
        return require_state(carry, self.state, is_known=knows_carry(self.cell))
