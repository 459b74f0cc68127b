"""Audits of models of NNX: paths of modules, lifted layers, cells and streams."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from diagnostics.cases import TOKENS, Net, X, audit, only_site
from flax import nnx

import jaxdrop


def test_an_nnx_model_is_listed_by_path_and_left_as_it_is():
    model = Net(nnx.Rngs(0))
    before = nnx.split(model)
    training = audit(model, X)
    assert [(s.name, s.technique, s.mode) for s in training.sites] == [
        ("layers/1", "gaussian_dropout", "active"),
        ("layers/2", "flax.nnx.Dropout", "active"),
        ("layers/3", "drop_connect", "active"),
    ]
    model.eval()
    evaluation = audit(model, X)
    assert [(s.name, s.mode) for s in evaluation.sites] == [
        (f"layers/{i}", "evaluation") for i in (1, 2, 3)
    ]
    model.train()
    graph, state = nnx.split(model)
    assert graph == before[0]
    jax.tree.map(np.testing.assert_array_equal, *map(_raw, (state, before[1])))
    assert type(model) is Net


def _raw(state):
    keys = lambda x: jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    leaves = jax.tree.leaves(state)
    return [jax.random.key_data(leaf) if keys(leaf) else leaf for leaf in leaves]


def test_lifted_layers_of_nnx():
    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=0, out_axes=0)
    def layers(rngs):
        return nnx.Sequential(
            nnx.Linear(8, 8, rngs=rngs), jaxdrop.nnx.Dropout(0.5, rngs=rngs)
        )

    class Stack(nnx.Module):
        def __init__(self):
            self.layers = layers(nnx.Rngs(0))
            self.head = nnx.Linear(8, 2, rngs=nnx.Rngs(1))

        def __call__(self, x):
            """Runs it."""
            step = nnx.scan(
                nnx.remat(lambda x, layer: layer(x)),
                in_axes=(nnx.Carry, 0),
                out_axes=nnx.Carry,
            )
            return self.head(step(x, self.layers))

    result = audit(nnx.jit(lambda model, x: model(x)), Stack(), X)
    (site,) = result.sites
    assert (site.name, site.technique, site.steps) == ("layers/layers/1", "dropout", 3)
    assert not result.findings


def test_cells_of_nnx_draw_when_a_sequence_starts():
    rngs = nnx.Rngs(0)
    cell = jaxdrop.nnx.VariationalCell(
        nnx.LSTMCell(8, 8, rngs=rngs), input_rate=0.2, state_rate=0.3, rngs=rngs
    )
    model = nnx.RNN(cell)
    sites = audit(model, TOKENS).sites
    assert [(s.name, s.technique, s.mode) for s in sites] == [
        ("cell", "sequence_mask", "active"),
        ("cell (2)", "sequence_mask", "active"),
    ]
    model.eval()
    assert [s.mode for s in audit(model, TOKENS).sites] == ["evaluation"]


def every_nnx_module():
    rngs = nnx.Rngs(0)
    rows, maps = jnp.ones((4, 8)), jnp.ones((2, 6, 6, 8))
    modules, concrete = jaxdrop.nnx, {"weight_regularizer": 0, "dropout_regularizer": 0}
    yield modules.AlphaDropout(0.5, rngs=rngs), rows
    yield (
        modules.ConcreteDropout(nnx.Linear(8, 4, rngs=rngs), rngs=rngs, **concrete),
        rows,
    )
    yield modules.DropBlock(0.1, block_size=3, rngs=rngs), maps
    yield modules.DropConnectConv(8, 4, (3, 3), rate=0.5, rngs=rngs), maps
    yield modules.DropConnectLinear(8, 4, rate=0.5, rngs=rngs), rows
    yield modules.L0Linear(8, 4, rngs=rngs), rows
    yield modules.ShakeDrop(0.5, rngs=rngs), rows
    yield modules.StochasticDepth(0.5, rngs=rngs), rows
    yield modules.VariationalConv(8, 4, (3, 3), rngs=rngs), maps
    yield modules.VariationalLinear(8, 4, rngs=rngs), rows


def test_a_module_is_called_alike_in_training_and_in_evaluation():
    for module, x in every_nnx_module():
        on = only_site(module, x)
        module.eval()
        off = only_site(module, x)
        assert (on.name, on.technique, on.rate) == (off.name, off.technique, off.rate)
        assert (on.mode, off.mode) == ("active", "evaluation")


def test_a_training_step_of_nnx_is_read_and_the_model_keeps_its_weights():
    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)
    before = np.asarray(model.layers[0].kernel[...])

    @nnx.jit
    def step(model, optimizer, x):
        slopes = nnx.grad(lambda model: (model(x) ** 2).mean())(model)
        optimizer.update(model, slopes)

    sites = audit(step, model, optimizer, X).sites
    assert [(s.name, s.mode) for s in sites] == [
        (f"layers/{i}", "active") for i in (1, 2, 3)
    ]
    np.testing.assert_array_equal(model.layers[0].kernel[...], before)
