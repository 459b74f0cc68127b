"""What attention with dropout promises, beside the result of the formula."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formula

import jaxdrop

attention = jaxdrop.dot_product_attention
LENGTHS = (24, 24)


def data(features=4, dtype=jnp.float32):
    """Queries, keys and values of two examples with four heads on two key heads."""
    arrays = formula.inputs(2, *LENGTHS, 4, 2, features)
    return [jax.device_put(x.astype(dtype)) for x in arrays.values()]


def transparent():
    """Arrays of which the output is the weights themselves."""
    query, key_, _ = data()
    eye = jnp.eye(LENGTHS[1])[None, :, None]
    key_ = jnp.pad(key_, ((0, 0), (0, 0), (0, 0), (0, LENGTHS[1] - 4)))
    query = jnp.pad(query, ((0, 0), (0, 0), (0, 0), (0, LENGTHS[1] - 4)))
    return query, key_, jnp.broadcast_to(eye, key_.shape)


OPTIONS = [
    {},
    {"is_causal": True, "scale": 0.3},
    {"local_window_size": (3, 2), "mask": np.ones((1, 1, *LENGTHS), bool)},
    {"key_value_seq_lengths": np.int32([3, 9]), "query_seq_lengths": np.int32([9, 9])},
    {"bias": np.ones((2, 4, *LENGTHS), np.float32)},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o))
@pytest.mark.parametrize(
    "off", [{"rate": 0}, {"rate": np.float32(0)}, {"rate": 0.1, "deterministic": True}]
)
def test_where_nothing_is_dropped_it_is_jaxs_attention_operation_for_operation(
    options, off
):
    arrays = data()
    ours = jax.make_jaxpr(lambda *x: attention(None, *x, **off, **options))(*arrays)
    jaxs = jax.make_jaxpr(lambda *x: jax.nn.dot_product_attention(*x, **options))
    assert str(ours) == str(jaxs(*arrays))


def test_the_implementation_is_jaxs_where_nothing_is_dropped(monkeypatch):
    asked = []
    monkeypatch.setattr(
        jax.nn,
        "dot_product_attention",
        lambda *_, implementation, **__: asked.append(implementation),
    )
    attention(None, *data(), rate=0, implementation="cudnn")
    attention(None, *data(), rate=0)
    assert asked == ["cudnn", None]
    with pytest.raises(ValueError, match="implementation must be one of"):
        attention(None, *data(), rate=0, implementation="triton")


@pytest.mark.parametrize(
    "broadcast_dims, block_size",
    [((), None), ((), (7, 9)), ((0, 1), 5), ((-3,), (7, 9)), ((2,), 5), ((3,), None)],
)
def test_drops_what_the_exported_mask_drops(key, broadcast_dims, block_size):
    """Entry for entry, whatever is shared and wherever blocks end."""
    weights = attention(
        key,
        *transparent(),
        rate=0.4,
        broadcast_dims=broadcast_dims,
        block_size=block_size,
    )
    kept = jaxdrop.masks.bernoulli(
        key, (2, 4, *LENGTHS), rate=0.4, broadcast_dims=broadcast_dims
    )
    kept = np.broadcast_to(kept, (2, 4, *LENGTHS))
    np.testing.assert_array_equal(np.moveaxis(weights, 1, 2) > 0, kept)
    for axis in range(2):  # by default examples and heads have masks of their own
        differ = (kept.take([0], axis) != kept.take([1], axis)).any()
        assert differ == (axis not in {d % 4 for d in broadcast_dims})


def test_a_traced_rate_compiles_once_and_is_nan_where_it_is_no_probability(key):
    arrays = data()
    undropped = jax.jit(jax.nn.dot_product_attention)(*arrays)
    lengths = np.int32([24, 20])

    @jax.jit
    def loss(arrays, rate):
        y = attention(key, *arrays, rate=rate, query_seq_lengths=lengths)
        return y.sum(), y

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    outputs, gradients = {}, {}
    for rate in (0.0, 0.25, 1.0, np.nan, 1.5, -1e-9, np.inf):
        (_, y), slopes = run(arrays, np.float32(rate))
        outputs[rate], gradients[rate] = np.asarray(y), [*map(np.asarray, slopes)]
    assert run._cache_size() == 1

    for rate in (np.nan, 1.5, -1e-9, np.inf):
        assert np.isnan(outputs[rate]).all()
    assert not outputs[1.0].any()
    assert all(np.isfinite(g).all() and not g.any() for g in gradients[1.0])
    first = np.asarray(undropped)[0]
    np.testing.assert_allclose(outputs[0.0][0], first, rtol=2e-5, atol=2e-6)
    static = attention(key, *arrays, rate=0.25, query_seq_lengths=lengths)
    np.testing.assert_allclose(outputs[0.25], static, rtol=1e-6, atol=1e-6)
    assert not outputs[0.25][1, 20:].any()


def test_a_traced_mode_selects(key):
    arrays = data()
    run = jax.jit(lambda mode: attention(key, *arrays, rate=0.5, deterministic=mode))
    undropped = jax.jit(jax.nn.dot_product_attention)(*arrays)
    np.testing.assert_allclose(run(True), undropped, rtol=2e-5, atol=2e-6)
    dropped = attention(key, *arrays, rate=0.5)
    np.testing.assert_allclose(run(False), dropped, rtol=1e-6, atol=1e-6)
    assert run._cache_size() == 1


def test_the_mean_over_masks_is_the_undropped_output(key):
    arrays = data()
    keys = jax.random.split(key, 400)
    draw = jax.jit(lambda k: jax.lax.map(lambda k: attention(k, *arrays, rate=0.3), k))
    drawn = np.asarray(draw(keys))
    undropped = jax.jit(jax.nn.dot_product_attention)(*arrays)
    error = drawn.std(axis=0) / 20
    assert (np.abs(drawn.mean(axis=0) - undropped) < 5.5 * error + 1e-6).all()


def test_an_example_without_a_batch_axis_is_a_batch_of_one(key):
    arrays = [np.asarray(x)[:1] for x in data()]
    alone = attention(key, *(x[0] for x in arrays), rate=0.4, broadcast_dims=(0,))
    batched = attention(key, *arrays, rate=0.4, broadcast_dims=(1,))
    np.testing.assert_array_equal(alone, batched[0])


def test_numpy_arrays_and_raw_keys_serve_as_well(key):
    arrays = data()
    plain = attention(
        np.asarray(jax.random.key_data(key)), *map(np.asarray, arrays), rate=0.4
    )
    np.testing.assert_array_equal(plain, attention(key, *arrays, rate=0.4))


def test_a_key_without_counters_gives_one_mask_for_all_block_sizes():
    key = jax.random.key(3, impl="rbg")
    attend = functools.partial(attention, key, *transparent(), rate=0.4)
    np.testing.assert_array_equal(attend() > 0, attend(block_size=(7, 9)) > 0)


@pytest.mark.parametrize("rate", [1, 1.0, np.float32(1)])
def test_at_rate_one_outputs_and_gradients_are_zero(key, rate):
    @jax.jit
    def both(*arrays):
        y, pull = jax.vjp(lambda *x: attention(key, *x, rate=rate), *arrays)
        return y, pull(jnp.ones_like(y))

    assert not any(map(np.any, jax.tree.leaves(both(*data()))))


def test_an_empty_batch_and_no_queries_give_an_empty_output(key):
    query, key_, value = data()
    for empty in ((query[:0], key_[:0], value[:0]), (query[:, :0], key_, value)):
        assert attention(key, *empty, rate=0.5).shape == empty[0].shape


def test_says_that_a_key_is_missing():
    with pytest.raises(ValueError, match=r"^dot_product_attention: key must be "):
        attention(None, *data(), rate=0.5)


@pytest.mark.parametrize("options", [{"block_size": 5}, {"block_size": (5, 7)}])
def test_a_large_bias_shared_by_all_queries_changes_no_gradient(key, options):
    """Queries that fill up the last block must not overflow."""

    def loss(bias, *arrays):
        bias_of_all = jnp.full((1, 1, 1, LENGTHS[1]), bias)
        y = attention(key, *arrays, rate=0.3, bias=bias_of_all, **options)
        return jnp.square(y).sum()

    gradients = jax.jit(jax.grad(loss, (1, 2, 3)))
    both = (gradients(np.float32(bias), *data()) for bias in (200, 0))
    for shifted, plain in zip(*both, strict=True):
        np.testing.assert_allclose(shifted, plain, rtol=1e-3, atol=1e-3)
