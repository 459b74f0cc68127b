"""Arguments of every kind, whether a function takes them or not."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from jaxdrop import prng

LONG = 4099
"""A prime above the length from which a mask is drawn into memory."""

SHAPES = [
    *((), (1,), (0,), (7,), (LONG,)),
    *((2, 3), (3, 2), (2, 2), (5, 0), (0, 4), (1, 1), (2, LONG)),
    *((2, 3, 5), (2, 0, 3), (2, 4, 4, 2), (2, 3, 2, 1, 3)),
]
"""Of none to five axes: empty, of one, prime, long."""

FLOATS = [
    *(jnp.float32, jnp.bfloat16, jnp.float16, jnp.float64),
    *(jnp.float8_e4m3fn, jnp.float8_e5m2, jnp.float8_e4m3b11fnuz),
]
DTYPES = [*FLOATS, jnp.int32, jnp.uint8, jnp.bool_, jnp.complex64]

FILLS = [0.0, 1.0, -1.0, 0.5, float("nan"), float("inf"), 1e-45, 3e38]

ALMOST_ONE = 1 - 2.0**-24
"""One ulp of float32 below 1."""

RATES = [0.0, 1e-45, 2.0**-24, 2.0**-23, 0.3, 0.5, 0.5 + 2.0**-24, ALMOST_ONE, 1.0]

NUMBERS = [
    *(0, 1, 2, 3, -1, 9, 2**70, 10**400, True, 0.5, 1.5, -0.5, 1j),
    *RATES,
    *(float("nan"), float("inf"), -float("inf"), np.float64(0.5), np.int8(2)),
    *(np.float32("nan"), jnp.bfloat16(0.5), np.bool_(True), np.complex64(1)),
]

OBJECTS = [
    *(None, "", "text", b"bytes", ..., (), (0,), (0, 0), (-1,), (5,), (1.5,), [], [0]),
    *([1, 2], [0.5, 0.5], [[0.5, 0.5], [1]], ["text"], {}, {0}, {"kernel": 0.5}),
    *({"kernel": None}, slice(None), object(), range(2), np.str_("text")),
    *((None,), (True,), (2**70,), np.array("text"), np.array([None, 1], object)),
    *(np.array("2026-01-01", np.datetime64), np.zeros(2, [("a", np.float32)])),
]


def filled(shape, dtype, fill, room):
    """An array of NumPy or JAX, with one number in it or with many."""
    if fill == "many":
        values = np.linspace(-1, 2, int(np.prod(shape))).reshape(shape)
    else:
        values = np.full(shape, fill)
    with np.errstate(all="ignore"):
        array = np.asarray(values, np.complex128).real.astype(dtype)
    return jax.device_put(array) if room == "jax" else array


arrays = st.builds(
    filled,
    st.sampled_from(SHAPES),
    st.sampled_from(DTYPES),
    st.sampled_from([*FILLS, "many"]),
    st.sampled_from(["numpy", "jax"]),
)
scalars = st.builds(
    filled,
    st.just(()),
    st.sampled_from(DTYPES),
    st.sampled_from([*FILLS, *RATES]),
    st.sampled_from(["numpy", "jax"]),
)

KEYS = {
    "typed": lambda seed: jax.random.key(seed),
    "raw": lambda seed: jax.random.key_data(jax.random.key(seed)),
    "of NumPy": lambda seed: np.asarray(jax.random.key_data(jax.random.key(seed))),
    "fused": lambda seed: prng.fuse(jax.random.key(seed)),
    "light": lambda seed: prng.light(jax.random.key(seed)),
    "rbg": lambda seed: jax.random.key(seed, impl="rbg"),
    "unsafe_rbg": lambda seed: jax.random.key(seed, impl="unsafe_rbg"),
}
NO_KEYS = {
    "many": lambda seed: jax.random.split(jax.random.key(seed), 3),
    "many raw": lambda seed: jax.random.key_data(
        jax.random.split(jax.random.key(seed), 3)
    ),
    "none": lambda seed: jax.random.split(jax.random.key(seed), 0),
}
keys = st.builds(lambda kind: KEYS[kind](3), st.sampled_from([*KEYS]))

anything = st.one_of(
    arrays,
    arrays,
    scalars,
    st.sampled_from(NUMBERS),
    st.sampled_from(OBJECTS),
    st.builds(
        lambda make: make(3), st.sampled_from([*KEYS.values(), *NO_KEYS.values()])
    ),
)
