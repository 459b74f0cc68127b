"""Recurrent cells with dropout, as NNX modules, for ``flax.nnx.RNN``."""

from collections.abc import Callable
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from jaxdrop._checks import check_rate, require_key
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
from jaxdrop._typing import Array, Key
from jaxdrop._typing import Rate as RateLike
from jaxdrop.nnx._linear import require_rngs
from jaxdrop.nnx._module import KeySource, Mode, Rate, StochasticModule
from jaxdrop.nnx._rate import hold_rate, rate_of

_orthogonal = nnx.initializers.orthogonal()


class RecurrentModule(StochasticModule, nnx.RNNCellBase):
    """A recurrent cell that draws when a sequence starts.

    It takes its key from its own stream, unless a key is given with the start of the
    sequence. The mode is that of the module: ``flax.nnx.RNN`` hands on none, and the
    stream that it passes to ``initialize_carry`` is the same in every model.
    """

    def _sources(
        self, rngs: KeySource | None, flag: bool | Array, *rates: RateLike
    ) -> tuple[Key | None, KeySource | None]:
        """The sources of a sequence: the key of its masks, and that of its memory.

        A key, or ``nnx.Rngs`` with the stream of this module, serves both. A stream is
        for the memory alone. The key of the masks is drawn only where it is needed.
        """
        if not self._draws_from(rngs):
            return start_key(self._own_key, flag, rates), rngs
        key = require_key(self._draw_key(rngs))
        of_masks, of_memory = jax.random.split(key)
        of_sequence = start_key(lambda: of_masks, flag, rates)
        return of_sequence, nnx.Rngs(of_memory)

    def _draws_from(self, rngs: KeySource | None) -> bool:
        if isinstance(rngs, nnx.Rngs):
            return self.rng_collection in rngs or "default" in rngs
        return not (rngs is None or isinstance(rngs, nnx.RngStream))

    def _own_key(self) -> Key:
        if self.rngs is None:
            raise ValueError(
                "there are no keys, which training needs: pass "
                f"rngs=nnx.Rngs({self.rng_collection}=0) to its constructor; pass a "
                "key, not nnx.Rngs or a stream, as rngs= to the call of nnx.RNN or to "
                "initialize_carry; or use model.eval()."
            )
        return self._draw_key()

    def _start_cell(
        self,
        cell: Any,
        input_shape: tuple[int, ...],
        rngs: Any,
        *args: Any,
        carry: Any,
    ) -> Any:
        """The carry of the cell within, from which a sequence starts."""
        ours: Any = cell
        if isinstance(cell, RecurrentModule):
            return ours.initialize_carry(input_shape, rngs, *args, carry=carry)
        if carry is None:
            return cell.initialize_carry(input_shape, rngs, *args)
        batch = tuple(input_shape[: -cell.num_feature_axes])
        return check_start(carry, batch)

    def _hold_rate(self, rate: RateLike | Rate, name: str) -> RateLike | Rate:
        held: RateLike | Rate = hold_rate(rate, name=name)
        if not isinstance(held, nnx.Variable):
            check_rate(held, name=name)
        return held

    def _rate(self, name: str) -> RateLike:
        """The rate that an attribute is at the moment."""
        rate: RateLike = rate_of(getattr(self, name), name=name)
        return rate


def knows_carry(cell: nnx.RNNCellBase, /) -> bool:
    """Whether a cell has the carry of a cell of Flax, whose last array is the state."""
    return comes_from_flax(type(_innermost(cell)).initialize_carry)


def has_step_of_its_own(cell: nnx.RNNCellBase, /) -> bool:
    """Whether the step of a cell is one that Flax does not define."""
    return not comes_from_flax(type(_innermost(cell)).__call__)


def _innermost(cell: Any) -> nnx.RNNCellBase:
    while isinstance(cell, RecurrentModule) and hasattr(cell, "cell"):
        cell = cell.cell
    found: nnx.RNNCellBase = cell
    return found


class RecurrentDropoutLSTMCell(RecurrentModule, nnx.OptimizedLSTMCell):
    """An LSTM that drops what it writes into its memory, and never the memory.

    Dropout of the candidate update alone, ``c' = f * c + i * drop(g)``: what the memory
    holds is neither erased nor rescaled, however long the sequence is. One mask serves
    a sequence, or each step draws its own. The usual rate is 0.25 to 0.5. Parameters
    and other arguments are those of ``flax.nnx.OptimizedLSTMCell``.

    Inside ``jax.shard_map`` the scan of ``nnx.RNN`` refuses the first carry of any
    cell, which is the same on every device. Start from one that varies, for example
    from ``jax.lax.pcast(zeros, "data", to="varying")``: pass what
    ``initialize_carry(..., carry=start)`` returns as ``initial_carry``.

    Args:
      in_features: the number of input features.
      hidden_features: the number of units.
      rate: the probability of dropping a unit's update.
      per_step: draw a mask for each step, instead of one for the sequence.
      gate_fn: the activation of the gates.
      activation_fn: the activation of the update and the output.
      kernel_init: the initializer of the kernels of the inputs.
      recurrent_kernel_init: the initializer of the kernels of the state.
      bias_init: the initializer of the biases.
      dtype: the dtype to compute in; by default that of inputs and parameters.
      param_dtype: the dtype of the parameters.
      **mode: see :class:`StochasticModule`; ``rngs`` is required for initialization.

    References:
      Semeniuta, Severyn, Barth, `Recurrent dropout without memory loss
      <https://arxiv.org/abs/1603.05118>`_, COLING 2016.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> cell = jaxdrop.nnx.RecurrentDropoutLSTMCell(8, 16, 0.25, rngs=nnx.Rngs(0))
      >>> nnx.RNN(cell)(jnp.ones((4, 10, 8))).shape
      (4, 10, 16)
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        rate: RateLike | Rate,
        *,
        per_step: bool = False,
        gate_fn: Callable[[Array], Array] = nnx.sigmoid,
        activation_fn: Callable[[Array], Array] = nnx.tanh,
        kernel_init: Any = nnx.initializers.lecun_normal(),
        recurrent_kernel_init: Any = _orthogonal,
        bias_init: Any = nnx.initializers.zeros_init(),
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        **mode: Unpack[Mode],
    ) -> None:
        nnx.OptimizedLSTMCell.__init__(
            self,
            in_features,
            hidden_features,
            gate_fn=gate_fn,
            activation_fn=activation_fn,
            kernel_init=kernel_init,
            recurrent_kernel_init=recurrent_kernel_init,
            bias_init=bias_init,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=require_rngs(mode.get("rngs")),
        )
        StochasticModule.__init__(self, **mode)
        self.rate = self._hold_rate(rate, "rate")
        self.per_step = per_step

    def initialize_carry(  # type: ignore[override]
        self,
        input_shape: tuple[int, ...],
        rngs: Any = None,
        carry_init: Any = None,
        *,
        carry: Any = None,
    ) -> MaskedCarry | KeyedCarry:
        """Starts sequences: memory and state, and masks or keys.

        Args:
          input_shape: the shape of the inputs of one step, ``(*batch, features)``.
          rngs: a key or ``nnx.Rngs``, for masks, memory and state; a stream is for
            memory and state alone, and masks come from the module's own.
          carry_init: the initializer of memory and state, zeros by default.
          carry: memory and state to start from, such as those of an encoder.

        Returns:
          A :class:`MaskedCarry`, or a :class:`KeyedCarry` with ``per_step``.
        """
        flag, rate = self._mode(None), self._rate("rate")
        key, rngs = self._sources(rngs, flag, rate)
        batch = tuple(input_shape[:-1])
        if carry is None:
            carry = nnx.OptimizedLSTMCell.initialize_carry(
                self, input_shape, rngs, carry_init
            )
        carry = check_start(carry, batch)
        if self.per_step:
            return start(carry, key, batch)
        mask = draw_mask(key, carry[1].shape, rate=rate, flag=flag)
        return MaskedCarry(carry, None, mask)

    def __call__(self, carry: Any, inputs: Array) -> tuple[Any, Array]:
        """One step.

        Args:
          carry: from :meth:`initialize_carry`, or the step before.
          inputs: ``(*batch, features)``.

        Returns:
          The next carry, and the new state.
        """
        flag, rate = self._mode(None), self._rate("rate")
        kinds = MaskedCarry, KeyedCarry
        is_bare = is_plain(carry, kinds, rates=(rate,), flag=flag)
        c, h = carry if is_bare else carry.cell
        gates = jnp.split(self.dense_i(inputs) + self.dense_h(h), 4, axis=-1)
        i, f, o = (self.gate_fn(gates[index]) for index in (0, 1, 3))
        g = self.activation_fn(gates[2])
        if not is_bare:
            g = drop_step(g, carry, rate=rate, flag=flag)
        c = f * c + i * g
        h = o * self.activation_fn(c)
        if is_bare:
            return (c, h), h
        if isinstance(carry, KeyedCarry):
            return advance(carry, (c, h)), h
        return MaskedCarry((c, h), carry.inputs, carry.state), h


class ZoneoutCell(RecurrentModule):
    """A recurrent cell whose units keep their old values at random, at every step.

    :func:`jaxdrop.zoneout` on the arrays of the carry, with masks of its own at each
    step. In evaluation the state is the expectation of old and new. The output is the
    state that results. The usual rates are 0.05 for the state and 0.5 for the memory of
    an LSTM.

    Inside ``jax.shard_map`` the scan of ``nnx.RNN`` refuses the first carry of any
    cell, which is the same on every device. Start from one that varies, for example
    from ``jax.lax.pcast(zeros, "data", to="varying")``: pass what
    ``initialize_carry(..., carry=start)`` returns as ``initial_carry``.

    Args:
      cell: a cell such as ``nnx.LSTMCell``, or a :class:`VariationalCell`.
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
      **mode: see :class:`StochasticModule`.

    References:
      Krueger, Maharaj, Kramár, Pezeshki, Ballas, Ke, Goyal, Bengio, Courville, Pal,
      `Zoneout: regularizing RNNs by randomly preserving hidden activations
      <https://arxiv.org/abs/1606.01305>`_, ICLR 2017.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> lstm = nnx.LSTMCell(8, 16, rngs=rngs)
      >>> cell = jaxdrop.nnx.ZoneoutCell(
      ...     lstm, state_rate=0.05, memory_rate=0.5, rngs=rngs
      ... )
      >>> nnx.RNN(cell)(jnp.ones((4, 10, 8))).shape
      (4, 10, 16)
    """

    def __init__(
        self,
        cell: nnx.RNNCellBase,
        *,
        state_rate: RateLike | Rate,
        memory_rate: RateLike | Rate = 0.0,
        state: StateAt = None,
        output: OutputIs = None,
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(**mode)
        check_output(output)
        check_cell(cell)
        self.cell = cell
        self.state_rate = self._hold_rate(state_rate, "state_rate")
        self.memory_rate = self._hold_rate(memory_rate, "memory_rate")
        self.state = state
        self.output = output

    def initialize_carry(
        self,
        input_shape: tuple[int, ...],
        rngs: Any = None,
        *args: Any,
        carry: Any = None,
    ) -> KeyedCarry:
        """Starts sequences: the carry of the cell, and keys of the steps.

        Args:
          input_shape: the shape of the inputs of one step, ``(*batch, features)``.
          rngs: a key or ``nnx.Rngs``, for masks and the carry of the cell; a stream is
            for the carry alone, and masks come from the module's own.
          *args: what else the cell takes.
          carry: a carry of the cell to start from, such as that of an encoder; by
            default the cell makes one.

        Returns:
          A :class:`KeyedCarry`.
        """
        rates = self._rate("memory_rate"), self._rate("state_rate")
        key, rngs = self._sources(rngs, self._mode(None), *rates)
        carry = self._start_cell(self.cell, input_shape, rngs, *args, carry=carry)
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
        rates = self._rate("memory_rate"), self._rate("state_rate")
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
            memory_rate=rates[0],
            state_rate=rates[1],
            flag=flag,
            at=at,
            source=self._source_of_output(),
        )
        return following.cell if is_bare else following, output

    def _given_state(self) -> StateAt:
        if self.state is None and isinstance(self.cell, RecurrentModule):
            return getattr(self.cell, "state", None)  # given to a VariationalCell
        return self.state

    def _find_state(self, carry: Any) -> int | None:
        where, known = self._given_state(), knows_carry(self.cell)
        return find_state(carry, where, is_known=known)

    def _source_of_output(self) -> OutputIs:
        cell = self.cell
        known, own_step = knows_carry(cell), has_step_of_its_own(cell)
        return source_of_output(self.output, is_known=known, has_own_step=own_step)

    @property
    def num_feature_axes(self) -> int:
        """How many axes of the inputs are features."""
        return self.cell.num_feature_axes
