"""Recurrent cells with dropout, as Linen modules, for ``flax.linen.RNN``."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdrop._checks import check_rate
from jaxdrop._dropout._carries import (
    KeyedCarry,
    MaskedCarry,
    OutputIs,
    StateAt,
    check_assumed,
    check_cell,
    check_output,
    check_start,
    comes_from_flax,
    find_state,
    is_plain,
    source_of_output,
)
from jaxdrop._dropout._sequences import (
    advance,
    draw_mask,
    drop_step,
    start,
    start_key,
    zone_step,
)
from jaxdrop._typing import Array, Key, Rate
from jaxdrop.linen._module import StochasticModule, tidy


class RecurrentModule(StochasticModule, nn.RNNCellBase):
    """A recurrent cell that draws when a sequence starts, from its collection of keys.

    The mode is an attribute, since ``flax.linen.RNN`` does not hand one on; and the key
    that it passes to ``initialize_carry`` is used only where no collection is at hand,
    outside of ``init`` and ``apply``.
    """

    @nn.nowrap
    def _start_key(self, rng: Key, flag: bool | Array, *rates: Rate) -> Key | None:
        """The key of a sequence; it is drawn only where it is needed."""
        draw = lambda: rng if self.scope is None else self._draw_key(None)
        return start_key(draw, flag, rates)

    @nn.nowrap
    def _start_cell(
        self,
        cell: nn.RNNCellBase,
        rng: Key,
        input_shape: tuple[int, ...],
        *,
        carry: Any,
    ) -> Any:
        """The carry of the cell within, from which a sequence starts."""
        if isinstance(cell, RecurrentModule):
            return cell.initialize_carry(rng, input_shape, carry=carry)  # type: ignore[call-arg]
        if carry is None:
            return cell.initialize_carry(rng, input_shape)
        batch = tuple(input_shape[: -cell.num_feature_axes])
        return check_start(carry, batch)


def knows_carry(cell: nn.RNNCellBase, /) -> bool:
    """Whether a cell has the carry of a cell of Flax, whose last array is the state."""
    return comes_from_flax(type(_innermost(cell)).initialize_carry)


def has_step_of_its_own(cell: nn.RNNCellBase, /) -> bool:
    """Whether the step of a cell is one that Flax does not define."""
    return not comes_from_flax(type(_innermost(cell)).__call__)


def _innermost(cell: Any) -> nn.RNNCellBase:
    while isinstance(cell, RecurrentModule) and hasattr(cell, "cell"):
        cell = cell.cell
    found: nn.RNNCellBase = cell
    return found


class RecurrentDropoutLSTMCell(RecurrentModule):
    """An LSTM that drops what it writes into its memory, and never the memory.

    Dropout of the candidate update alone, ``c' = f * c + i * drop(g)``: what the memory
    holds is neither erased nor rescaled, however long the sequence is. One mask serves
    a sequence, or each step draws its own. The usual rate is 0.25 to 0.5. Parameters
    and other attributes are those of ``flax.linen.LSTMCell``.

    Inside ``jax.shard_map`` the scan of ``nn.RNN`` refuses the first carry of any cell,
    which is the same on every device. Start from one that varies, for example from
    ``jax.lax.pcast(zeros, "data", to="varying")``: pass what
    ``initialize_carry(..., carry=start)`` returns as ``initial_carry``.

    Attributes:
      features: the number of units.
      rate: the probability of dropping a unit's update.
      per_step: draw a mask for each step, instead of one for the sequence.
      gate_fn: the activation of the gates.
      activation_fn: the activation of the update and the output.
      kernel_init: the initializer of the kernels of the inputs.
      recurrent_kernel_init: the initializer of the kernels of the state.
      bias_init: the initializer of the biases.
      dtype: the dtype to compute in; by default that of inputs and parameters.
      param_dtype: the dtype of the parameters.
      carry_init: the initializer of memory and state.

    References:
      Semeniuta, Severyn, Barth, `Recurrent dropout without memory loss
      <https://arxiv.org/abs/1603.05118>`_, COLING 2016.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> from flax import linen as nn
      >>> cell = jaxdrop.linen.RecurrentDropoutLSTMCell(16, 0.25, deterministic=False)
      >>> keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
      >>> y, variables = nn.RNN(cell).init_with_output(keys, jnp.ones((4, 10, 8)))
      >>> y.shape
      (4, 10, 16)
    """

    features: int
    rate: Rate
    per_step: bool = False
    gate_fn: Callable[[Array], Array] = nn.sigmoid
    activation_fn: Callable[[Array], Array] = nn.tanh
    kernel_init: Any = nn.initializers.lecun_normal()
    recurrent_kernel_init: Any = nn.initializers.orthogonal()
    bias_init: Any = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32
    carry_init: Any = nn.initializers.zeros_init()

    def __post_init__(self) -> None:
        tidy(self)
        check_rate(self.rate)
        super().__post_init__()

    @nn.nowrap
    def initialize_carry(
        self, rng: Key, input_shape: tuple[int, ...], *, carry: Any = None
    ) -> MaskedCarry | KeyedCarry:
        """Starts sequences: memory and state, and what the collection of keys gives.

        Args:
          rng: for memory and state.
          input_shape: the shape of the inputs of one step, ``(*batch, features)``.
          carry: memory and state to start from, such as those of an encoder.

        Returns:
          A :class:`MaskedCarry`, or a :class:`KeyedCarry` with ``per_step``.
        """
        batch = tuple(input_shape[:-1])
        of_memory, of_state, of_masks = jax.random.split(rng, 3)
        shape = (*batch, self.features)
        if carry is None:
            c = self.carry_init(of_memory, shape, self.param_dtype)
            carry = c, self.carry_init(of_state, shape, self.param_dtype)
        carry = check_start(carry, batch)
        flag = self._mode(None)
        key = self._start_key(of_masks, flag, self.rate)
        if self.per_step:
            return start(carry, key, batch)
        mask = draw_mask(key, shape, rate=self.rate, flag=flag)
        return MaskedCarry(carry, None, mask)

    @nn.compact
    def __call__(self, carry: Any, inputs: Array) -> tuple[Any, Array]:
        """One step.

        Args:
          carry: from :meth:`initialize_carry`, or the step before.
          inputs: ``(*batch, features)``.

        Returns:
          The next carry, and the new state.
        """
        flag, kinds, rates = self._mode(None), (MaskedCarry, KeyedCarry), (self.rate,)
        is_bare = is_plain(carry, kinds, rates=rates, flag=flag)
        c, h = carry if is_bare else carry.cell
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        of_inputs = partial(
            nn.Dense, self.features, use_bias=False, kernel_init=self.kernel_init
        )
        of_state = partial(
            nn.Dense,
            self.features,
            kernel_init=self.recurrent_kernel_init,
            bias_init=self.bias_init,
        )
        gates = {
            gate: of_inputs(name=f"i{gate}", **dtypes)(inputs)
            + of_state(name=f"h{gate}", **dtypes)(h)
            for gate in "ifgo"
        }
        i, f, o = (self.gate_fn(gates[gate]) for gate in "ifo")
        g = self.activation_fn(gates["g"])
        if not is_bare:
            g = drop_step(g, carry, rate=self.rate, flag=flag)
        c = f * c + i * g
        h = o * self.activation_fn(c)
        if is_bare:
            return (c, h), h
        if isinstance(carry, KeyedCarry):
            return advance(carry, (c, h)), h
        return MaskedCarry((c, h), carry.inputs, carry.state), h

    @property
    def num_feature_axes(self) -> int:
        """How many axes of the inputs are features."""
        return 1


class ZoneoutCell(RecurrentModule):
    """A recurrent cell whose units keep their old values at random, at every step.

    :func:`jaxdrop.zoneout` on the arrays of the carry, with masks of its own at each
    step. In evaluation the state is the expectation of old and new. The output is the
    state that results. The usual rates are 0.05 for the state and 0.5 for the memory of
    an LSTM.

    Inside ``jax.shard_map`` the scan of ``nn.RNN`` refuses the first carry of any cell,
    which is the same on every device. Start from one that varies, for example from
    ``jax.lax.pcast(zeros, "data", to="varying")``: pass what
    ``initialize_carry(..., carry=start)`` returns as ``initial_carry``.

    Attributes:
      cell: a cell such as ``nn.LSTMCell``, or a :class:`VariationalCell`.
      state_rate: the probability that a unit of the hidden state keeps its value.
      memory_rate: the probability that another array of the carry, the memory of an
        LSTM, keeps an entry.
      state: where the carry of the cell has its state: a key such as ``0`` or ``"h"``,
        a tuple of keys, or a function that takes the carry and returns the state. By
        default it is the array that is the state in Flax's cells, the only floating
        point array, or the array that the cell also returns as its output.
      output: what the output is: ``"state"``, the state that results; a function of it,
        such as ``lambda h: h.clip(-1, 1)``; or ``"cell"``, what the cell returned,
        before zoneout. By default it is the state for Flax's cells, transformed or not;
        a subclass that returns something else gives NaN there, any other cell an error.

    References:
      Krueger, Maharaj, Kramár, Pezeshki, Ballas, Ke, Goyal, Bengio, Courville, Pal,
      `Zoneout: regularizing RNNs by randomly preserving hidden activations
      <https://arxiv.org/abs/1606.01305>`_, ICLR 2017.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> from flax import linen as nn
      >>> cell = jaxdrop.linen.ZoneoutCell(
      ...     nn.LSTMCell(16), state_rate=0.05, memory_rate=0.5, deterministic=False
      ... )
      >>> keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
      >>> y, variables = nn.RNN(cell).init_with_output(keys, jnp.ones((4, 10, 8)))
      >>> y.shape
      (4, 10, 16)
    """

    cell: nn.RNNCellBase
    state_rate: Rate
    memory_rate: Rate = 0.0
    state: StateAt = None
    output: OutputIs = None

    def __post_init__(self) -> None:
        tidy(self)
        check_cell(self.cell)
        check_output(self.output)
        for name in ("state_rate", "memory_rate"):
            check_rate(getattr(self, name), name=name)
        super().__post_init__()

    @nn.nowrap
    def initialize_carry(
        self, rng: Key, input_shape: tuple[int, ...], *, carry: Any = None
    ) -> KeyedCarry:
        """Starts sequences: the carry of the cell, and keys from the collection.

        Args:
          rng: for the carry of the cell.
          input_shape: the shape of the inputs of one step, ``(*batch, features)``.
          carry: a carry of the cell to start from, such as that of an encoder; by
            default the cell makes one.

        Returns:
          A :class:`KeyedCarry`.
        """
        of_cell, of_keys = jax.random.split(rng)
        carry = self._start_cell(self.cell, of_cell, input_shape, carry=carry)
        flag = self._mode(None)
        key = self._start_key(of_keys, flag, self.memory_rate, self.state_rate)
        return start(carry, key, tuple(input_shape[: -self.num_feature_axes]))

    def __call__(self, carry: KeyedCarry, inputs: Array) -> tuple[KeyedCarry, Array]:
        """One step.

        Args:
          carry: from :meth:`initialize_carry`, or the step before.
          inputs: ``(*batch, features)``.

        Returns:
          The next carry, and the output of the cell.
        """
        flag = self._mode(None)
        rates = self.memory_rate, self.state_rate
        is_bare = is_plain(carry, (KeyedCarry,), rates=rates, flag=flag)
        keyed = KeyedCarry(carry, None, None) if is_bare else carry
        new, output = self.cell(keyed.cell, inputs)
        at = self._find_state(keyed.cell)
        if self._given_state() is None and self.output is None:
            check_assumed(new, output, at)
        following, output = zone_step(
            keyed,
            new,
            output,
            memory_rate=self.memory_rate,
            state_rate=self.state_rate,
            flag=flag,
            at=at,
            source=self._source_of_output(),
        )
        return following.cell if is_bare else following, output

    @nn.nowrap
    def _given_state(self) -> StateAt:
        if self.state is None and isinstance(self.cell, RecurrentModule):
            return getattr(self.cell, "state", None)  # given to a VariationalCell
        return self.state

    @nn.nowrap
    def _find_state(self, carry: Any) -> int | None:
        where, known = self._given_state(), knows_carry(self.cell)
        return find_state(carry, where, is_known=known)

    @nn.nowrap
    def _source_of_output(self) -> OutputIs:
        cell = self.cell
        known, own_step = knows_carry(cell), has_step_of_its_own(cell)
        return source_of_output(self.output, is_known=known, has_own_step=own_step)

    @property
    def num_feature_axes(self) -> int:
        """How many axes of the inputs are features."""
        return self.cell.num_feature_axes
