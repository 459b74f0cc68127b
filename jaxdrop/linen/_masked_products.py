"""Masks before the products of a recurrent cell of Flax Linen."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from flax import linen as nn

from jaxdrop._dropout._carries import calls_another, comes_from_flax
from jaxdrop._dropout._sequences import Drop
from jaxdrop._typing import Array
from jaxdrop.linen._cells import RecurrentDropoutLSTMCell

_GATES: dict[type[nn.RNNCellBase], tuple[str, ...]] = {
    nn.LSTMCell: ("i", "f", "g", "o"),
    RecurrentDropoutLSTMCell: ("i", "f", "g", "o"),
    nn.GRUCell: ("r", "z", "n"),
    nn.MGUCell: ("f", "n"),
    nn.SimpleCell: ("",),
}
"""Cells whose products are layers of their own, named ``i`` or ``h`` and the gate."""


class _Dropping(NamedTuple):
    """The carry of a cell, and the masks on their way to its products.

    Transformations between :func:`step_with_masks` and the products, such as
    ``nn.remat(nn.GRUCell)``, take it as the argument that the carry is. The masks of
    the step that is returned are None: they have reached the products.
    """

    carry: Any
    of_inputs: Drop | None
    of_state: Drop | None


def gates_of(cell: nn.RNNCellBase, /) -> tuple[str, ...]:
    """The gates of a cell; none where its products are not known."""
    for kind, gates in _GATES.items():
        if isinstance(cell, kind):
            return gates
    return ()


def masks_products(cell: nn.RNNCellBase, /, *, per_gate: bool) -> bool:
    """Whether masks belong before the products of a cell, and not on its arguments.

    Both are the same in an LSTM, whose state is only multiplied. In a GRU or a residual
    cell the state is the memory too, which has to pass undamped. Of a subclass with a
    step of its own nothing is known, unless it calls the step of another class.
    """
    if per_gate:
        return True
    is_memory = isinstance(cell, nn.GRUCell | nn.MGUCell) or (
        isinstance(cell, nn.SimpleCell) and cell.residual
    )
    step = type(cell).__call__
    return is_memory and (comes_from_flax(step) or calls_another(step))


def step_with_masks(
    cell: nn.RNNCellBase,
    carry: Any,
    inputs: Array,
    /,
    *,
    of_inputs: Drop,
    of_state: Drop,
) -> tuple[Any, Array]:
    """Runs a step of a cell, with masks before its products.

    Args:
      cell: a cell whose products are known, transformed or not.
      carry: its carry.
      inputs: its inputs.
      of_inputs: the masks of the inputs.
      of_state: those of the state.

    Returns:
      The next carry, and the output of the cell.

    Raises:
      ValueError: if a product was not computed by the layer that is known for it.
    """
    call: Any = cell
    with nn.intercept_methods(_unpack):
        step: Any = call(_Dropping(carry, of_inputs, of_state), inputs)
    (new, *_), output = step
    return new, output


def _unpack(
    call: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: nn.module.InterceptorContext,
) -> Any:
    """Takes the masks out of the carry where the code of a step is reached."""
    cell: Any = context.module
    is_step = context.method_name == "__call__" and isinstance(cell, nn.RNNCellBase)
    if not is_step or not args or not isinstance(args[0], _Dropping):
        return call(*args, **kwargs)
    step: Any = context.orig_method
    if inspect.unwrap(step.func) is not step.func:  # a transformation of the step
        return call(*args, **kwargs)
    carry, of_inputs, of_state = args[0]
    drops: dict[str, Any] = {
        **{f"i{gate}": (of_inputs, i) for i, gate in enumerate(gates_of(cell))},
        **{f"h{gate}": (of_state, i) for i, gate in enumerate(gates_of(cell))},
    }
    missed = dict.fromkeys(drops)

    def mask(
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        layer: Any = context.module
        called = context.method_name == "__call__" and layer.parent is cell
        if not called or layer.name not in drops:
            return call(*args, **kwargs)
        drop, gate = drops[layer.name]
        missed.pop(layer.name, None)
        return call(drop(args[0], gate), *args[1:], **kwargs)

    with nn.intercept_methods(mask):
        new, output = call(carry, *args[1:], **kwargs)
    if missed:
        raise ValueError(
            f"{step.func.__qualname__} does not call {', '.join(missed)}, whose inputs "
            "are masked. Pass state=, for example state=lambda carry: carry for a GRU: "
            "then its inputs and its state are masked on their way in."
        )
    return _Dropping(new, None, None), output
