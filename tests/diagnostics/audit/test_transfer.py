"""What equations pass on: statistics of the batch, feature maps, SELU and softmax."""

import functools

import jax
import jax.numpy as jnp
import pytest
from diagnostics.cases import (
    IMAGES,
    KEY,
    TOKENS,
    Normalized,
    W,
    X,
    batch_norm,
    by_bernoulli,
    drop,
    for_ours_and_handwritten,
    kinds,
    layer_norm,
)
from flax import linen, nnx
from jax import lax

import jaxdrop
from jaxdrop import diagnostics


@for_ours_and_handwritten
def test_noise_that_a_batch_normalisation_sees(drop):
    assert "batch norm" in kinds(lambda k, x: batch_norm(drop(k, x)) @ W, KEY, X)
    further = lambda k, x: batch_norm(jax.nn.relu(drop(k, x) @ W)) @ W
    assert "batch norm" in kinds(further, KEY, X)
    assert "batch norm" not in kinds(lambda k, x: drop(k, batch_norm(x)) @ W, KEY, X)
    assert "batch norm" not in kinds(lambda k, x: layer_norm(drop(k, x)) @ W, KEY, X)
    share = lambda x: x / x.sum(0, keepdims=True)  # no deviation
    assert "batch norm" not in kinds(lambda k, x: share(drop(k, x)) @ W, KEY, X)


@pytest.mark.parametrize(
    "norm, seen",
    [
        (nnx.BatchNorm, True),
        (nnx.LayerNorm, False),
        (nnx.RMSNorm, False),
        (functools.partial(nnx.GroupNorm, num_groups=2), False),
        (nnx.InstanceNorm, False),
    ],
)
def test_only_statistics_over_the_batch_count(norm, seen):
    found = diagnostics.audit(Normalized(norm, before=True), TOKENS)
    assert ("batch norm" in found.kinds) == seen
    assert not seen or found.findings[0].sites == ("drop",)
    assert not kinds(Normalized(norm, before=False), TOKENS)


def test_batch_statistics_over_a_named_axis():
    def one(key, x, *, first):
        x = drop(key, x) if first else x
        mean = lax.pmean(x, "batch")
        variance = lax.pmean((x - mean) ** 2, "batch")
        x = (x - mean) / jnp.sqrt(variance + 1e-5)
        return (x if first else drop(key, x)) @ W

    keys = jax.random.split(KEY, 4)
    for first in (True, False):
        function = functools.partial(one, first=first)
        found = kinds(jax.vmap(function, axis_name="batch"), keys, X)
        assert found == ({"batch norm"} if first else set())


def test_batch_statistics_over_devices():
    mesh = jax.make_mesh((4,), ("batch",), (jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec

    def norm(x, *, axis):
        mean = lax.pmean(x.mean(axis, keepdims=True), "batch")
        variance = lax.pmean(((x - mean) ** 2).mean(axis, keepdims=True), "batch")
        return (x - mean) / jnp.sqrt(variance + 1e-5)

    for axis, expected in ((0, {"batch norm"}), (-1, set())):
        run = lambda k, x, axis=axis: norm(drop(k, x), axis=axis) @ W
        specs = (spec(), spec("batch"))
        sharded = jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=spec("batch"))
        assert kinds(sharded, KEY, jnp.ones((8, 8))) == expected


@pytest.mark.parametrize("conv", ["function", "nnx", "linen"])
@for_ours_and_handwritten
def test_single_entries_of_feature_maps(conv, drop):
    kernel = jnp.ones((3, 3, 3, 8))
    if conv == "function":
        maps = lambda x: lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    elif conv == "nnx":
        layer = nnx.Conv(3, 8, (3, 3), rngs=nnx.Rngs(0))
        maps = lambda x: layer(x)
    else:
        layer = linen.Conv(8, (3, 3))
        variables = layer.init(KEY, IMAGES)
        maps = lambda x: layer.apply(variables, x)
    pooled = lambda x: linen.max_pool(jax.nn.relu(maps(x)), (2, 2), strides=(2, 2))
    head = lambda y: y.sum((1, 2)) @ W
    assert kinds(lambda k, x: head(drop(k, maps(x))), KEY, IMAGES) == {"convolution"}
    assert kinds(lambda k, x: head(drop(k, pooled(x))), KEY, IMAGES) == {"convolution"}
    channels = lambda k, x: jaxdrop.spatial_dropout(k, x, rate=0.5)
    assert not kinds(lambda k, x: head(channels(k, pooled(x))), KEY, IMAGES)
    blocks = lambda k, x: jaxdrop.drop_block(k, x, rate=0.3, block_size=2)
    assert not kinds(lambda k, x: head(blocks(k, maps(x))), KEY, IMAGES)
    shared = lambda k, x: jaxdrop.dropout(k, x, rate=0.5, broadcast_dims=(1, 2))
    assert not kinds(lambda k, x: head(shared(k, pooled(x))), KEY, IMAGES)
    flat = lambda k, x: drop(k, pooled(x).reshape(len(x), -1)).sum(-1)
    assert not kinds(flat, KEY, IMAGES)
    averaged = lambda k, x: drop(k, pooled(x).mean((1, 2))) @ W
    assert not kinds(averaged, KEY, IMAGES)


def test_feature_maps_are_followed_through_vmap_transposition_and_scan():
    def maps(x):  # one example, channels first
        y = lax.conv(x.transpose(2, 0, 1)[None], jnp.ones((8, 3, 3, 3)), (1, 1), "SAME")
        return y[0].transpose(1, 2, 0)

    one = lambda k, x: drop(k, maps(x)).sum((0, 1)) @ W
    keys = jax.random.split(KEY, len(IMAGES))
    assert kinds(jax.vmap(one), keys, IMAGES) == {"convolution"}
    frames = lambda k, xs: lax.map(lambda a: one(*a), (k, xs))
    assert kinds(frames, keys, IMAGES) == {"convolution"}
    outside = lambda k, x: drop(k, lax.map(maps, x)).sum((1, 2)) @ W
    assert kinds(outside, KEY, IMAGES) == {"convolution"}
    tokens = lambda k, x: drop(k, jax.vmap(maps)(x).reshape(2, 36, 8)).sum(1)
    assert not kinds(tokens, KEY, IMAGES)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@for_ours_and_handwritten
def test_ordinary_dropout_after_selu(drop, dtype):
    x, w = X.astype(dtype), W.astype(dtype)
    if drop is by_bernoulli:
        x, w = X, W
    assert kinds(lambda k, x: drop(k, jax.nn.selu(x)) @ w, KEY, x) == {"selu"}
    alpha = lambda k, x: jaxdrop.alpha_dropout(k, jax.nn.selu(x), rate=0.1) @ w
    assert not kinds(alpha, KEY, x)
    assert not kinds(lambda k, x: drop(k, jax.nn.elu(x)) @ w, KEY, x)
    assert not kinds(lambda k, x: drop(k, jax.nn.selu(x) @ w) @ w, KEY, x)
