"""What a program computes, by plain loops in NumPy."""

import jax
import numpy as np

from tests.soak import reference
from tests.soak.programs import TECHNIQUES, Program, data_of

Maps = list[tuple[str, np.ndarray]]
"""Linear maps, one after the other: products with weights, or with factors."""


def expected(program: Program) -> tuple[np.ndarray, ...]:
    """The outputs that a program should have."""
    words = np.asarray(jax.random.key_data(jax.random.key(program.seed)))
    x, weights, direction = (np.float64(array) for array in data_of(program))
    if program.place != "shard_map":
        return _whole(program, words, weights, x, direction)
    devices = dict(program.mesh)["data"]
    parts = [
        _whole(
            program,
            reference.shard_key(words, {"data": place}),
            weights,
            np.split(x, devices)[place],
            np.split(direction, devices)[place],
        )
        for place in range(devices)
    ]
    axes = [1 if program.mapped else 0] * len(parts[0])
    if program.slope == "vjp":
        axes[1] = 0
    return tuple(
        np.concatenate([part[i] for part in parts], axis) for i, axis in enumerate(axes)
    )


def _whole(program, words, weights, x, direction) -> tuple[np.ndarray, ...]:
    """The outputs under one key, of all keys that ``vmap`` maps over."""
    if not program.mapped:
        return _under(program, words, weights, x, direction)
    each = [
        _under(program, own, weights, x, direction)
        for own in reference.split(words, program.mapped)
    ]
    outputs = [np.stack(some) for some in zip(*each, strict=True)]
    if program.slope == "vjp":
        outputs[1] = outputs[1].sum(0)
    return tuple(outputs)


def _under(program, words, weights, x, direction) -> tuple[np.ndarray, ...]:
    maps: Maps = []
    for number in range(program.steps or 1):
        own = reference.fold_in(words, number) if program.steps else words
        x = _model(program, own, weights, x, maps)
    if not program.slope:
        return (x,)
    return x, (_push if program.slope == "jvp" else _pull)(maps, direction)


def _model(program, words, weights, x, maps: Maps) -> np.ndarray:
    """The output of a model, whose derivative is added to ``maps``."""
    for index, (name, rate) in enumerate(program.layers):
        if program.mixes:
            x = np.tanh(x @ weights[index])
            maps += [("matrix", weights[index]), ("factors", 1 - x**2)]
        if rate == 0:
            continue
        keep = 1 - rate
        if program.traced_rates:
            keep = float(np.float32(1) - np.float32(rate))
        if name != "gaussian_dropout":
            keep = reference.realized(keep)
        scale, shift = TECHNIQUES[name].affine(
            reference.fold_in(words, index),
            x.shape,
            keep=keep,
            light=program.generator == "light",
        )
        x = np.where(scale == 0, 0.0, scale * x) + shift
        maps.append(("factors", scale))
    return x


def _push(maps: Maps, tangent: np.ndarray) -> np.ndarray:
    for kind, values in maps:
        tangent = tangent @ values if kind == "matrix" else tangent * values
    return tangent


def _pull(maps: Maps, cotangent: np.ndarray) -> np.ndarray:
    for kind, values in reversed(maps):
        cotangent = cotangent @ values.T if kind == "matrix" else cotangent * values
    return cotangent


def difference(found: np.ndarray, right: np.ndarray, *, least: float) -> float:
    """The largest difference, relative to the largest number, or to ``least``."""
    if found.shape != right.shape:
        raise AssertionError(f"shape {found.shape}, not {right.shape}")
    if not right.size:
        return 0.0
    if not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - right).max() / max(least, np.abs(right).max()))


def tolerance(program: Program) -> float:
    """The largest relative difference that rounding explains."""
    normal = any(name == "gaussian_dropout" for name, _ in program.layers)
    each = 3e-4 if normal else 1e-5  # float32 resolves the tails of the normal less
    return each * len(program.layers) * (program.steps or 1)


def failure(program: Program, found: tuple[np.ndarray, ...]) -> str:
    """What is wrong with the outputs of a program, or nothing."""
    right = expected(program)
    for number, (output, other) in enumerate(zip(found, right, strict=True)):
        # mixout subtracts earlier weights of up to 1, and little may remain
        mixed = number == 0 and any(name == "mixout" for name, _ in program.layers)
        off = difference(output, other, least=1.0 if mixed else 1e-30)
        if not off < tolerance(program):
            return f"output {number} is off by {off:.1e}"
    if ((found[0] == 0) != (np.float32(right[0]) == 0)).any():
        return "zeros are at other places"
    return ""
