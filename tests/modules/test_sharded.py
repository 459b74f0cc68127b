"""Modules on a mesh: on explicit axes, where Flax's own raise, and over replicas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxdrop
from chance import normal

SHAPE, SHARED = (16, 6), [(), (0,), (1,), (0, 1)]


@pytest.fixture
def explicit():
    return jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))


@pytest.mark.parametrize("axes", SHARED, ids=str)
@pytest.mark.parametrize("spec", [P("data"), P(None)], ids=str)
def test_the_output_is_spread_as_the_input(axes, spec, explicit, key):
    x = jnp.ones(SHAPE)
    expected = jaxdrop.dropout(key, x, rate=0.5, broadcast_dims=axes)
    of_nnx = jaxdrop.nnx.Dropout(0.5, broadcast_dims=axes)
    of_linen = jaxdrop.linen.Dropout(0.5, axes, False)
    with jax.set_mesh(explicit):
        spread = jax.device_put(x, NamedSharding(explicit, spec))
        for run in (
            lambda x: of_nnx(x, rngs=key),
            lambda x: of_linen.apply({}, x, rng=key),
        ):
            y = jax.jit(run)(spread)
            assert y.sharding.is_equivalent_to(spread.sharding, y.ndim)
            np.testing.assert_array_equal(y, expected)


def test_a_model_trains_on_explicit_axes_as_on_one_device(explicit, key):
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.drop = jaxdrop.nnx.Dropout(0.3, rngs=rngs)
            self.linear = nnx.Linear(6, 4, rngs=rngs)
            self.depth = jaxdrop.nnx.StochasticDepth(0.3, rngs=rngs)

        def __call__(self, x):
            return self.depth(jnp.tanh(self.linear(self.drop(x))))

    @nnx.jit
    def slope_of(model, x):
        return nnx.grad(lambda model: (model(x) ** 2).mean())(model)

    x = normal(*SHAPE)
    expected = slope_of(Model(nnx.Rngs(0)), x)
    with jax.set_mesh(explicit):
        slope = slope_of(
            Model(nnx.Rngs(0)), jax.device_put(x, NamedSharding(explicit, P("data")))
        )
    for one, other in zip(
        jax.tree.leaves(slope), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_replicas_draw_apart_from_split_streams_and_alike_from_one():
    x = jnp.ones((5, 64))
    draw = lambda rngs, x: jaxdrop.nnx.Dropout(0.5)(x, rngs=rngs.dropout())
    split = nnx.vmap(draw, in_axes=(0, 0))(nnx.Rngs(0).split(5), x)
    loop = nnx.Rngs(0).split(5).dropout.key[...]
    each = [
        jaxdrop.dropout(jax.random.fold_in(loop[i], 0), x[i], rate=0.5)
        for i in range(5)
    ]
    np.testing.assert_array_equal(split, jnp.stack(each))
    assert len(np.unique(np.asarray(split), axis=0)) == 5

    @nnx.vmap(in_axes=(None, 0))
    def share(key, x):
        return jaxdrop.nnx.Dropout(0.5)(x, rngs=key)

    shared = share(jax.random.key(0), x)
    assert len(np.unique(np.asarray(shared), axis=0)) == 1
