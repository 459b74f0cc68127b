"""Random programs: techniques in a small model, under transforms, on a mesh.

A seed decides on everything, so a program that fails is run again by its seed.
"""

import dataclasses
import functools
import random
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxdrop
from jaxdrop import prng
from tests.soak import reference

SHAPES = [
    *((8,), (5,), (1, 1), (3, 7), (8, 13), (16, 8), (1, 4099), (8, 1031), (16, 512)),
    *((2, 3, 5), (8, 3, 4), (8, 1, 1), (8, 61, 17), (2, 3, 4, 5), (8, 4, 6, 2)),
    *((8, 5, 9, 13), (2, 1, 3, 4, 3), (8, 2, 1, 3, 2), (0, 3), (8, 0, 2)),
]
RATES = [0.0, 2.0**-20, 0.1, 0.3, 0.5, 0.5 + 2.0**-24, 0.9, 1 - 2.0**-20, 1.0]
GENERATORS = ["typed", "raw", "fused", "light"]
MESHES = [{"data": 8}, {"data": 4, "model": 2}, {"data": 2, "model": 4}]
PLACES = ["one device", "one device", "spread", "explicit", "shard_map"]


@dataclasses.dataclass(frozen=True)
class Technique:
    """A technique as a program calls it, and as the reference computes it.

    Attributes:
      call: the output, from a key, an array and a rate.
      affine: its factors, from words, a shape, the probability of keeping and a flag.
      ranks: the ranks of the arrays that it takes.
      whole_rate: whether a rate of 1 is allowed.
    """

    call: Callable[..., Any]
    affine: Callable[..., reference.Affine]
    ranks: range = range(1, 6)
    whole_rate: bool = True


def _masked(shared: Callable[[int], tuple[int, ...]]) -> Callable[..., Any]:
    """The factors of a technique that shares one draw along axes of a rank."""

    def affine(words, shape, keep, light):
        mask = reference.drawn(words, shape, shared(len(shape)), keep, light)
        return reference.kept(mask, keep)

    return affine


def _old(shape: tuple[int, ...]) -> np.ndarray:
    """Other data of a shape: earlier weights, or an earlier state."""
    return np.cos(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)


def _alpha(words, shape, keep, light):
    return reference.alpha(reference.drawn(words, shape, (), keep, light), keep)


def _zoneout(words, shape, keep, light):
    mask = reference.drawn(words, shape, (), keep, light)
    return reference.Affine(np.where(mask, 1.0, 0.0), np.where(mask, 0, _old(shape)))


def _mixout(words, shape, keep, light):
    mask = reference.drawn(words, shape, (), keep, light)
    scale, _ = reference.kept(mask, keep)
    old = _old(shape)
    return reference.Affine(scale, np.where(scale == 1, 0.0, old - scale * old))


def _ids(shape: tuple[int, ...]) -> np.ndarray:
    return (np.arange(np.prod(shape[:-1]), dtype=np.int32) * 7 % 11).reshape(shape[:-1])


def _embedding(words, shape, keep, light):
    bits = reference.bits_at(words, _ids(shape), light)
    mask = reference.survives(bits, keep)[..., None]
    return reference.kept(np.broadcast_to(mask, shape), keep)


def _gaussian(words, shape, keep, light):
    return reference.gaussian(words, shape, (), keep, light)


def _with(
    function: Callable[..., Any], other: Callable[..., Any]
) -> Callable[..., Any]:
    def call(key, x, rate):
        return function(key, x, jnp.asarray(other(x.shape)), rate=rate)

    return call


def _plain(function: Callable[..., Any], **knobs: Any) -> Callable[..., Any]:
    return lambda key, x, rate: function(key, x, rate=rate, **knobs)


TECHNIQUES = {
    "dropout": Technique(_plain(jaxdrop.dropout), _masked(lambda rank: ())),
    "dropout, shared": Technique(
        _plain(jaxdrop.dropout, broadcast_dims=(-1,)),
        _masked(lambda rank: (rank - 1,)),
    ),
    "drop_connect": Technique(_plain(jaxdrop.drop_connect), _masked(lambda rank: ())),
    "spatial_dropout": Technique(
        lambda key, x, rate: jaxdrop.spatial_dropout(
            key, x, rate=rate, num_spatial_dims=x.ndim - 2
        ),
        _masked(lambda rank: tuple(range(1, rank - 1))),
        range(3, 6),
    ),
    "stochastic_depth": Technique(
        _plain(jaxdrop.stochastic_depth), _masked(lambda rank: tuple(range(1, rank)))
    ),
    "locked_dropout": Technique(
        _plain(jaxdrop.locked_dropout), _masked(lambda rank: (rank - 2,)), range(2, 6)
    ),
    "drop_head": Technique(
        _plain(jaxdrop.drop_head, head_axis=-3), reference.heads, range(3, 6)
    ),
    "drop_block": Technique(
        _plain(jaxdrop.drop_block, block_size=3),
        functools.partial(reference.blocks, side=3),
        range(4, 5),
    ),
    "alpha_dropout": Technique(_plain(jaxdrop.alpha_dropout), _alpha),
    "gaussian_dropout": Technique(
        _plain(jaxdrop.gaussian_dropout), _gaussian, whole_rate=False
    ),
    "zoneout": Technique(_with(jaxdrop.zoneout, _old), _zoneout),
    "mixout": Technique(_with(jaxdrop.mixout, _old), _mixout),
    "embedding_dropout": Technique(
        _with(jaxdrop.embedding_dropout, _ids), _embedding, range(2, 6)
    ),
}
OF_WHOLE_ARRAYS = {"zoneout", "mixout", "embedding_dropout"}
"""Called with other data of the shape, which is not that of a shard."""


@dataclasses.dataclass(frozen=True)
class Program:
    """What a program does, and to what.

    Attributes:
      seed: what all else follows from, the data too.
      shape: the shape of the input.
      layers: names of techniques, one per layer, each with its rate.
      mixes: whether a layer multiplies by weights and bends before it drops.
      generator: the kind of the key.
      traced_rates: whether rates are data of the program.
      remat: whether the model is computed again for its gradient.
      steps: how often ``scan`` applies the model; 0 for once, without.
      mapped: over how many keys ``vmap`` maps it; 0 for none.
      slope: ``vjp``, ``jvp`` or nothing.
      place: where it runs.
      mesh: the axes of the mesh.
      jit: whether it is compiled as a whole.
    """

    seed: int
    shape: tuple[int, ...]
    layers: tuple[tuple[str, float], ...]
    mixes: bool
    generator: str
    traced_rates: bool
    remat: bool
    steps: int
    mapped: int
    slope: str
    place: str
    mesh: tuple[tuple[str, int], ...]
    jit: bool


def draw(seed: int) -> Program:
    """The program of a seed."""
    rng = random.Random(seed)
    shape = rng.choice(SHAPES)
    place = rng.choice(PLACES) if shape[0] and shape[0] % 8 == 0 else PLACES[0]
    if 0 in shape or (place == "shard_map" and len(shape) == 1):
        place = PLACES[0]  # a shard of a vector has no whole features
    fitting = [
        name
        for name, technique in TECHNIQUES.items()
        if len(shape) in technique.ranks
        and not (place == "shard_map" and name in OF_WHOLE_ARRAYS)
    ]

    mixes = shape[-1] <= 64 and rng.random() < 0.6

    def layer() -> tuple[str, float]:
        name = rng.choice(fitting)
        rates = RATES if TECHNIQUES[name].whole_rate and not mixes else RATES[:-2]
        if name == "drop_block":
            rates = [0.1, 0.3, 0.5]
        return name, rng.choice(rates)

    return Program(
        seed=seed,
        shape=shape,
        layers=tuple(layer() for _ in range(rng.randint(1, 3))),
        mixes=mixes,
        generator=rng.choice(GENERATORS),
        traced_rates=rng.random() < 0.3,
        remat=rng.random() < 0.3,
        steps=rng.choice([0, 0, 3]),
        mapped=rng.choice([0, 0, 2, 5]),
        slope=rng.choice(["", "vjp", "jvp"]),
        place=place,
        mesh=tuple(rng.choice(MESHES).items()),
        jit=place in ("spread", "explicit") or rng.random() < 0.85,
    )


# The program, as a user writes it.


def key_of(program: Program) -> Any:
    """The key of the kind that a program draws with."""
    key = jax.random.key(program.seed)
    convert = {"raw": jax.random.key_data, "fused": prng.fuse, "light": prng.light}
    return convert.get(program.generator, lambda key: key)(key)


def data_of(program: Program) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An input, weights of all layers, and a tangent or cotangent."""
    rng = np.random.default_rng(program.seed)
    width = program.shape[-1]
    x = rng.normal(size=program.shape) + 0.25
    size = (len(program.layers), width, width) if program.mixes else (1,)
    weights = rng.normal(size=size) / np.sqrt(max(width, 1))
    direction = rng.normal(size=program.shape)
    return tuple(array.astype(np.float32) for array in (x, weights, direction))


def model_of(program: Program) -> Callable[..., Any]:
    """The model: of a key, rates, weights and an array."""

    def model(key, rates, weights, x):
        for index, (name, rate) in enumerate(program.layers):
            if program.mixes:
                x = jnp.tanh(jnp.matmul(x, weights[index], precision="highest"))
            site = jax.random.fold_in(key, index)
            x = TECHNIQUES[name].call(
                site, x, rates[index] if program.traced_rates else rate
            )
        return x

    return jax.checkpoint(model) if program.remat else model


def _in_steps(model: Callable[..., Any], steps: int) -> Callable[..., Any]:
    def scanned(key, rates, weights, x):
        def step(x, number):
            return model(jax.random.fold_in(key, number), rates, weights, x), None

        return jax.lax.scan(step, x, jnp.arange(steps))[0]

    return scanned


def _mapped(model: Callable[..., Any], count: int) -> Callable[..., Any]:
    def mapped(key, rates, weights, x):
        keys = jax.random.split(key, count)
        return jax.vmap(lambda key: model(key, rates, weights, x))(keys)

    return mapped


def _sloped(model: Callable[..., Any], slope: str) -> Callable[..., Any]:
    """The output and a derivative in a direction: of the outputs, or the input."""

    def sloped(key, rates, weights, x, direction):
        function = functools.partial(model, key, rates, weights)
        if slope == "jvp":
            return jax.jvp(function, (x,), (direction,))
        y, pull = jax.vjp(function, x)
        return y, pull(jnp.broadcast_to(direction, y.shape))[0]

    return sloped


def build(program: Program) -> Callable[..., Any]:
    """The function of key, rates, weights, input and direction."""
    model = model_of(program)
    if program.steps:
        model = _in_steps(model, program.steps)
    if program.mapped:
        model = _mapped(model, program.mapped)
    if program.slope:
        function = _sloped(model, program.slope)
    else:
        function = lambda key, rates, weights, x, direction: (
            model(key, rates, weights, x),
        )
    if program.place == "shard_map":
        function = _by_shards(program, function)
    return jax.jit(function) if program.jit else function


def _by_shards(program: Program, function: Callable[..., Any]) -> Callable[..., Any]:
    def local(key, *data):
        return function(jaxdrop.keys.shard(key, "data"), *data)

    stacked = P(None, "data") if program.mapped else P("data")
    outputs = {"": (stacked,), "jvp": (stacked, stacked), "vjp": (stacked, P("data"))}
    return jax.shard_map(
        local,
        mesh=make_mesh(program),
        in_specs=(P(), P(), P(), P("data"), P("data")),
        out_specs=outputs[program.slope],
    )


def make_mesh(program: Program) -> Any:
    """The mesh of a program."""
    explicit = AxisType.Explicit if program.place == "explicit" else AxisType.Auto
    names, sizes = zip(*program.mesh, strict=True)
    return jax.make_mesh(sizes, names, axis_types=(explicit,) * len(names))


def run(program: Program) -> tuple[np.ndarray, ...]:
    """What the program computes."""
    function, (x, weights, direction) = build(program), data_of(program)
    rates = jnp.asarray([rate for _, rate in program.layers], jnp.float32)
    key, weights = key_of(program), jnp.asarray(weights)
    if program.place not in ("spread", "explicit"):
        outputs = function(key, rates, weights, jnp.asarray(x), jnp.asarray(direction))
        return tuple(map(np.asarray, outputs))
    mesh = make_mesh(program)
    with jax.set_mesh(mesh):
        spread = lambda array: jax.device_put(array, NamedSharding(mesh, P("data")))
        outputs = function(key, rates, weights, spread(x), spread(direction))
        return tuple(map(np.asarray, outputs))
