"""The programs that are compared on accelerators, as functions of a key and arrays.

Every technique is here once, with an array of ``size**2`` entries, and so are the
training steps in which dropout is used. Where a peer computes the same, it is beside
ours; the light generator is ours with another key.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

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


class Shapes(NamedTuple):
    """The arrays of the techniques, of ``size**2`` entries where they hold data."""

    flat: Any
    scalar: Any
    sequence: Any
    image: Any
    heads: Any
    weights: Any
    ids: Any
    labels: Any


def techniques(size: int, dtype: Any) -> dict[str, Program]:
    """Every technique, on ``size**2`` entries.

    Args:
      size: a multiple of 64.
      dtype: of the data.
    """
    of = jax.ShapeDtypeStruct
    shapes = Shapes(
        flat=of((size, size), dtype),
        scalar=of((), jnp.float32),
        sequence=of((size // 32, 32, size), dtype),
        image=of((size // 32, 16, 16, size // 8), dtype),
        heads=of((size // 32, 32, 16, size // 16), dtype),
        weights=of((size // 64, 4, 16, size), dtype),
        ids=of((size // 32, 32), jnp.int32),
        labels=of((size // 32, 10), dtype),
    )
    given = _as_flax(shapes) | _of_one(shapes) | _of_several(shapes)
    others = {
        name: Program(_dropped(getattr(jaxdrop, name)), (shapes.sequence,))
        for name in _droppers()
        if name not in given
    }
    return given | others | _of_inputs(shapes)


def _droppers() -> list[str]:
    """The public functions of a key, an array and a rate."""
    found = []
    for name, function in vars(jaxdrop).items():
        if inspect.isfunction(function) and not name.startswith("_"):
            parameters = list(inspect.signature(function).parameters)
            if parameters[:3] == ["key", "x", "rate"]:
                found.append(name)
    return found


def _dropped(function: Function, **knobs: Any) -> Function:
    return lambda key, x: function(key, x, rate=RATE, **knobs)


def _as_flax(shapes: Shapes) -> dict[str, Program]:
    """Techniques that Flax's dropout can do as well."""
    return {
        "dropout": Program(
            _dropped(jaxdrop.dropout),
            (shapes.flat,),
            {FLAX: flax_dropout(), FLOOR: lambda key, x: x * 1.25},
        ),
        "spatial_dropout": Program(
            _dropped(jaxdrop.spatial_dropout),
            (shapes.image,),
            {FLAX: flax_dropout((1, 2))},
        ),
        "stochastic_depth": Program(
            _dropped(jaxdrop.stochastic_depth),
            (shapes.flat,),
            {FLAX: flax_dropout((1,))},
        ),
        "locked_dropout": Program(
            _dropped(jaxdrop.locked_dropout),
            (shapes.sequence,),
            {FLAX: flax_dropout((1,))},
        ),
        "drop_connect": Program(
            _dropped(jaxdrop.drop_connect), (shapes.flat,), {FLAX: flax_dropout()}
        ),
    }


def _of_one(shapes: Shapes) -> dict[str, Program]:
    """Techniques of one array."""
    return {
        "gaussian_dropout": Program(
            _dropped(jaxdrop.gaussian_dropout), (shapes.flat,), draws_numbers=True
        ),
        "alpha_dropout": Program(_dropped(jaxdrop.alpha_dropout), (shapes.flat,)),
        "feature_alpha_dropout": Program(
            _dropped(jaxdrop.feature_alpha_dropout), (shapes.image,)
        ),
        "drop_block": Program(
            _dropped(jaxdrop.drop_block, block_size=3), (shapes.image,)
        ),
        "drop_head": Program(_dropped(jaxdrop.drop_head), (shapes.heads,)),
        "drop_key": Program(_drop_key, (shapes.weights,)),
        "token_dropout": Program(_dropped(jaxdrop.token_dropout), (shapes.sequence,)),
        "shake_drop": Program(
            _dropped(jaxdrop.shake_drop), (shapes.flat,), draws_numbers=True
        ),
        "layer_drop": Program(_layer_drop, (shapes.flat,)),
        "multi_sample": Program(_multi_sample, (shapes.flat,)),
        "subset_stochastic_depth": Program(_subset, (shapes.flat,)),
        "masksembles": Program(_masksembles, (shapes.flat,)),
        "hard_concrete": Program(
            lambda key, x: jaxdrop.hard_concrete(key, x),
            (shapes.flat,),
            draws_numbers=True,
        ),
    }


def _of_several(shapes: Shapes) -> dict[str, Program]:
    """Techniques of several arrays."""
    return {
        "embedding_dropout": Program(
            lambda key, x, ids: jaxdrop.embedding_dropout(key, x, ids, rate=RATE),
            (shapes.sequence, shapes.ids),
        ),
        "mixout": Program(
            lambda key, x, old: jaxdrop.mixout(key, x, old, rate=RATE),
            (shapes.flat, shapes.flat),
        ),
        "zoneout": Program(
            lambda key, x, old: jaxdrop.zoneout(key, x, old, rate=RATE),
            (shapes.flat, shapes.flat),
        ),
        "shake_shake": Program(
            jaxdrop.shake_shake, (shapes.flat, shapes.flat), draws_numbers=True
        ),
        "concrete_dropout": Program(
            jaxdrop.concrete_dropout, (shapes.flat, shapes.scalar), draws_numbers=True
        ),
        "variational_dense": Program(
            jaxdrop.variational_dense,
            (shapes.flat, shapes.flat, shapes.flat),
            draws_numbers=True,
        ),
    }


def _of_inputs(shapes: Shapes) -> dict[str, Program]:
    """Noise and augmentation of inputs."""
    return {
        "inputs.gaussian_noise": Program(
            partial(_keyword, inputs.gaussian_noise, stddev=0.1),
            (shapes.flat,),
            draws_numbers=True,
        ),
        "inputs.embedding_noise": Program(
            partial(_keyword, inputs.embedding_noise, alpha=5.0),
            (shapes.sequence,),
            draws_numbers=True,
        ),
        "inputs.cutout": Program(
            partial(_keyword, inputs.cutout, size=8), (shapes.image,)
        ),
        "inputs.random_erasing": Program(
            partial(_keyword, inputs.random_erasing, rate=0.5),
            (shapes.image,),
            draws_numbers=True,
        ),
        "inputs.mixup": Program(
            partial(_keyword, inputs.mixup, alpha=0.4),
            (shapes.image, shapes.labels),
            draws_numbers=True,
        ),
        "inputs.cutmix": Program(
            partial(_keyword, inputs.cutmix),
            (shapes.image, shapes.labels),
            draws_numbers=True,
        ),
    }


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
