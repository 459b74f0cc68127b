"""The kernels of Hopper GPUs on several devices, interpreted."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formula
from attention.hopper import (
    PartitionedByShardMap,
    assert_close,
    cotangent_of,
    needs_interpreter,
)
from attention.hopper import on_the_host as on_the_host
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxdrop
from jaxdrop._attention import _flash_spread

pytestmark = [needs_interpreter, pytest.mark.slow]
OPTIONS = {"is_causal": True}
PRECISION = 0.05  # of sums over two examples, with outputs rounded to bfloat16


def data(queries, keys, bias_examples=1):
    """Two examples with four heads on two, and a bias."""
    arrays = formula.inputs(2, queries, keys, 4, 2, 40)
    shape = (bias_examples, 4, queries, keys)
    arrays["bias"] = np.random.default_rng(2).normal(size=shape)
    return {name: jnp.asarray(x, jnp.bfloat16) for name, x in arrays.items()}


def both_passes(key, floating, cotangent):
    def attend(floating):
        rest = dict(floating)
        arrays = [rest.pop(name) for name in ("query", "key", "value")]
        how = {"rate": 0.3, "implementation": "mosaic_gpu", **rest, **OPTIONS}
        return jaxdrop.dot_product_attention(key, *arrays, **how)

    y, pull = jax.vjp(attend, floating)
    return y, pull(cotangent)[0]


def mesh_of(*sizes):
    names = ("data", "model")[: len(sizes)]
    return jax.make_mesh(sizes, names, axis_types=(AxisType.Auto,) * len(sizes))


# A device that waits for others to add up a gradient ends the process after 40 s.
@pytest.mark.parametrize("queries, keys, bias_examples", [(70, 100, 1), (301, 417, 2)])
def test_under_jit_each_device_computes_its_examples_and_heads(
    on_the_host, key, monkeypatch, queries, keys, bias_examples
):
    floating = data(queries, keys, bias_examples)
    cotangent = cotangent_of(floating["query"])
    mesh, heads = mesh_of(2, 2), PartitionSpec("data", None, "model")
    of_bias = PartitionSpec("data" if bias_examples > 1 else None, "model")
    specs = dict.fromkeys(floating, heads) | {"bias": of_bias}
    place = lambda x, spec: jax.device_put(x, NamedSharding(mesh, spec))
    spread = {name: place(x, specs[name]) for name, x in floating.items()}
    lower = lambda: jax.jit(lambda *x: both_passes(key, *x)).lower(
        spread, place(cotangent, heads)
    )
    assert lower().as_text().count("CustomSPMDPartitioning") == 2
    by_hand = partial(PartitionedByShardMap, mesh, heads)
    monkeypatch.setattr(_flash_spread, "custom_partitioning", by_hand)
    found = lower().compile()(spread, place(cotangent, heads))
    y, gradients = jax.block_until_ready(found)  # JAX is at work in callbacks
    assert y.sharding.spec == heads
    assert_close((y, gradients), key, floating, OPTIONS, cotangent, PRECISION)


def test_within_shard_map_each_device_draws_with_its_key(on_the_host, key):
    floating = data(301, 417, bias_examples=2)
    cotangent = cotangent_of(floating["query"])
    keys = jax.random.split(key, 2)
    spec = PartitionSpec("data")
    shards = jax.shard_map(
        lambda keys, *x: both_passes(keys[0], *x),
        **{"mesh": mesh_of(2), "in_specs": spec, "out_specs": spec},
        check_vma=False,  # of callbacks JAX does not know over what they vary
    )
    found = jax.jit(shards)(keys, floating, cotangent)
    y, gradients = jax.block_until_ready(found)  # JAX is at work in callbacks
    for index in range(2):
        part = slice(index, index + 1)
        own = {name: x[part] for name, x in floating.items()}
        got = y[part], {name: x[part] for name, x in gradients.items()}
        assert_close(got, keys[index], own, OPTIONS, cotangent[part], PRECISION)
