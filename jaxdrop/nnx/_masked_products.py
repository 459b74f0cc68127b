"""Masks before the products of a recurrent cell of Flax NNX."""

import inspect
from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxdrop._dropout._carries import calls_another, comes_from_flax
from jaxdrop._dropout._dropped_layer import add_bias
from jaxdrop._dropout._sequences import Drop
from jaxdrop._typing import Array

_OF_INPUTS = {"ii": 0, "if_": 1, "ig": 2, "io": 3}
_OF_STATE = {"hi": 0, "hf": 1, "hg": 2, "ho": 3}
"""The products of ``nnx.LSTMCell`` by attribute, and the gates they are for."""

_GATES: dict[type[nnx.RNNCellBase], int] = {
    nnx.LSTMCell: 4,
    nnx.OptimizedLSTMCell: 4,
    nnx.GRUCell: 3,
    nnx.SimpleCell: 1,
}


def num_gates(cell: nnx.RNNCellBase, /) -> int:
    """How many gates a cell has; 0 where its products are not known."""
    return next((gates for kind, gates in _GATES.items() if isinstance(cell, kind)), 0)


def masks_products(cell: nnx.RNNCellBase, /, *, per_gate: bool) -> bool:
    """Whether masks belong before the products of a cell, and not on its arguments.

    Both are the same in an LSTM, whose state is only multiplied. In a GRU or a residual
    cell the state is the memory too, which has to pass undamped. Of a subclass with a
    step of its own nothing is known, unless it calls the step of another class.
    """
    if per_gate:
        return True
    is_memory = isinstance(cell, nnx.GRUCell) or (
        isinstance(cell, nnx.SimpleCell) and cell.residual
    )
    step = type(cell).__call__
    return is_memory and (comes_from_flax(step) or calls_another(step))


def step_with_masks(
    cell: nnx.RNNCellBase,
    carry: Any,
    inputs: Array,
    /,
    *,
    of_inputs: Drop,
    of_state: Drop,
    per_gate: bool,
) -> tuple[Any, Array]:
    """Runs a step of a cell, with masks before its products.

    The step is run by a twin of the cell, with the same variables, whose layers drop
    their inputs. It is a module of the same class, so that ``super()`` and
    transformations of NNX work as usual.

    Args:
      cell: a cell whose products are known.
      carry: its carry.
      inputs: its inputs.
      of_inputs: the masks of the inputs.
      of_state: those of the state.
      per_gate: whether there is a mask for each gate.

    Returns:
      The next carry, and the output of the cell.

    Raises:
      ValueError: if a product was not computed by the layer that is known for it.
    """
    twin = nnx.clone(cell, variables=False)
    for name, value in vars(cell).items():
        if not _is_private(name) and vars(twin).get(name) is not value:
            setattr(twin, name, value)  # the layers themselves, and not copies of them
    gates = num_gates(cell) if per_gate else None
    masked = {
        name: _MaskedProduct(getattr(cell, name), drop, gate, gates)
        for name, (drop, gate) in _drops(cell, of_inputs, of_state).items()
    }
    for name, layer in masked.items():
        setattr(twin, name, layer)
    before = dict(vars(twin))
    new, output = twin(carry, inputs)
    missed = [name for name in masked if not getattr(twin, name).calls]
    if missed:
        where = inspect.unwrap(type(cell).__call__).__qualname__
        raise ValueError(
            f"{where} does not call {', '.join(missed)}, whose inputs are masked. "
            "Pass state=, for example state=lambda carry: carry for a GRU: then its "
            "inputs and its state are masked on their way in."
        )
    _copy_changes(before, twin, cell, set(masked))
    return new, output


def _drops(cell: nnx.RNNCellBase, of_inputs: Drop, of_state: Drop) -> dict[str, Any]:
    if not isinstance(cell, nnx.LSTMCell):
        return {"dense_i": (of_inputs, None), "dense_h": (of_state, None)}
    return {
        **{name: (of_inputs, gate) for name, gate in _OF_INPUTS.items()},
        **{name: (of_state, gate) for name, gate in _OF_STATE.items()},
    }


def _copy_changes(
    before: dict[str, Any], twin: nnx.Module, cell: nnx.Module, masked: set[str]
) -> None:
    """Copies to a cell the attributes that its twin has set on itself."""
    after = vars(twin)
    for name in {*before, *after} - masked:
        if _is_private(name) or (
            name in before and name in after and before[name] is after[name]
        ):
            continue
        if name in after:
            setattr(cell, name, after[name])
        else:
            delattr(cell, name)


def _is_private(name: str) -> bool:
    return name.startswith("_pytree__")  # how Flax keeps track of a module


class _MaskedProduct(nnx.Module):
    """A linear layer that drops its inputs, and counts its calls."""

    def __init__(
        self, linear: nnx.Linear, drop: Drop, gate: int | None, gates: int | None
    ) -> None:
        self.linear = linear
        self.mask, self.rate, self.flag = drop.mask, drop.rate, drop.flag
        self.gate, self.gates = gate, gates
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "linear" not in vars(self):
            raise AttributeError(name)
        return getattr(vars(self)["linear"], name)

    def __call__(self, x: Array) -> Array:
        self.calls += 1
        drop = Drop(self.mask, self.rate, self.flag)
        if self.gates is not None and self.gate is None:
            return _product_of_gates(self.linear, x, drop, self.gates)
        return self.linear(drop(x, self.gate))


def _product_of_gates(linear: nnx.Linear, x: Array, drop: Drop, gates: int) -> Array:
    """The products of all gates at once, each with a mask of its own."""
    tiled = jnp.broadcast_to(x[..., None, :], (*x.shape[:-1], gates, x.shape[-1]))
    bias = None if linear.bias is None else linear.bias[...]
    x, kernel, bias = linear.promote_dtype(
        (drop(tiled), linear.kernel[...], bias), dtype=linear.dtype
    )
    kernel = jnp.reshape(kernel, (kernel.shape[0], gates, -1))
    y = jnp.einsum("...gf,fgh->...gh", x, kernel, precision=linear.precision)
    y = jnp.reshape(y, (*y.shape[:-2], -1))
    return add_bias(y, bias)
