"""Training steps, attention and Monte-Carlo prediction, as programs to compare."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

import jaxdrop
from programs import (
    FLAX,
    FORWARD,
    OURS,
    PLAIN,
    RATE,
    STEP,
    Function,
    Program,
    flax_dropout,
)

SAMPLES = 16
"""Of the Monte-Carlo prediction."""


def _ours(key: Array, x: Array) -> Array:
    return jaxdrop.dropout(key, x, rate=RATE)


def _nothing(key: Array, x: Array) -> Array:
    del key
    return x


DROPPERS = {OURS: _ours, FLAX: flax_dropout(), PLAIN: _nothing}


def _compared(make: Callable[[str], Function], *arrays: Any) -> Program:
    """A step by each dropper."""
    peers = {name: make(name) for name in (FLAX, PLAIN)}
    return Program(make(OURS), arrays, peers, passes=(STEP,))


def steps(
    size: int, dtype: Any, implementation: str | None = None
) -> dict[str, Program]:
    """Values and gradients of models with dropout.

    Args:
      size: of the hidden layer; the largest product is ``size**2 x size / 4``.
      dtype: of parameters and data.
      implementation: of our attention.
    """

    def of(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype)

    width, model = size // 4, size // 8
    channels = size // 32
    kernel = of(3, 3, channels, channels)
    block = {
        "qkv": of(2, 3, model, model),
        "out": of(2, model, model),
        "up": of(2, model, 4 * model),
        "down": of(2, 4 * model, model),
    }
    tokens = of(8, model, model)
    found = {
        "MLP step": _compared(
            lambda name: _gradient(_mlp, DROPPERS[name]),
            (of(width, size), of(size, width)),
            of(size, width),
        ),
        "convolution step": _compared(
            lambda name: _gradient(_convolutions, DROPPERS[name]),
            (kernel, kernel),
            of(64, 32, 32, channels),
        ),
        "scanned step": _compared(
            lambda name: _gradient(_scanned, DROPPERS[name]),
            of(4, width, width),
            of(size, width),
        ),
    }
    for row, also_weights in (
        ("transformer step", False),
        ("transformer step, attention too", True),
    ):

        def make(name: str, also_weights: bool = also_weights) -> Function:
            attend = attentions(implementation)[name if also_weights else PLAIN]
            return _gradient(_transformer, DROPPERS[name], attend)

        found[row] = _compared(make, block, tokens)
    return found


def transformed(size: int, dtype: Any) -> dict[str, Program]:
    """Steps under the transformations of JAX that copy or move what is drawn.

    Args:
      size: as in :func:`steps`.
      dtype: of parameters and data.
    """

    def again(drop: Function) -> Function:
        """An MLP whose layers are computed again in the backward pass."""

        def loss(params: Any, x: Array, key: Array) -> Array:
            return _mlp(params, x, key, drop)

        return _gradient(jax.checkpoint(loss))

    def scanned_again(drop: Function) -> Function:
        """A scan of such layers."""
        return _gradient(partial(_scanned, wrap=jax.checkpoint), drop)

    def mapped(loss: Function) -> Callable[[Function], Function]:
        """A step of four batches, each with a key of its own."""

        def of_all(params: Any, xs: Array, key: Array, drop: Function) -> Array:
            of_one = lambda x, key: loss(params, x, key, drop)
            return jnp.mean(jax.vmap(of_one)(xs, jax.random.split(key, 4)))

        return lambda drop: _gradient(of_all, drop)

    made = steps(size, dtype)
    ways: dict[str, tuple[Callable[[Function], Function], str, tuple[int, ...]]] = {
        "MLP step, computed again": (again, "MLP step", ()),
        "scanned step, computed again": (scanned_again, "scanned step", ()),
        "MLP step, four at once": (mapped(_mlp), "MLP step", (4,)),
        "convolution step, four at once": (
            mapped(_convolutions),
            "convolution step",
            (4,),
        ),
        "scanned step, four at once": (mapped(_scanned), "scanned step", (4,)),
    }
    found = {}
    for name, (make, row, batches) in ways.items():
        params, x = made[row].arrays
        xs = jax.ShapeDtypeStruct((*batches, *x.shape), x.dtype)
        found[name] = _compared(
            lambda contender, make=make: make(DROPPERS[contender]), params, xs
        )
    return found


def _gradient(loss: Function, *parts: Function) -> Function:
    """Value and gradient by the parameters, which come first."""

    def step(key: Array, params: Any, x: Array) -> Any:
        return jax.value_and_grad(loss)(params, x, key, *parts)

    return step


def _mean_square(y: Array) -> Array:
    return jnp.mean(jnp.square(y.astype(jnp.float32)))


def _mlp(params: Any, x: Array, key: Array, drop: Function) -> Array:
    first, second = params
    hidden = drop(jax.random.fold_in(key, 0), jax.nn.gelu(x @ first))
    return _mean_square(drop(jax.random.fold_in(key, 1), hidden @ second))


def _convolutions(params: Any, x: Array, key: Array, drop: Function) -> Array:
    for index, kernel in enumerate(params):
        numbers = ("NHWC", "HWIO", "NHWC")
        x = lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=numbers
        )
        x = drop(jax.random.fold_in(key, index), jax.nn.relu(x))
    return _mean_square(x)


def _scanned(
    params: Any, x: Array, key: Array, drop: Function, wrap: Function = lambda f: f
) -> Array:
    @wrap
    def layer(carry: tuple[Array, Array], kernel: Array) -> Any:
        x, index = carry
        x = drop(jax.random.fold_in(key, index), jax.nn.gelu(x @ kernel))
        return (x, index + 1), None

    (x, _), _ = lax.scan(layer, (x, jnp.int32(0)), params)
    return _mean_square(x)


def _transformer(
    params: Any, x: Array, key: Array, drop: Function, attend: Function
) -> Array:
    heads = max(1, x.shape[-1] // 128)
    for index in range(2):
        layer = {name: leaf[index] for name, leaf in params.items()}
        keys = jax.random.split(jax.random.fold_in(key, index), 3)
        normal = _normalized(x)
        arrays = (normal @ kernel for kernel in layer["qkv"])
        split = [a.reshape(*a.shape[:-1], heads, -1) for a in arrays]
        mixed = attend(keys[0], *split).reshape(x.shape)
        x = x + drop(keys[1], mixed @ layer["out"])
        hidden = jax.nn.gelu(_normalized(x) @ layer["up"])
        x = x + drop(keys[2], hidden @ layer["down"])
    return _mean_square(x)


def _normalized(x: Array) -> Array:
    wide = x.astype(jnp.float32)
    scale = lax.rsqrt(jnp.mean(wide * wide, -1, keepdims=True) + 1e-6)
    return (wide * scale).astype(x.dtype)


def attentions(implementation: str | None = None) -> dict[str, Function]:
    """Attention by contender, ours by one of its implementations."""

    def ours(key: Array, *arrays: Array) -> Array:
        return jaxdrop.dot_product_attention(
            key,
            *arrays,
            rate=RATE,
            implementation=implementation,  # type: ignore[arg-type]
        )

    return {OURS: ours, FLAX: _flax, PLAIN: _without_dropout}


def _flax(key: Array, *arrays: Array) -> Array:
    return nnx.dot_product_attention(
        *arrays, dropout_rng=key, dropout_rate=RATE, broadcast_dropout=False
    )


def _without_dropout(key: Array, *arrays: Array) -> Array:
    del key
    return jax.nn.dot_product_attention(*arrays)


def attention(
    length: int,
    dtype: Any,
    heads: int = 16,
    features: int = 128,
    implementation: str | None = None,
) -> Program:
    """Attention of one example with all its keys."""
    array = jax.ShapeDtypeStruct((1, length, heads, features), dtype)
    peers = attentions(implementation)
    return Program(peers.pop(OURS), (array,) * 3, peers)


def prediction(size: int, dtype: Any) -> Program:
    """Moments of a network's output over samples of its masks."""

    def network(drop: Function, key: Array, params: Any, x: Array) -> Array:
        first, second = params
        return drop(key, jax.nn.gelu(x @ first)) @ second

    def predict(key: Array, params: Any, x: Array) -> Any:
        def apply(key: Array, x: Array) -> Array:
            return network(_ours, key, params, x)

        moments = jaxdrop.mc.moments()
        return jaxdrop.mc.predict(
            apply, key, x, num_samples=SAMPLES, reducers=moments
        ).stats

    def mapped(key: Array, params: Any, x: Array) -> Any:
        keys = jax.random.split(key, SAMPLES)
        drop = DROPPERS[FLAX]
        y = jax.vmap(lambda key: network(drop, key, params, x))(keys)
        return y.mean(0), y.var(0)

    def once(key: Array, params: Any, x: Array) -> Array:
        return network(_nothing, key, params, x)

    width = size // 4
    params = (
        jax.ShapeDtypeStruct((width, size), dtype),
        jax.ShapeDtypeStruct((size, width), dtype),
    )
    x = jax.ShapeDtypeStruct((size // 8, width), dtype)
    peers = {FLAX: mapped, "one pass, no dropout": once}
    return Program(predict, (params, x), peers, passes=(FORWARD,))


def everything(
    size: int, lengths: list[int], dtype: Any, implementation: str | None = None
) -> dict[str, Program]:
    """What this file has, by row."""
    found = {
        f"attention, {n} keys": attention(n, dtype, implementation=implementation)
        for n in lengths
    }
    found[f"mc.predict, {SAMPLES} samples"] = prediction(size, dtype)
    return found | steps(size, dtype, implementation)
