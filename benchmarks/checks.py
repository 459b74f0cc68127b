"""Whether an accelerator computes what double precision on the host does."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import jaxdrop
from jaxdrop import masks, prng
from programs import BOTH, FORWARD, RATE, Program, in_pass

KEYS: dict[str, Callable[[Array], Array]] = {
    "default": lambda key: key,
    "light": prng.light,
}


@dataclasses.dataclass(frozen=True)
class Check:
    """A comparison: the largest error, and what is allowed.

    Attributes:
      name: what is compared.
      error: the largest difference, in multiples of the largest reference value.
      at_most: what rounding explains.
    """

    name: str
    error: float
    at_most: float

    @property
    def holds(self) -> bool:
        """Whether the error is as small as it should be; NaN is not."""
        return self.error <= self.at_most


def data(arrays: tuple[Any, ...], seed: int = 0) -> tuple[Any, ...]:
    """Values for shapes and dtypes: normal numbers, and indices below 1000."""
    leaves, tree = jax.tree.flatten(arrays)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    values = [
        jax.random.normal(key, leaf.shape, leaf.dtype)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
        else jax.random.randint(key, leaf.shape, 0, 1000, leaf.dtype)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return tuple(jax.tree.unflatten(tree, values))


def same_masks(size: int) -> list[Check]:
    """Masks on the device, on the host, and of ``jax.random`` are equal bit for bit."""
    found = []
    host = jax.devices("cpu")[0]
    for name, convert in KEYS.items():
        key = jax.random.key(3)

        def draw(key: Array, convert: Callable[[Array], Array] = convert) -> Array:
            return masks.bernoulli(convert(key), (size, size + 1), rate=RATE)

        here = np.asarray(jax.jit(draw)(key))
        there = np.asarray(jax.jit(draw)(jax.device_put(key, host)))
        found.append(
            Check(f"mask, {name}, device and host", float((here != there).mean()), 0.0)
        )
    peer = jax.random.bernoulli(jax.random.key(3), 1 - RATE, (size, size + 1))
    ours = masks.bernoulli(jax.random.key(3), (size, size + 1), rate=RATE)
    wrong = float((ours != peer).mean())
    return [*found, Check("mask, default, jax.random.bernoulli", wrong, 0.0)]


def technique(name: str, program: Program) -> Check:
    """Values and gradients on the device in float32 against the host in float64.

    Techniques that draw numbers, which depend on the dtype, are compared with float32.
    """
    passing = BOTH if BOTH in program.passes else FORWARD
    function, shapes = in_pass(passing, program.ours, program.arrays)
    key, arrays = jax.random.key(1), data(shapes)
    with jax.default_matmul_precision("highest"):
        found = jax.tree.map(np.asarray, jax.jit(function)(key, *arrays))
    wide = not program.draws_numbers
    plain = [np.asarray(a) for a in arrays]
    with jax.enable_x64(wide), jax.default_device(jax.devices("cpu")[0]):
        if wide:
            plain = [
                a.astype(np.float64) if a.dtype == np.float32 else a for a in plain
            ]
            shapes = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in plain)
            program = dataclasses.replace(program, arrays=shapes[: len(program.arrays)])
            function, _ = in_pass(passing, program.ours, program.arrays)
        wanted = jax.jit(function)(jax.random.key(1), *plain)
        wanted = jax.tree.map(np.asarray, wanted)
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    error = max(_error(np.asarray(a), b) for a, b in pairs)
    return Check(name, error, 1e-4)


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype == np.float32 else array


def _error(found: np.ndarray, wanted: np.ndarray) -> float:
    wide = wanted.astype(np.float64)
    scale = max(float(np.abs(wide).max(initial=0)), 1e-30)
    return float(np.abs(found.astype(np.float64) - wide).max(initial=0)) / scale


@dataclasses.dataclass(frozen=True)
class Case:
    """A form of attention that is checked."""

    length: int
    heads: int
    key_heads: int
    features: int
    is_causal: bool
    has_bias: bool
    dtype: Any

    @property
    def name(self) -> str:
        """What the table calls it."""
        parts = [f"attention {self.length} x {self.heads} x {self.features}"]
        parts += [jnp.dtype(self.dtype).name]
        parts += ["causal"] * self.is_causal + ["bias"] * self.has_bias
        return ", ".join(parts + ["grouped"] * (self.heads != self.key_heads))


SMALL = Case(40, 2, 1, 16, True, True, jnp.float32)
CASES = [
    Case(384, 4, 4, 64, False, False, jnp.float32),
    Case(384, 4, 2, 128, True, False, jnp.float32),
    Case(384, 4, 4, 64, False, True, jnp.float32),
    Case(1024, 4, 4, 128, False, False, jnp.bfloat16),
    Case(1024, 4, 1, 64, True, False, jnp.bfloat16),
    Case(333, 4, 4, 80, True, False, jnp.bfloat16),
]


def attention(case: Case, generator: str) -> Check:
    """Output and gradients against the formula in float64 with the exported mask."""
    key = KEYS[generator](jax.random.key(5))
    query = (2, case.length, case.heads, case.features)
    keys = (2, case.length, case.key_heads, case.features)
    bias = (1, case.heads, case.length, case.length)
    shapes = [query, keys, keys, query] + [bias] * case.has_bias
    arrays = data(tuple(jax.ShapeDtypeStruct(s, case.dtype) for s in shapes))
    q, k, v, ct, *rest = arrays

    def attend(q: Array, k: Array, v: Array, *bias: Array) -> Array:
        return jaxdrop.dot_product_attention(
            key,
            q,
            k,
            v,
            rate=RATE,
            bias=bias[0] if bias else None,
            is_causal=case.is_causal,
        )

    @jax.jit
    def both(q: Array, k: Array, v: Array, ct: Array, *bias: Array) -> Any:
        y, pull = jax.vjp(attend, q, k, v, *bias)
        return y, *pull(ct)

    found = both(q, k, v, ct, *rest)
    mask = masks.bernoulli(key, (2, case.heads, case.length, case.length), rate=RATE)
    wanted = _formula(case, np.asarray(mask), *(np.asarray(a) for a in arrays))
    errors = [_error(np.asarray(a), b) for a, b in zip(found, wanted, strict=True)]
    at_most = 2e-2 if case.dtype == jnp.bfloat16 else 2e-3  # TF32 products on GPUs
    return Check(f"{case.name}, {generator}", max(errors), at_most)


def _formula(case: Case, mask: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    """Attention with dropout and its gradients, one line for each step."""
    q, k, v, ct, *bias = (a.astype(np.float64) for a in arrays)
    group = case.heads // case.key_heads
    k, v = (np.repeat(a, group, axis=2) for a in (k, v))
    scale = case.features**-0.5
    logits = np.einsum("btnh,bsnh->bnts", q, k, optimize=True) * scale
    if bias:
        logits = logits + bias[0]
    if case.is_causal:
        later = np.triu(np.ones((case.length, case.length), bool), 1)
        logits = np.where(later, -np.inf, logits)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    kept = mask / (1 - RATE)
    y = np.einsum("bnts,bsnh->btnh", weights * kept, v, optimize=True)
    d_v = np.einsum("bnts,btnh->bsnh", weights * kept, ct, optimize=True)
    d_weights = np.einsum("btnh,bsnh->bnts", ct, v, optimize=True) * kept
    inner = (d_weights * weights).sum(-1, keepdims=True)
    d_logits = weights * (d_weights - inner)
    d_q = np.einsum("bnts,bsnh->btnh", d_logits, k, optimize=True) * scale
    d_k = np.einsum("bnts,btnh->bsnh", d_logits, q, optimize=True) * scale
    shape = (*d_k.shape[:2], case.key_heads, group, case.features)
    d_k, d_v = (a.reshape(shape).sum(3) for a in (d_k, d_v))
    found = [y, d_q, d_k, d_v]
    return [*found, d_logits.sum(0, keepdims=True)] if bias else found
