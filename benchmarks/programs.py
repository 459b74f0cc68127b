"""The programs that are compared on accelerators, as functions of a key and arrays.

Every technique is here once, with an array of ``size**2`` entries, and so are the
training steps in which dropout is used. Where a peer computes the same, it is beside
ours; the light generator is ours with another key.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

import jaxdrop
from jaxdrop import inputs, prng

RATE = 0.1
OURS, LIGHT, FLAX, PLAIN, FLOOR = "jaxdrop", "light", "flax.nnx", "no dropout", "x * c"
FORWARD, BOTH, STEP = "forward", "forward + backward", "step"
Function = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Program:
    """What is compared in one row.

    Attributes:
      ours: a function of a key and arrays.
      arrays: the arrays, as shapes and dtypes.
      peers: functions of the same that compute the same, or a floor, by name.
      passes: which of ``forward``, ``forward + backward`` and ``step`` (as it is).
      draws_numbers: whether it draws numbers of the data's dtype, not only bits.
    """

    ours: Function
    arrays: tuple[Any, ...]
    peers: Mapping[str, Function] = dataclasses.field(default_factory=dict)
    passes: tuple[str, ...] = (FORWARD, BOTH)
    draws_numbers: bool = False

    @property
    def contenders(self) -> dict[str, Function]:
        """Ours with either generator, and the peers, by name."""

        def light(key: Array, *arrays: Any) -> Any:
            return self.ours(prng.light(key), *arrays)

        return {OURS: self.ours, LIGHT: light, **self.peers}


def in_pass(name: str, function: Function, arrays: tuple[Any, ...]) -> Any:
    """A pass of a function, and the arrays it is called with behind the key.

    Forward and backward are one program, with a cotangent that is given, so that it
    cannot be simplified away.
    """
    if name != BOTH:
        return function, arrays
    moving = [i for i, a in enumerate(arrays) if jnp.issubdtype(a.dtype, jnp.floating)]

    def outputs(key: Array, *arrays: Any) -> list[Array]:
        leaves = jax.tree.leaves(function(key, *arrays))
        return [y for y in leaves if jnp.issubdtype(y.dtype, jnp.floating)]

    key = jax.eval_shape(lambda: jax.random.key(0))
    cotangents = tuple(jax.eval_shape(outputs, key, *arrays))

    def both(key: Array, *given: Any) -> Any:
        arrays_, cts = given[: len(arrays)], given[len(arrays) :]

        def of_moving(*moved: Array) -> list[Array]:
            full = list(arrays_)
            for index, value in zip(moving, moved, strict=True):
                full[index] = value
            return outputs(key, *full)

        y, pull = jax.vjp(of_moving, *(arrays_[i] for i in moving))
        return y, pull(list(cts))

    return both, (*arrays, *cotangents)


def flax_dropout(broadcast_dims: tuple[int, ...] = (), rate: float = RATE) -> Function:
    """Flax's dropout as a function of a key and an array."""
    layer = nnx.Dropout(rate, broadcast_dims=broadcast_dims)
    return lambda key, x: layer(x, rngs=key)


def techniques(size: int, dtype: Any) -> dict[str, Program]:
    """Every technique, on ``size**2`` entries.

    Args:
      size: a multiple of 64.
      dtype: of the data.
    """

    def of(*shape: int, kind: Any = dtype) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, kind)

    flat, scalar = of(size, size), of(kind=jnp.float32)
    sequence = of(size // 32, 32, size)
    image = of(size // 32, 16, 16, size // 8)
    heads = of(size // 32, 32, 16, size // 16)
    ids = of(size // 32, 32, kind=jnp.int32)
    labels = of(size // 32, 10)
    weights = of(size // 64, 4, 16, size)

    def dropped(function: Function, **knobs: Any) -> Function:
        return lambda key, x: function(key, x, rate=RATE, **knobs)

    one = {
        "dropout": Program(
            dropped(jaxdrop.dropout),
            (flat,),
            {FLAX: flax_dropout(), FLOOR: lambda key, x: x * 1.25},
        ),
        "spatial_dropout": Program(
            dropped(jaxdrop.spatial_dropout), (image,), {FLAX: flax_dropout((1, 2))}
        ),
        "stochastic_depth": Program(
            dropped(jaxdrop.stochastic_depth), (flat,), {FLAX: flax_dropout((1,))}
        ),
        "locked_dropout": Program(
            dropped(jaxdrop.locked_dropout), (sequence,), {FLAX: flax_dropout((1,))}
        ),
        "drop_connect": Program(
            dropped(jaxdrop.drop_connect), (flat,), {FLAX: flax_dropout()}
        ),
        "gaussian_dropout": Program(
            dropped(jaxdrop.gaussian_dropout), (flat,), draws_numbers=True
        ),
        "alpha_dropout": Program(dropped(jaxdrop.alpha_dropout), (flat,)),
        "feature_alpha_dropout": Program(
            dropped(jaxdrop.feature_alpha_dropout), (image,)
        ),
        "drop_block": Program(dropped(jaxdrop.drop_block, block_size=3), (image,)),
        "drop_head": Program(dropped(jaxdrop.drop_head), (heads,)),
        "drop_key": Program(_drop_key, (weights,)),
        "token_dropout": Program(dropped(jaxdrop.token_dropout), (sequence,)),
        "shake_drop": Program(dropped(jaxdrop.shake_drop), (flat,), draws_numbers=True),
        "layer_drop": Program(_layer_drop, (flat,)),
        "multi_sample": Program(_multi_sample, (flat,)),
        "subset_stochastic_depth": Program(_subset, (flat,)),
        "masksembles": Program(_masksembles, (flat,)),
        "hard_concrete": Program(
            lambda key, x: jaxdrop.hard_concrete(key, x), (flat,), draws_numbers=True
        ),
    }
    several = {
        "embedding_dropout": Program(
            lambda key, x, ids: jaxdrop.embedding_dropout(key, x, ids, rate=RATE),
            (sequence, ids),
        ),
        "mixout": Program(
            lambda key, x, old: jaxdrop.mixout(key, x, old, rate=RATE), (flat, flat)
        ),
        "zoneout": Program(
            lambda key, x, old: jaxdrop.zoneout(key, x, old, rate=RATE), (flat, flat)
        ),
        "shake_shake": Program(jaxdrop.shake_shake, (flat, flat), draws_numbers=True),
        "concrete_dropout": Program(
            jaxdrop.concrete_dropout, (flat, scalar), draws_numbers=True
        ),
        "variational_dense": Program(
            jaxdrop.variational_dense, (flat, flat, flat), draws_numbers=True
        ),
    }
    of_inputs = {
        "inputs.gaussian_noise": Program(
            partial(_keyword, inputs.gaussian_noise, stddev=0.1),
            (flat,),
            draws_numbers=True,
        ),
        "inputs.embedding_noise": Program(
            partial(_keyword, inputs.embedding_noise, alpha=5.0),
            (sequence,),
            draws_numbers=True,
        ),
        "inputs.cutout": Program(partial(_keyword, inputs.cutout, size=8), (image,)),
        "inputs.random_erasing": Program(
            partial(_keyword, inputs.random_erasing, rate=0.5),
            (image,),
            draws_numbers=True,
        ),
        "inputs.mixup": Program(
            partial(_keyword, inputs.mixup, alpha=0.4),
            (image, labels),
            draws_numbers=True,
        ),
        "inputs.cutmix": Program(
            partial(_keyword, inputs.cutmix), (image, labels), draws_numbers=True
        ),
    }
    return one | several | of_inputs


def _keyword(function: Function, key: Array, *arrays: Any, **knobs: Any) -> Any:
    return function(key, *arrays, **knobs)


def _drop_key(key: Array, logits: Array) -> Array:
    allowed = jaxdrop.drop_key(key, logits.shape, rate=RATE)
    return jnp.where(allowed, logits, -1e9)


def _layer_drop(key: Array, x: Array) -> Array:
    flags = jaxdrop.layer_drop(key, x.shape[0], rate=RATE)
    return jnp.where(flags[:, None], x, 0)


def _multi_sample(key: Array, x: Array) -> Array:
    def once(key: Array) -> Array:
        return jaxdrop.dropout(key, x, rate=RATE)

    return jaxdrop.multi_sample(key, once, num_samples=4)


def _subset(key: Array, x: Array) -> Array:
    return jaxdrop.subset_stochastic_depth(key, jnp.tanh, x, rate=0.5)


def _masksembles(key: Array, x: Array) -> Array:
    del key
    return jaxdrop.masksembles(x, jaxdrop.masks.masksembles(0, x.shape[-1], 4, 2.0))
