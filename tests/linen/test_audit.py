"""Audits of models of Linen: paths of modules, lifted layers and cells."""

import jax
from diagnostics.cases import KEY, TOKENS, X, audit, transformer
from flax import linen

import jaxdrop


def test_a_transformer_of_linen_is_listed_in_training_and_in_evaluation():
    module, variables = transformer()
    training = audit(module, variables, TOKENS, train=True, rngs={"dropout": KEY})
    assert [(s.name, s.technique, s.rate) for s in training.active] == [
        site
        for block in ("Block_0", "Block_1")
        for site in (
            (
                f"{block}/MultiHeadDotProductAttention_0",
                "flax.linen.MultiHeadDotProductAttention",
                0.1,
            ),
            (f"{block}/Dropout_0", "dropout", 0.2),
            (f"{block}/Dropout_1", "flax.linen.Dropout", 0.3),
            (block, "stochastic_depth", 0.4),
        )
    ]
    assert not training.findings
    evaluation = audit(module, variables, TOKENS, train=False)
    assert not evaluation.active
    assert not evaluation.findings
    assert [(s.name, s.mode, s.rate) for s in evaluation.sites[:3]] == [
        ("Block_0/MultiHeadDotProductAttention_0", "evaluation", 0.1),
        ("Block_0/Dropout_0", "evaluation", 0.2),
        ("Block_0/Dropout_1", "evaluation", 0.3),
    ]


def test_lifted_layers_of_linen():
    class Layers(linen.Module):
        @linen.compact
        def __call__(self, x):
            """Runs it."""
            layer = linen.scan(
                linen.remat(Layer),
                variable_axes={"params": 0},
                split_rngs={"params": True, "dropout": True},
                length=3,
            )
            return layer()(x, None)[0]

    class Layer(linen.Module):
        @linen.compact
        def __call__(self, x, _):
            """Runs it."""
            drop = jaxdrop.linen.Dropout(0.5, deterministic=False)
            return linen.Dense(8)(drop(x)), None

    variables = Layers().init(KEY, X)
    result = audit(Layers(), variables, X, rngs={"dropout": KEY})
    (site,) = result.sites
    assert (site.technique, site.steps) == ("dropout", 3)
    assert site.name.endswith("Dropout_0")
    assert not result.findings


class Reader(linen.Module):
    """Two recurrences: one draws when a sequence starts, one at each step."""

    deterministic: bool

    @linen.compact
    def __call__(self, x):
        """Runs it."""
        off = self.deterministic
        variational = jaxdrop.linen.VariationalCell(
            linen.LSTMCell(8), input_rate=0.2, state_rate=0.3, deterministic=off
        )
        zoned = jaxdrop.linen.ZoneoutCell(
            linen.GRUCell(8), state_rate=0.2, deterministic=off
        )
        for cell in (variational, zoned):
            rngs = {"params": False, "dropout": True}
            x = linen.RNN(cell, split_rngs=rngs)(x)
        return linen.Dense(2)(x[:, -1])


def test_cells_of_linen_are_on_in_training_and_off_in_evaluation():
    variables = Reader(True).init(KEY, TOKENS)
    training = audit(Reader(False), variables, TOKENS, rngs={"dropout": KEY})
    assert [(s.technique, s.mask_shape, s.steps) for s in training.sites] == [
        ("sequence_mask", (2, 8), 1),
        ("sequence_mask", (2, 8), 1),
        ("zoneout", (2, 8), 5),
    ]
    assert not training.findings
    evaluation = audit(Reader(True), variables, TOKENS)
    assert {s.mode for s in evaluation.sites} == {"evaluation"}
    assert {s.name for s in evaluation.sites} == {"VariationalCell_0", "ZoneoutCell_0"}

    def loss(variables):
        return Reader(False).apply(variables, TOKENS, rngs={"dropout": KEY}).sum()

    rates = {s.rate for s in audit(jax.grad(loss), variables).active}
    assert rates <= {None, 0.2, 0.3}
