"""Properties of primitives, by name.

A primitive that is missing here is handled correctly, but not optimally: its outputs
are assumed to depend on all its inputs and to be expensive, and its form is not
recognized.
"""

VIEWS = frozenset({"broadcast_in_dim", "reshape", "squeeze", "transpose"})
"""The same entries in another shape, without cost."""

IDENTITIES = frozenset(
    {"copy", "copy_p", "name", "optimization_barrier", "xla_metadata_value"}
)
"""Each output equals the operand at its index; they only inform the compiler."""

_COPIES = IDENTITIES.union(
    ("convert_element_type", "pcast", "pvary", "reduce_precision", "rev", "slice"),
    ("stop_gradient",),
)
_PLACED = frozenset({"reshard", "sharding_constraint"})  # may need communication

LAYOUT = VIEWS | _COPIES | _PLACED
"""The same entries, or some of them, in another form or place."""

ELEMENTWISE = frozenset(
    {
        *("abs", "add", "add_any", "and", "atan2", "cbrt", "ceil", "clamp", "cos"),
        *("div", "eq", "erf", "erf_inv", "exp", "exp2", "expm1", "floor", "ge", "gt"),
        *("integer_pow", "is_finite", "le", "log", "log1p", "logistic", "lt", "max"),
        *("min", "mul", "ne", "neg", "nextafter", "not", "or", "pow", "rem", "round"),
        *("rsqrt", "select_n", "shift_left", "shift_right_arithmetic"),
        *("shift_right_logical", "sign", "sin", "sqrt", "square", "sub", "tan"),
        *("tanh", "xor"),
    }
)
"""Each entry of the output depends on the entries of the inputs at its position."""

CHEAP = (VIEWS | _COPIES | ELEMENTWISE).union(
    ("bitcast_convert_type", "concatenate", "iota", "pad", "platform_index")
)
"""Costs no more than the memory it reads, and is fused into its consumer."""
