"""What must work where the library was installed without its repository."""

import importlib.resources
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxdrop

found = pathlib.Path(jaxdrop.__file__)
assert found.is_relative_to(sys.prefix), f"imported from {found}"
assert importlib.resources.files(jaxdrop).joinpath("py.typed").is_file()
for name in dir(jaxdrop):
    if name != "plots":  # which needs matplotlib, an extra
        getattr(jaxdrop, name)

x = jnp.ones((64, 64))
y = jax.jit(jaxdrop.dropout)(jax.random.key(0), x, rate=0.5)
np.testing.assert_array_equal(np.unique(y), [0, 2])

drop = jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0))
np.testing.assert_array_equal(np.unique(drop(x)), [0, 2])
drop.eval()
np.testing.assert_array_equal(drop(x), x)

drop = jaxdrop.linen.Dropout(0.5, deterministic=False)
y = drop.apply({}, x, rngs={"dropout": jax.random.key(0)})
np.testing.assert_array_equal(np.unique(y), [0, 2])
print(f"jaxdrop {jaxdrop.__version__} works from {found.parent}")
