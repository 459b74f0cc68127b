"""``jax_debug_key_reuse`` sees each second use of a key, and takes no first one for it.

JAX counts only its own draws as uses. Whatever hashes the words of a key by itself, or
draws with keys folded from it, must report the use.
"""

import host_arguments
import jax
import jax.numpy as jnp
import pytest

import jaxdrop
from family import RELATIVES, ROWS

DERIVING = {
    "acquisition.batch_bald": "enumerates all labels of so few points",
    "diagnostics.weight_scaling_gap": "samples with folded keys, as documented",
    "keys.example": "returns keys",
    "keys.site": "returns keys",
    "mc.joint": "samples with folded keys, so that they can be continued",
    "mc.predict": "samples with folded keys, so that they can be continued",
    "mc.samples": "samples with folded keys, so that they can be continued",
    "multi_sample": "samples with folded keys, as documented",
    "prng.bits_at": "draws parts of one mask in several calls",
}
"""What takes a key that it may be given again, and why."""

TAKING_KEYS = [name for name, given in host_arguments.CALLS.items() if "key" in given]
GENERATORS = {
    "threefry": jax.random.key,
    "rbg": lambda seed: jax.random.key(seed, impl="rbg"),
    "fused": lambda seed: jaxdrop.prng.fuse(jax.random.key(seed)),
    "light": lambda seed: jaxdrop.prng.light(jax.random.key(seed)),
}

TABLE = {name: lambda key, x, row=row: row(key, x, 0.4) for name, row in ROWS.items()}
TABLE |= {name: call.function for name, call in RELATIVES.items() if not call.folds}
SHAPES = {name: row.shape for name, row in (ROWS | RELATIVES).items()}
NOT_DIFFERENTIABLE = {name for name, call in RELATIVES.items() if not call.has_slope}


def total(function):
    """A scalar, of all that a function returns."""

    def run(key, x):
        leaves = jax.tree.leaves(function(key, x))
        return sum(jnp.sum(leaf.astype(x.dtype)) for leaf in leaves)

    return run


TRANSFORMS = {
    "jit": lambda f: jax.jit(f),
    "vmap": lambda f: jax.vmap(f, (None, 0)),
    "vmap over keys": lambda f: lambda key, x: jax.vmap(f)(jax.random.split(key), x),
    "jvp": lambda f: lambda key, x: jax.jvp(lambda x: f(key, x), (x,), (x,)),
    "grad": lambda f: jax.grad(f, argnums=1),
    "grad of remat": lambda f: jax.value_and_grad(jax.checkpoint(f), argnums=1),
}


def twice(function):
    return lambda key, x: (function(key, x), function(key, x))


def trace(function, name, *, examples=None):
    shape = SHAPES[name] if examples is None else (examples, *SHAPES[name])
    jax.jit(function).trace(jax.random.key(3), jnp.ones(shape))


@pytest.fixture(autouse=True)
def watched():
    with jax.debug_key_reuse(True):
        yield


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("name", TAKING_KEYS)
def test_a_second_call_with_a_key_is_seen(name, generator):
    key = GENERATORS[generator](12)
    host_arguments.call(name, key=key)
    if name in DERIVING:
        host_arguments.call(name, key=key)
        return
    with pytest.raises(jax.errors.KeyReuseError):
        host_arguments.call(name, key=key)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", TABLE)
def test_a_second_use_in_a_program_is_seen(name, transform):
    if name in NOT_DIFFERENTIABLE and transform in ("jvp", "grad", "grad of remat"):
        pytest.skip("has no slope")
    run = TRANSFORMS[transform](total(TABLE[name]))
    examples = 2 if "vmap" in transform else None
    trace(run, name, examples=examples)
    with pytest.raises(jax.errors.KeyReuseError):
        trace(twice(run), name, examples=examples)


@pytest.mark.parametrize("name", TABLE)
def test_one_key_for_all_steps_of_a_scan_is_seen(name):
    run = total(TABLE[name])

    def with_keys(key, x):
        return jax.lax.map(lambda k: run(k, x), jax.random.split(key, 3))

    def with_one_key(key, x):
        return jax.lax.map(lambda _: run(key, x), jnp.arange(3))

    trace(with_keys, name)
    with pytest.raises(jax.errors.KeyReuseError):
        trace(with_one_key, name)


def test_weights_of_a_tree_are_dropped_with_keys_of_one_key():
    """Which is its use, also where all of them are left out but one."""
    tree = {"a": jnp.ones((2, 3)), "b": {"kernel": jnp.ones(4)}}
    kernels = lambda path, leaf: path.endswith("kernel")
    for drop in (
        lambda key: jaxdrop.drop_connect(key, tree, rate=0.5, where=kernels),
        lambda key: jaxdrop.mixout(key, tree, tree, rate=0.5, where=kernels),
    ):
        key = jax.random.key(1)
        drop(key)
        with pytest.raises(jax.errors.KeyReuseError):
            drop(key)
