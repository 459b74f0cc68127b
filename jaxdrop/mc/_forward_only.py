"""The identity function, whose reverse-mode gradient raises an error.

It is a primitive, since no other construct of JAX can be batched and differentiated in
forward mode, but raises when it is transposed.
"""

from typing import NoReturn

import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxdrop._errors import named_as
from jaxdrop._typing import Array


def forward_only(x: Array, /) -> Array:
    """Returns ``x``, a result of sampling until a tolerance is reached."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    same: Array = _FORWARD_ONLY.bind(x)
    return same


@named_as("mc.predict")
def _refuse(cotangent: object, x: object) -> NoReturn:
    del cotangent, x
    raise ValueError(
        "with tol= there is no reverse-mode gradient, because the number of samples is "
        "not known in advance; use a fixed num_samples and tol=None."
    )


_FORWARD_ONLY = Primitive("jaxdrop.mc.forward_only")
_FORWARD_ONLY.def_impl(lambda x: x)
_FORWARD_ONLY.def_abstract_eval(lambda x: x)
ad.deflinear2(_FORWARD_ONLY, _refuse)
batching.defvectorized(_FORWARD_ONLY)
mlir.register_lowering(_FORWARD_ONLY, lambda _, x: [x])
