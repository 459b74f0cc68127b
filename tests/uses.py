"""Typical uses of every public function and module, as type checkers see them.

``mypy`` and ``basedpyright`` check this file as a user's; ``tests/test_uses.py`` runs
it, derives those of the dropout family from its table, and fails where a public name is
left out.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, assert_type

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import PartitionSpec

import jaxdrop
from jaxdrop import (
    acquisition,
    constraints,
    diagnostics,
    inputs,
    keys,
    masks,
    mc,
    metrics,
    penalties,
    prng,
    schedules,
)
from jaxdrop.early_stopping import EarlyStopping

KEY = jax.random.key(0)
RATE = jnp.float32(0.1)
X = jnp.ones((2, 6, 6, 4))
TOKENS = jnp.ones((2, 6, 4))
FEATURES = jnp.ones((2, 4))
PARAMS = {"kernel": jnp.ones((4, 4)), "bias": jnp.zeros(4)}
LABELS = np.array([0, 1])


def dropout_of_activations() -> None:
    assert_type(jaxdrop.dropout(KEY, X, rate=0.5), jax.Array)
    assert_type(jaxdrop.dropout(None, X, rate=RATE, deterministic=True), jax.Array)
    assert_type(jaxdrop.dropout(KEY, X, rate=0.5, broadcast_dims=(1, 2)), jax.Array)
    assert_type(jaxdrop.concrete_dropout(KEY, X, jnp.zeros(())), jax.Array)
    kept, indices = jaxdrop.token_dropout(KEY, TOKENS, rate=0.5)
    assert_type(kept, jax.Array)
    assert_type(indices, jax.Array)
    chosen = masks.masksembles(0, 4, 2, 2.0)
    assert_type(jaxdrop.masksembles(FEATURES, chosen), jax.Array)


def whole_branches() -> None:
    subset = jaxdrop.subset_stochastic_depth(KEY, jnp.sin, X, rate=0.5)
    assert_type(subset, jax.Array)
    assert_type(jaxdrop.layer_drop(KEY, 4, rate=0.1), jax.Array)
    assert_type(jaxdrop.shake_shake(KEY, X, X), jax.Array)

    def head(key: jax.Array) -> jax.Array:
        return jaxdrop.dropout(key, FEATURES, rate=0.5)

    assert_type(jaxdrop.multi_sample(KEY, head, num_samples=3), jax.Array)


def dropout_of_weights() -> None:
    jaxdrop.drop_connect(KEY, PARAMS, rate=0.5, where=lambda path, x: x.ndim > 1)
    jaxdrop.mixout(KEY, PARAMS, PARAMS, rate=0.5)
    mean, log_variance = jnp.ones((4, 4)), jnp.full((4, 4), -8.0)
    dense = jaxdrop.variational_dense(KEY, FEATURES, mean, log_variance)
    assert_type(dense, jax.Array)
    assert_type(jaxdrop.variational_penalty(mean, log_variance), jax.Array)
    assert_type(jaxdrop.variational_sparsity(mean, log_variance), jax.Array)
    gates = jnp.zeros(4)
    assert_type(jaxdrop.hard_concrete(KEY, gates), jax.Array)
    assert_type(jaxdrop.hard_concrete_penalty(gates), jax.Array)
    penalty = jaxdrop.concrete_penalty(
        0.0, PARAMS, weight_regularizer=1e-6, dropout_regularizer=1e-5, num_inputs=4
    )
    assert_type(penalty, jax.Array)


def attention() -> None:
    heads = jnp.ones((2, 6, 2, 4))
    attended = jaxdrop.dot_product_attention(KEY, *[heads] * 3, rate=0.1)
    assert_type(attended, jax.Array)
    assert_type(jaxdrop.drop_key(KEY, (2, 2, 6, 6), rate=0.1), jax.Array)


def noise_on_inputs() -> None:
    labels = jax.nn.one_hot(LABELS, 2)
    images, targets = inputs.mixup(KEY, X, labels, alpha=0.2)
    assert_type(images, jax.Array)
    images, targets = inputs.cutmix(KEY, X, labels)
    assert_type(images, jax.Array)
    del targets
    assert_type(inputs.cutout(KEY, X, size=2), jax.Array)
    assert_type(inputs.random_erasing(KEY, X, rate=0.5), jax.Array)
    assert_type(inputs.gaussian_noise(KEY, X, stddev=0.1), jax.Array)
    assert_type(inputs.embedding_noise(KEY, TOKENS, alpha=5.0), jax.Array)


def keys_and_masks() -> None:
    assert_type(keys.site(KEY, "head", step=3), jax.Array)
    assert_type(keys.example(KEY, jnp.arange(3)), jax.Array)
    mesh = jax.make_mesh((1,), ("data",))
    over = partial(jax.shard_map, mesh=mesh, in_specs=PartitionSpec())
    spread = over(
        lambda key: jax.random.key_data(keys.shard(key, "data")),
        out_specs=PartitionSpec("data"),
    )
    spread(KEY)
    keep = masks.keep_probability(0.5)
    mask = masks.bernoulli(KEY, (2, 4), rate=0.5)
    assert_type(mask, jax.Array)
    assert_type(masks.apply(FEATURES, mask, keep=keep), jax.Array)
    assert_type(masks.exact(KEY, (2, 4), num_dropped=1), jax.Array)
    assert_type(masks.blocks(KEY, (2, 6, 6, 4), rate=0.1, block_size=3), jax.Array)
    bits = prng.random_bits(KEY, (2, 4))
    assert_type(bits, jax.Array)
    assert_type(masks.survives(bits, keep=keep), jax.Array)
    assert_type(prng.bits_at(KEY, jnp.arange(3, dtype=jnp.uint32)), jax.Array)
    assert_type(prng.uniform(KEY, (3,)), jax.Array)
    assert_type(prng.normal(KEY, (3,)), jax.Array)
    jaxdrop.dropout(prng.light(KEY), X, rate=0.5)
    jaxdrop.dropout(prng.fuse(KEY), X, rate=0.5)
    jax.random.key(0, impl=prng.light_hash)
    jax.random.key(0, impl=prng.fused_threefry)


def rates_over_time() -> None:
    for schedule in (
        schedules.curriculum(0.5, num_steps=100),
        schedules.early(0.5, cutoff=100),
        schedules.late(0.5, cutoff=100),
    ):
        jaxdrop.dropout(KEY, X, rate=jnp.asarray(schedule(3)))
    assert_type(schedules.depth_rates(0.1, 12), jax.Array)
    schedules.scheduled_drop_path(0.1, depth=12, num_steps=100)(3)


def penalties_of_weights() -> None:
    assert_type(penalties.l1(PARAMS, coefficient=1e-4), jax.Array)
    assert_type(penalties.l2(PARAMS, where=lambda path, x: x.ndim > 1), jax.Array)
    assert_type(penalties.elastic_net(PARAMS, l1=1e-4, l2=1e-4), jax.Array)
    assert_type(penalties.group_lasso(PARAMS), jax.Array)
    assert_type(penalties.orthogonal(PARAMS), jax.Array)
    assert_type(penalties.spectral(PARAMS), jax.Array)
    assert_type(penalties.toward_reference(PARAMS, PARAMS), jax.Array)
    assert_type(penalties.by_path(penalties.l2, PARAMS), dict[str, jax.Array])


def penalties_of_outputs() -> None:
    logits = jnp.ones((2, 3))
    assert_type(penalties.confidence(logits, coefficient=0.1), jax.Array)
    assert_type(penalties.consistency(jnp.ones((2, 2, 3))), jax.Array)
    smoothed = penalties.smoothed_cross_entropy(logits, jnp.array([0, 1]), alpha=0.1)
    assert_type(smoothed, jax.Array)
    assert_type(penalties.activity_l1(FEATURES), jax.Array)
    assert_type(penalties.activity_l2(FEATURES), jax.Array)
    assert_type(penalties.temporal(TOKENS), jax.Array)
    assert_type(penalties.jacobian(KEY, jnp.sin, FEATURES), jax.Array)


def constraints_for_optax() -> None:
    optimizer = optax.chain(
        optax.add_decayed_weights(1e-4, mask=constraints.decay_mask),
        optax.sgd(1e-3),
        constraints.max_norm(3.0),
        constraints.unit_norm(),
        constraints.soft_threshold(1e-3),
        constraints.group_soft_threshold(optax.constant_schedule(1e-3)),
    )
    updates, _ = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    optax.apply_updates(PARAMS, updates)
    scheduled = constraints.max_norm(optax.constant_schedule(3.0))
    state = scheduled.init(PARAMS)
    assert isinstance(state, constraints.ConstraintState)


def early_stopping() -> None:
    stopper = EarlyStopping(patience=2, best_params=PARAMS)
    assert_type(stopper.update(1.0, PARAMS), EarlyStopping)


def _network(key: jax.Array, x: jax.Array) -> jax.Array:
    return jaxdrop.dropout(key, x, rate=0.5) @ jnp.ones((4, 3))


def monte_carlo() -> None:
    prediction = mc.predict(_network, KEY, FEATURES, num_samples=4)
    assert_type(prediction, mc.Prediction)
    assert_type(prediction.stats, dict[str, Any])
    assert_type(prediction.state, mc.State)
    reducers: dict[str, mc.Reducer] = {
        "moments": mc.moments(),
        "classes": mc.categorical(),
        "covariance": mc.covariance(),
        "mixture": mc.gaussian_mixture(of=lambda y: (y, jnp.ones_like(y))),
        "quantiles": mc.quantiles((0.1, 0.9)),
        "votes": mc.votes(),
    }
    mc.predict(_network, KEY, FEATURES, num_samples=4, reducers=reducers)
    mc.samples(_network, KEY, FEATURES, num_samples=4)
    joint = mc.joint(_network, KEY, FEATURES, num_samples=4)
    assert_type(joint, mc.Joint)
    drawn = mc.function_draw(_network, KEY)
    assert_type(drawn, Callable[..., Any])
    drawn(FEATURES)


def metrics_of_classes() -> None:
    probs, logits = np.array([[0.9, 0.1], [0.2, 0.8]]), jnp.array([[2.0, 0], [0, 1]])
    binned: list[Callable[..., jax.Array]] = [
        metrics.expected_calibration_error,
        metrics.adaptive_calibration_error,
        metrics.classwise_calibration_error,
        metrics.debiased_calibration_error,
        metrics.maximum_calibration_error,
    ]
    for error in binned:
        error(probs, LABELS, num_bins=5)
    assert_type(metrics.calibration_bins(probs, LABELS), metrics.CalibrationBins)
    assert_type(metrics.brier_decomposition(probs, LABELS), metrics.BrierDecomposition)
    assert_type(metrics.brier_score(probs, LABELS), jax.Array)
    assert_type(metrics.negative_log_likelihood(logits, LABELS), jax.Array)
    assert_type(metrics.temperature_scaling(logits, LABELS), jax.Array)
    assert_type(metrics.binary_logits(jnp.ones((2, 1))), jax.Array)


def metrics_of_scores() -> None:
    scores = np.array([0.9, 0.2])
    assert_type(metrics.auroc(scores, LABELS), jax.Array)
    assert_type(metrics.average_precision(scores, LABELS), jax.Array)
    assert_type(metrics.fpr_at_tpr(scores, LABELS, tpr=0.95), jax.Array)
    assert_type(metrics.aurc(scores, LABELS), jax.Array)
    assert_type(metrics.risk_coverage(scores, LABELS), metrics.RiskCoverage)
    rejection = metrics.accuracy_rejection(scores, LABELS)
    assert_type(rejection, metrics.AccuracyRejection)
    assert_type(rejection.accuracy_at(0.1), jax.Array)


def metrics_of_regression() -> None:
    mean, std, targets = np.zeros(3), np.ones(3), np.arange(3.0)
    assert_type(metrics.crps_gaussian(mean, std, targets), jax.Array)
    assert_type(metrics.crps_samples(np.ones((5, 3)), targets), jax.Array)
    assert_type(metrics.interval_coverage(mean - 1, mean + 1, targets), jax.Array)
    assert_type(metrics.interval_width(mean - 1, mean + 1), jax.Array)
    assert_type(metrics.winkler_score(mean, std, targets, alpha=0.1), jax.Array)
    assert_type(metrics.pinball_loss(mean, targets, level=0.9), jax.Array)
    assert_type(metrics.sharpness(std), jax.Array)
    calibration = metrics.regression_calibration(mean, std, targets)
    assert_type(calibration, metrics.RegressionCalibration)


def acquisition_of_labels() -> None:
    logits = jax.random.normal(KEY, (5, 7, 3))
    scores: list[Callable[..., jax.Array]] = [
        acquisition.bald,
        acquisition.margin,
        acquisition.max_entropy,
        acquisition.variation_ratio,
    ]
    for score in scores:
        score(logits)
    assert_type(acquisition.epig(logits, logits), jax.Array)
    batch = acquisition.batch_bald(KEY, logits, num_points=2)
    assert_type(batch, acquisition.Selection)


def diagnosis() -> None:
    report = diagnostics.audit(_network, KEY, FEATURES)
    assert_type(report, diagnostics.Audit)
    assert_type(report.sites, tuple[diagnostics.Site, ...])
    assert_type(report.findings, tuple[diagnostics.Finding, ...])
    diagnostics.assert_active(_network, KEY, FEATURES)
    diagnostics.assert_inactive(lambda x: 2 * x, FEATURES)
    activities = jax.random.normal(KEY, (8, 4))
    diagnostics.activation_sparsity(activities)
    diagnostics.dead_units(activities)
    assert_type(diagnostics.co_adaptation(activities), jax.Array)
    assert_type(diagnostics.effective_rank(activities), jax.Array)
    assert_type(diagnostics.variance_shift(activities, rate=0.5), jax.Array)
    diagnostics.unit_importance(lambda x: x.sum(), activities)
    assert_type(diagnostics.describe_mask(PARAMS, constraints.decay_mask), str)
    gap = diagnostics.weight_scaling_gap(
        _network, lambda x: x @ jnp.ones((4, 3)), KEY, FEATURES, num_samples=4
    )
    assert_type(gap, diagnostics.WeightScalingGap)


def modules_of_nnx() -> None:
    rngs = nnx.Rngs(0)
    rate = jaxdrop.nnx.Rate(0.1)
    for module in (
        jaxdrop.nnx.Dropout(rate, rngs=rngs),
        jaxdrop.nnx.ShakeDrop(0.1, rngs=rngs),
    ):
        assert isinstance(module, jaxdrop.nnx.DropoutModule)
        assert isinstance(module, jaxdrop.nnx.StochasticModule)
        assert_type(module(X), jax.Array)
    assert_type(jaxdrop.nnx.ShakeShake(rngs=rngs)(X, X), jax.Array)
    branch = jaxdrop.nnx.SubsetStochasticDepth(jnp.sin, 0.5, rngs=rngs)
    assert_type(branch(X), jax.Array)
    jaxdrop.nnx.TokenDropout(0.5, rngs=rngs)(TOKENS)
    embedded = jaxdrop.nnx.EmbeddingDropout(0.1, rngs=rngs)
    assert_type(embedded(TOKENS, jnp.zeros((2, 6), jnp.int32)), jax.Array)
    jaxdrop.nnx.Masksembles(num_masks=2)(FEATURES)


def layers_of_nnx() -> None:
    rngs = nnx.Rngs(0)
    dense = jaxdrop.nnx.DropConnectLinear(4, 3, 0.5, rngs=rngs)
    assert_type(dense(FEATURES), jax.Array)
    conv = jaxdrop.nnx.DropConnectConv(4, 3, (3, 3), 0.5, rngs=rngs)
    assert_type(conv(X), jax.Array)
    assert_type(jaxdrop.nnx.L0Linear(4, 3, rngs=rngs)(FEATURES), jax.Array)
    assert_type(jaxdrop.nnx.VariationalLinear(4, 3, rngs=rngs)(FEATURES), jax.Array)
    assert_type(jaxdrop.nnx.VariationalConv(4, 3, (3, 3), rngs=rngs)(X), jax.Array)
    concrete = jaxdrop.nnx.ConcreteDropout(
        nnx.Linear(4, 3, rngs=rngs),
        weight_regularizer=1e-6,
        dropout_regularizer=1e-5,
        rngs=rngs,
    )
    assert_type(concrete(FEATURES), jax.Array)
    lstm = nnx.LSTMCell(4, 4, rngs=rngs)
    for cell in (
        jaxdrop.nnx.VariationalCell(lstm, input_rate=0.1, state_rate=0.1, rngs=rngs),
        jaxdrop.nnx.ZoneoutCell(lstm, state_rate=0.1, rngs=rngs),
        jaxdrop.nnx.RecurrentDropoutLSTMCell(4, 4, 0.1, rngs=rngs),
    ):
        nnx.RNN(cell)(TOKENS)
    nnx.MultiHeadAttention(
        num_heads=2,
        in_features=4,
        dropout_rate=0.1,
        attention_fn=jaxdrop.nnx.attention_fn,
        decode=False,
        deterministic=False,
        rngs=rngs,
    )(TOKENS)
    model = nnx.Sequential(nnx.Linear(4, 3, rngs=rngs), jaxdrop.nnx.Dropout(0.1))
    mc.predict(jaxdrop.nnx.mc_apply, KEY, model, FEATURES, num_samples=4)


class Block(nn.Module):
    """Modules of Linen that drop activations."""

    @nn.compact
    def __call__(self, x: jax.Array, tokens: jax.Array, train: bool) -> jax.Array:
        for module in (jaxdrop.linen.AlphaDropout(0.1), jaxdrop.linen.ShakeDrop(0.1)):
            assert isinstance(module, jaxdrop.linen.DropoutModule)
            assert isinstance(module, jaxdrop.linen.StochasticModule)
            x = module(x, deterministic=not train)
        x = jaxdrop.linen.ShakeShake()(x, x, deterministic=not train)
        branch = jaxdrop.linen.SubsetStochasticDepth(jnp.sin, 0.5)
        x = branch(x, deterministic=not train)
        jaxdrop.linen.TokenDropout(0.5)(tokens, deterministic=not train)
        ids = jnp.zeros((2, 6), jnp.int32)
        jaxdrop.linen.EmbeddingDropout(0.1)(tokens, ids, deterministic=not train)
        return jaxdrop.linen.Masksembles(num_masks=2)(x)


class Layers(nn.Module):
    """Every module of Linen that drops weights, recurrent state or attention."""

    @nn.compact
    def __call__(self, x: jax.Array, tokens: jax.Array, train: bool) -> jax.Array:
        off = not train
        x = jaxdrop.linen.DropConnectConv(4, (3, 3), 0.5)(x, deterministic=off)
        x = jaxdrop.linen.VariationalConv(4, (3, 3))(x, deterministic=off)
        x = jaxdrop.linen.DropConnectDense(4, 0.5)(x, deterministic=off)
        x = jaxdrop.linen.L0Dense(4)(x, deterministic=off)
        x = jaxdrop.linen.VariationalDense(4)(x, deterministic=off)
        concrete = jaxdrop.linen.ConcreteDropout(
            nn.Dense(4), weight_regularizer=1e-6, dropout_regularizer=1e-5
        )
        x = concrete(x, deterministic=off)
        lstm, hidden = nn.LSTMCell(4), tokens
        for cell in (
            jaxdrop.linen.VariationalCell(lstm, state_rate=0.1, deterministic=off),
            jaxdrop.linen.ZoneoutCell(lstm, state_rate=0.1, deterministic=off),
            jaxdrop.linen.RecurrentDropoutLSTMCell(4, 0.1, deterministic=off),
        ):
            hidden = jnp.asarray(nn.RNN(cell)(hidden))
        attend = nn.MultiHeadDotProductAttention(
            num_heads=2, dropout_rate=0.1, attention_fn=jaxdrop.linen.attention_fn
        )
        attend(hidden, deterministic=off)
        return x


def modules_of_linen() -> None:
    for module in (Block(), Layers()):
        streams = {"params": KEY, "dropout": KEY}
        variables = module.init(streams, X, TOKENS, train=True)
        apply_fn = jaxdrop.linen.mc_apply(module, train=True)
        mc.predict(apply_fn, KEY, variables, X, TOKENS, num_samples=2)


def plots() -> None:
    from matplotlib.figure import Figure

    from jaxdrop import plots

    line = np.linspace(0, 1, 5)
    probs = np.array([[0.9, 0.1], [0.2, 0.8]])
    gains = ([-1.0, 0.5], [-2.0, 0.0], [0.0, 1.0])
    ax = plots.new_figure(2, height=2.0).subplots()
    color: str = plots.styles(["none", "dropout"])["none"]["color"]
    ax.axhline(0, color=color, label="zero")
    plots.add_legend(ax)
    figures = [
        plots.forest(["none", "dropout"], {"MC dropout": gains}, zero=None, ax=ax),
        plots.learning_curves({"train": line}),
        plots.mask(np.eye(4)),
        plots.predictive_band(line, line, line),
        plots.rate_sweep(line, line),
        plots.rejection_curve(np.array([0.9, 0.2]), LABELS),
        plots.reliability_diagram(probs, LABELS),
        plots.reliability_diagram({"one pass": probs}, LABELS, num_bins=5),
        plots.reliability_diagram(
            {"one pass": metrics.calibration_bins(probs, LABELS)}
        ),
        plots.uncertainty_histogram(line),
    ]
    assert_type(figures, list[Figure])
    with tempfile.TemporaryDirectory() as folder:
        figures[0].savefig(Path(folder) / "figure.png")
