"""In the place of Flax NNX's Dropout: its masks, and the behaviour its tests ask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from modules.like_flax import (
    arguments,
    assert_like_flax,
    for_every_dtype,
    for_every_rate,
)

import jaxdrop
from chance import assert_frequency


@for_every_rate
@for_every_dtype
def test_nnx_draws_the_masks_of_flax(rate, dtype):
    x = jax.random.normal(jax.random.key(0), (96, 64)).astype(dtype)
    ours = jaxdrop.nnx.Dropout(rate, rngs=nnx.Rngs(7))
    theirs = nnx.Dropout(rate, rngs=nnx.Rngs(7))
    for _ in range(2):
        assert_like_flax(ours(x), theirs(x))


def test_wide_mode_leaves_the_mask_as_it_is(key):
    x = jnp.ones((50, 40), jnp.float32)
    theirs = nnx.Dropout(0.3)(x, rngs=key)
    with jax.enable_x64(True):
        ours = jaxdrop.nnx.Dropout(0.3)(x, rngs=key)
    assert_like_flax(ours, theirs)


def test_nnx_takes_the_arguments_of_flax():
    theirs = arguments(nnx.Dropout.__init__)
    mode = arguments(jaxdrop.nnx.StochasticModule.__init__)
    ours = {**mode, **arguments(jaxdrop.nnx.Dropout.__init__)}
    assert {name: ours[name] for name in theirs} == theirs
    theirs = arguments(nnx.Dropout.__call__)
    ours = arguments(jaxdrop.nnx.Dropout.__call__)
    assert list(ours)[2:4] == list(theirs)[2:4] == ["deterministic", "rngs"]


def test_nnx_models_may_be_built_as_shapes_and_with_shardings():
    def build(**options):
        rngs = nnx.Rngs(0)
        return nnx.Sequential(
            nnx.Linear(4, 8, **options, rngs=rngs),
            jaxdrop.nnx.Dropout(0.5, rngs=rngs),
        )

    shapes = nnx.eval_shape(build)
    kernel = shapes.layers[0].kernel.get_value()
    assert isinstance(kernel, jax.ShapeDtypeStruct) and kernel.shape == (4, 8)
    spread = nnx.with_partitioning(nnx.initializers.lecun_normal(), (None, "m"))
    mesh = jax.make_mesh((2,), ("m",), axis_types=(jax.sharding.AxisType.Auto,))
    with jax.set_mesh(mesh):
        model = nnx.jit(build, static_argnames="kernel_init")(kernel_init=spread)
    plain = build()
    assert model.layers[1].rngs.count[...] == plain.layers[1].rngs.count[...] == 0
    x = jnp.ones((3, 4))
    np.testing.assert_allclose(model(x), plain(x), rtol=1e-6)


# Flax's own tests of NNX's Dropout, in our words.


def test_nnx_internal_and_external_keys_draw_alike():
    x = jnp.ones((1, 10))
    own = jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(dropout=0))
    other = nnx.Rngs(dropout=0).dropout.fork()
    free = jaxdrop.nnx.Dropout(0.5)
    first = own(x)
    assert own.rngs.count[...] == 1
    np.testing.assert_array_equal(free(x, rngs=other), first)
    assert other.count[...] == 1
    np.testing.assert_array_equal(free(x, rngs=other), own(x))


def test_nnx_jit_traces_once_a_mode_and_draws_anew():
    traces = []

    @nnx.jit
    def run(module, x):
        traces.append(module.deterministic)
        return module(x)

    module = jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0))
    x = jnp.ones((1, 100))
    first, second = run(module, x), run(module, x)
    assert (first != second).any()
    module.eval()
    np.testing.assert_array_equal(run(module, x), x)
    assert traces == [False, True]


def test_nnx_call_overrides_attribute_and_none_never_does():
    x = jnp.ones((1, 10))
    module = jaxdrop.nnx.Dropout(0.5, deterministic=True, rngs=nnx.Rngs(0))
    assert module(x, deterministic=None) is x
    assert (module(x, deterministic=False) != x).any()


def test_nnx_other_streams_and_the_default_one():
    x = jnp.ones((4, 10))
    noise = jaxdrop.nnx.Dropout(0.5, rng_collection="noise", rngs=nnx.Rngs(noise=3))
    flax_noise = nnx.Dropout(0.5, rng_collection="noise", rngs=nnx.Rngs(noise=3))
    np.testing.assert_array_equal(noise(x), flax_noise(x))
    with pytest.raises(KeyError, match="dropout"):
        jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(params=0))
    stream = nnx.Rngs(0).dropout
    assert (jaxdrop.nnx.Dropout(0.5, rngs=stream)(x) != x).any()


def test_nnx_modules_of_one_rngs_draw_apart():
    rngs = nnx.Rngs(0)
    first, second = (jaxdrop.nnx.Dropout(0.5, rngs=rngs) for _ in range(2))
    x = jnp.ones((100, 100))
    agree = np.asarray(first(x) == second(x))
    assert_frequency(agree, 0.5)


def test_nnx_vmap_scan_and_remat_of_modules():
    x = jnp.ones((5, 64))

    @nnx.vmap(in_axes=0, out_axes=0)
    def make(rngs):
        return jaxdrop.nnx.Dropout(0.5, rngs=rngs)

    stacked = make(nnx.Rngs(0).split(5))
    each = nnx.vmap(lambda m, x: m(x), in_axes=(0, 0))(stacked, x)
    assert len(np.unique(np.asarray(each), axis=0)) == 5

    @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
    def run(module, y):
        return module(y)

    again = make(nnx.Rngs(0).split(5))
    y = x[0]
    for i in range(5):
        y = jnp.where(each[i] == 0, 0, 2 * y)
    np.testing.assert_array_equal(run(again, x[0]), y)

    def loss(module, x):
        return (nnx.remat(lambda m, x: m(x))(module, x) ** 2).sum()

    plain, kept = (jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(2)) for _ in range(2))
    slope = nnx.grad(loss, argnums=1)(kept, x)
    expected = nnx.grad(lambda m, x: (m(x) ** 2).sum(), argnums=1)(plain, x)
    np.testing.assert_array_equal(slope, expected)
    assert kept.rngs.count[...] == plain.rngs.count[...] == 1


def test_closing_over_a_module_with_keys_under_plain_jit_is_an_error():
    module = jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0))
    with pytest.raises(Exception, match="trace level"):
        jax.jit(lambda x: module(x))(jnp.ones(10))


def test_a_rate_set_on_a_live_module_is_used_at_the_next_call(key):
    module, x = jaxdrop.nnx.Dropout(0.5), jnp.ones((10, 10))
    module.rate = 0.1
    np.testing.assert_array_equal(
        module(x, rngs=key), jaxdrop.dropout(key, x, rate=0.1)
    )
