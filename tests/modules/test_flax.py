"""In the place of Flax's Dropout: its masks, and the behaviour that its tests ask."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import errors, linen, nnx

import jaxdrop
from chance import assert_frequency, assert_uncorrelated

RATES = [round(0.05 * i, 2) for i in range(1, 20)]
for_every_rate = pytest.mark.parametrize("rate", RATES)
for_every_dtype = pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
BROADCAST = [(), (0,), (1,), (-1,), (0, 2), (1, 2), (0, 1, 2)]


def assert_like_flax(ours, theirs) -> None:
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    np.testing.assert_array_equal(ours == 0, theirs == 0)
    if ours.dtype == jnp.float32:
        np.testing.assert_array_equal(ours, theirs)


@for_every_rate
@for_every_dtype
def test_nnx_draws_the_masks_of_flax(rate, dtype):
    x = jax.random.normal(jax.random.key(0), (96, 64)).astype(dtype)
    ours = jaxdrop.nnx.Dropout(rate, rngs=nnx.Rngs(7))
    theirs = nnx.Dropout(rate, rngs=nnx.Rngs(7))
    for _ in range(2):
        assert_like_flax(ours(x), theirs(x))


@for_every_rate
@for_every_dtype
def test_linen_draws_the_masks_of_flax(rate, dtype, key):
    x = jax.random.normal(jax.random.key(0), (96, 64)).astype(dtype)
    ours, theirs = (
        module(rate, deterministic=False).apply({}, x, rngs={"dropout": key})
        for module in (jaxdrop.linen.Dropout, linen.Dropout)
    )
    assert_like_flax(ours, theirs)


@pytest.mark.parametrize("axes", BROADCAST)
def test_shared_axes_are_those_of_flax(axes, key):
    x = jnp.ones((6, 7, 8))
    ours = jaxdrop.nnx.Dropout(0.5, broadcast_dims=axes)(x, rngs=key)
    assert_like_flax(ours, nnx.Dropout(0.5, broadcast_dims=axes)(x, rngs=key))
    linens = (
        module(0.5, axes, False).apply({}, x, rng=key)
        for module in (jaxdrop.linen.Dropout, linen.Dropout)
    )
    assert_like_flax(*linens)


def test_wide_mode_leaves_the_mask_as_it_is(key):
    x = jnp.ones((50, 40), jnp.float32)
    theirs = nnx.Dropout(0.3)(x, rngs=key)
    with jax.enable_x64(True):
        ours = jaxdrop.nnx.Dropout(0.3)(x, rngs=key)
    assert_like_flax(ours, theirs)


class Net(linen.Module):
    """Two sites inside submodules, so that keys are folded with paths."""

    drop: type

    @linen.compact
    def __call__(self, x):
        """Drops twice."""
        x = self.drop(0.3, deterministic=False)(x)
        return self.drop(0.3, deterministic=False)(jnp.sin(x))


def test_sites_in_a_linen_model_draw_the_masks_of_flax(key):
    x = jnp.ones((20, 30))
    ours, theirs = (
        Net(drop).apply({}, x, rngs={"dropout": key})
        for drop in (jaxdrop.linen.Dropout, linen.Dropout)
    )
    assert_like_flax(ours, theirs)


def arguments(function) -> dict:
    return {n: p.default for n, p in inspect.signature(function).parameters.items()}


def test_linen_takes_the_arguments_of_flax_in_their_order():
    ours, theirs = arguments(jaxdrop.linen.Dropout), arguments(linen.Dropout)
    assert list(ours.items()) == list(theirs.items())
    ours = arguments(jaxdrop.linen.Dropout.__call__)
    theirs = arguments(linen.Dropout.__call__)
    assert list(ours)[2:4] == list(theirs)[2:4] == ["deterministic", "rng"]


def test_nnx_takes_the_arguments_of_flax():
    theirs = arguments(nnx.Dropout.__init__)
    mode = arguments(jaxdrop.nnx.StochasticModule.__init__)
    ours = {**mode, **arguments(jaxdrop.nnx.Dropout.__init__)}
    assert {name: ours[name] for name in theirs} == theirs
    theirs = arguments(nnx.Dropout.__call__)
    ours = arguments(jaxdrop.nnx.Dropout.__call__)
    assert list(ours)[2:4] == list(theirs)[2:4] == ["deterministic", "rngs"]


# Flax's own tests of Linen's Dropout, in our words.


def test_linen_two_keys_draw_two_masks_and_evaluation_none():
    x = jnp.ones((20, 20))
    module = jaxdrop.linen.Dropout(0.5)
    draws = [
        module.apply({}, x, deterministic=False, rngs={"dropout": jax.random.key(i)})
        for i in (1, 2)
    ]
    assert (draws[0] != draws[1]).any()
    for i in (1, 2):
        y = module.apply({}, x, deterministic=True, rngs={"dropout": jax.random.key(i)})
        np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("rate", [0.1 * i for i in range(1, 10)])
def test_linen_keeps_the_rate_it_says(rate):
    module = jaxdrop.linen.Dropout(rate, deterministic=False)
    kept = [
        module.apply({}, jnp.ones((100, 100)), rng=jax.random.key(i)) != 0
        for i in range(10)
    ]
    assert_frequency(np.stack(kept), 1 - rate)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_linen_limits_of_the_rate(rate, key):
    x = jnp.ones((20, 20))
    module = jaxdrop.linen.Dropout(rate, deterministic=False)
    run = lambda x: module.apply({}, x, rngs={"dropout": key})
    np.testing.assert_array_equal(run(x), x * (1 - rate))
    assert np.isfinite(jax.grad(lambda x: run(x).sum())(x)).all()


@pytest.mark.parametrize("ndim, axes", [(1, (0,)), (2, (0,)), (3, (0, 2)), (4, (1, 3))])
def test_linen_shares_draws_along_axes(ndim, axes, key):
    x = jnp.ones((6,) * ndim)
    module = jaxdrop.linen.Dropout(0.5, broadcast_dims=axes, deterministic=False)
    sums = np.asarray(module.apply({}, x, rng=key).sum(axes))
    assert np.isin(sums, [0, 2 * 6 ** len(axes)]).all()


def test_linen_manual_key_and_missing_keys(key):
    x = jnp.ones((20, 20))
    module = jaxdrop.linen.Dropout(0.5, deterministic=False)
    np.testing.assert_array_equal(
        module.apply({}, x, rng=key), module.clone().apply({}, x, rng=key)
    )
    with pytest.raises(errors.InvalidRngError, match="dropout"):
        module.apply({}, x)
    with pytest.raises(ValueError, match="deterministic"):
        jaxdrop.linen.Dropout(0.5).apply({}, x)
    with pytest.raises(ValueError, match="deterministic"):
        module.apply({}, x, deterministic=True)
    noise = jaxdrop.linen.Dropout(0.5, (), False, "noise")
    assert (noise.apply({}, x, rngs={"noise": key}) != x).any()


def test_linen_initialises_without_keys_of_its_own_in_evaluation(key):
    x = jnp.ones((4, 30))
    for module in (
        jaxdrop.linen.Dropout(0.5, deterministic=True),
        jaxdrop.linen.DropConnectDense(3, 0.5, deterministic=True),
    ):
        assert module.init(key, x) is not None
    training = jaxdrop.linen.Dropout(0.5, deterministic=False)
    y, _ = training.init_with_output(key, x)  # Flax falls back to "params"
    assert (y == 0).any() and (y != 0).any()


def test_linen_draws_anew_where_a_module_is_called_twice(key):
    class Twice(linen.Module):
        @linen.compact
        def __call__(self, x):
            """Runs it."""
            drop = jaxdrop.linen.Dropout(0.5, deterministic=False)
            return drop(x), drop(x)

    first, second = Twice().apply({}, jnp.ones(200), rngs={"dropout": key})
    assert_uncorrelated(first != 0, second != 0)


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


def test_linen_lifted_transforms_split_keys_or_share_them(key):
    x = jnp.ones((4, 30))
    for split in (True, False):
        mapped = linen.vmap(
            jaxdrop.linen.Dropout,
            variable_axes={"params": None},
            split_rngs={"dropout": split},
        )(0.5, deterministic=False)
        rows = mapped.apply({}, x, rngs={"dropout": key})
        assert bool((rows == rows[0][None]).all()) is not split
    remat = linen.remat(jaxdrop.linen.Dropout)(0.5, deterministic=False)
    plain = jaxdrop.linen.Dropout(0.5, deterministic=False)
    loss = lambda m: lambda x: (m.apply({}, x, rngs={"dropout": key}) ** 2).sum()
    np.testing.assert_array_equal(jax.grad(loss(remat))(x), jax.grad(loss(plain))(x))


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


def test_a_shared_rate_changes_all_modules_without_recompiling():
    rate = jaxdrop.nnx.Rate(jnp.float32(0.5))

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.first = jaxdrop.nnx.Dropout(rate, rngs=rngs)
            self.linear = nnx.Linear(8, 8, rngs=rngs)
            self.second = jaxdrop.nnx.Dropout(rate, rngs=rngs)

        def __call__(self, x):
            return self.second(jnp.ones_like(self.linear(self.first(x))))

    traces = []

    @nnx.jit
    def run(model, x):
        traces.append(1)
        return model(x)

    model, x = Model(nnx.Rngs(0)), jnp.ones((200, 8))
    for value in (0.0, 0.25, 0.75):
        model.first.rate[...] = jnp.float32(value)
        assert_frequency(np.asarray(run(model, x)) == 0, value or 1e-300)
    assert len(traces) == 1
    kinds = {type(leaf) for _, leaf in nnx.to_flat_state(nnx.state(model))}
    assert jaxdrop.nnx.Rate in kinds
    params = nnx.state(model, nnx.Param)
    assert not [p for p, _ in nnx.to_flat_state(params) if "rate" in p]


def test_a_shared_rate_is_made_from_a_number_or_an_array():
    for value in (0.5, jnp.float32(0.5), np.float64(0.5)):
        rate = jaxdrop.nnx.Rate(value)
        assert rate[...].dtype == jnp.float32 and rate[...] == 0.5
    with pytest.raises(ValueError, match="rate is the probability"):
        jaxdrop.nnx.Rate(1.5)
    graph, state = nnx.split(jaxdrop.nnx.Dropout(jaxdrop.nnx.Rate(0.5)))
    assert nnx.merge(graph, state).rate[...] == 0.5


def test_a_rate_set_on_a_live_module_is_used_at_the_next_call(key):
    module, x = jaxdrop.nnx.Dropout(0.5), jnp.ones((10, 10))
    module.rate = 0.1
    np.testing.assert_array_equal(
        module(x, rngs=key), jaxdrop.dropout(key, x, rate=0.1)
    )
