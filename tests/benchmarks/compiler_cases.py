"""What is compiled for TPUs besides techniques, and the costs that are recorded."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp

import jaxdrop
from jaxdrop import (
    acquisition,
    constraints,
    keys,
    mc,
    metrics,
    penalties,
    prng,
    schedules,
)

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def recorded(name):
    """The programs of a file that the site shows, by row, pass and contender."""
    run = json.loads((DOCS / "measured" / "compiled" / f"{name}.json").read_text())
    return {
        (one["row"], one["passing"], one["contender"]): one for one in run["programs"]
    }


def of(*shape, kind=jnp.float32):
    return jax.ShapeDtypeStruct(shape, kind)


KEY = jax.eval_shape(lambda: jax.random.key(0))
X = of(256, 128)
LOGITS, LABELS = of(256, 10), of(256, kind=jnp.int32)
ROW, CLASSES = of(256), of(256, kind=jnp.bool_)
SAMPLES = of(8, 256, 10)


def _updated(transform):
    """One update of a constraint, of parameters that are their own update."""

    def update(params):
        tree = {"kernel": params}
        return transform.update(tree, transform.init(tree), tree)[0]

    return update


def _sampled(reducer, x):
    return mc.predict(
        functools.partial(jaxdrop.dropout, rate=0.4),
        jax.random.key(0),
        x,
        num_samples=4,
        reducers=reducer,
    ).stats


def _of_logits(function):
    return lambda logits, labels: function(jax.nn.softmax(logits), labels)


def _tree(penalty, **knobs):
    return lambda kernel: penalty({"kernel": kernel}, **knobs)


def _jacobian(x):
    return penalties.jacobian(jax.random.key(0), jnp.tanh, x)


OTHERS = {
    **{
        f"metrics.{name}": (_of_logits(getattr(metrics, name)), (LOGITS, LABELS), False)
        for name in (
            *("adaptive_calibration_error", "calibration_bins"),
            *("classwise_calibration_error", "debiased_calibration_error"),
            *("expected_calibration_error", "maximum_calibration_error"),
            "brier_decomposition",
        )
    },
    "metrics.brier_score": (_of_logits(metrics.brier_score), (LOGITS, LABELS), True),
    "metrics.negative_log_likelihood": (
        metrics.negative_log_likelihood,
        (LOGITS, LABELS),
        True,
    ),
    "metrics.temperature_scaling": (
        metrics.temperature_scaling,
        (LOGITS, LABELS),
        False,
    ),
    "metrics.binary_logits": (metrics.binary_logits, (ROW,), False),
    "metrics.auroc": (metrics.auroc, (ROW, LABELS), False),
    "metrics.average_precision": (metrics.average_precision, (ROW, LABELS), False),
    "metrics.fpr_at_tpr": (metrics.fpr_at_tpr, (ROW, LABELS), False),
    "metrics.accuracy_rejection": (metrics.accuracy_rejection, (ROW, CLASSES), False),
    "metrics.risk_coverage": (metrics.risk_coverage, (ROW, ROW), False),
    "metrics.aurc": (metrics.aurc, (ROW, ROW), False),
    "metrics.interval_coverage": (metrics.interval_coverage, (ROW, ROW, ROW), False),
    "metrics.interval_width": (metrics.interval_width, (ROW, ROW), True),
    "metrics.winkler_score": (
        functools.partial(metrics.winkler_score, alpha=0.1),
        (ROW, ROW, ROW),
        True,
    ),
    "metrics.pinball_loss": (
        functools.partial(metrics.pinball_loss, level=0.9),
        (ROW, ROW),
        True,
    ),
    "metrics.crps_gaussian": (metrics.crps_gaussian, (ROW, ROW, ROW), True),
    "metrics.crps_samples": (metrics.crps_samples, (of(8, 256), ROW), True),
    "metrics.sharpness": (metrics.sharpness, (ROW,), True),
    "metrics.regression_calibration": (
        metrics.regression_calibration,
        (ROW, ROW, ROW),
        False,
    ),
    **{
        f"acquisition.{name}": (getattr(acquisition, name), (SAMPLES,), False)
        for name in ("bald", "margin", "max_entropy", "variation_ratio")
    },
    "acquisition.epig": (acquisition.epig, (SAMPLES, SAMPLES), False),
    "acquisition.batch_bald": (
        lambda logits: acquisition.batch_bald(
            jax.random.key(0), logits, num_points=2, num_configurations=64
        ),
        (SAMPLES,),
        False,
    ),
    **{
        f"mc.{name}": (functools.partial(_sampled, reducer), (LOGITS,), False)
        for name, reducer in {
            "categorical": mc.categorical(),
            "covariance": mc.covariance(),
            "moments": mc.moments(),
            "quantiles": mc.quantiles((0.1, 0.9), capacity=16),
            "votes": mc.votes(),
        }.items()
    },
    **{
        f"penalties.{name}": (_tree(getattr(penalties, name), **knobs), (X,), True)
        for name, knobs in {
            "l1": {},
            "l2": {},
            "elastic_net": {"l1": 0.1, "l2": 0.1},
            "group_lasso": {},
            "orthogonal": {},
            "spectral": {"num_iterations": 3},
            "activity_l1": {},
            "activity_l2": {},
        }.items()
    },
    "penalties.toward_reference": (penalties.toward_reference, (X, X), True),
    "penalties.by_path": (
        lambda x: penalties.by_path(penalties.l2, {"kernel": x}),
        (X,),
        True,
    ),
    "penalties.temporal": (penalties.temporal, (of(8, 32, 16),), True),
    "penalties.confidence": (penalties.confidence, (LOGITS,), True),
    "penalties.consistency": (penalties.consistency, (SAMPLES,), True),
    "penalties.jacobian": (_jacobian, (X,), True),
    "penalties.smoothed_cross_entropy": (
        functools.partial(penalties.smoothed_cross_entropy, alpha=0.1),
        (LOGITS, LABELS),
        True,
    ),
    **{
        f"constraints.{name}": (_updated(transform), (X,), False)
        for name, transform in {
            "max_norm": constraints.max_norm(2.0),
            "unit_norm": constraints.unit_norm(),
            "soft_threshold": constraints.soft_threshold(0.1),
            "group_soft_threshold": constraints.group_soft_threshold(0.1),
        }.items()
    },
    **{
        f"schedules.{name}": (schedule, (of(kind=jnp.int32),), False)
        for name, schedule in {
            "early": schedules.early(0.1, cutoff=10),
            "late": schedules.late(0.1, cutoff=10),
            "curriculum": schedules.curriculum(0.1, num_steps=10),
            "scheduled_drop_path": schedules.scheduled_drop_path(
                0.1, depth=4, num_steps=10
            ),
        }.items()
    },
    "concrete_penalty": (
        lambda kernel, logit: jaxdrop.concrete_penalty(
            logit, kernel, weight_regularizer=1e-3, dropout_regularizer=1e-2
        ),
        (X, of()),
        True,
    ),
    "hard_concrete_penalty": (jaxdrop.hard_concrete_penalty, (of(128),), True),
    "variational_penalty": (jaxdrop.variational_penalty, (X, X), True),
    "variational_sparsity": (jaxdrop.variational_sparsity, (X, X), False),
    **{
        f"masks.{name}": (draw, (KEY,), False)
        for name, draw in {
            "bernoulli": lambda key: jaxdrop.masks.bernoulli(key, (64, 128), rate=0.1),
            "exact": lambda key: jaxdrop.masks.exact(key, (64, 128), num_dropped=9),
            "blocks": lambda key: jaxdrop.masks.blocks(
                key, (4, 32, 32, 8), rate=0.1, block_size=3
            ),
        }.items()
    },
    "prng.uniform": (lambda key: prng.uniform(key, (64, 128)), (KEY,), False),
    "prng.normal": (lambda key: prng.normal(key, (64, 128)), (KEY,), False),
    "prng.random_bits": (lambda key: prng.random_bits(key, (64, 128)), (KEY,), False),
    "prng.bits_at": (prng.bits_at, (KEY, LABELS), False),
    "keys.site": (lambda key: keys.site(key, "layer"), (KEY,), False),
    "keys.example": (keys.example, (KEY, LABELS), False),
}
"""Functions with their arguments, and whether they are differentiated by the first."""

ELSEWHERE = {
    "constraints.decay_mask": "names of parameters, no arrays",
    "keys.shard": "needs a mesh",
    "masks.apply": "what dropout compiles to",
    "masks.keep_probability": "likewise",
    "masks.survives": "likewise",
    "masks.masksembles": "NumPy, on the host",
    "mc.function_draw": "gives a function",
    "mc.gaussian_mixture": "moments of two heads",
    "mc.joint": "predict, with a covariance",
    "mc.predict": "a row of its own",
    "mc.samples": "draws one at a time",
    "prng.fuse": "another type of key",
    "prng.light": "likewise; compiled in every row",
    "schedules.depth_rates": "NumPy, on the host",
}
"""Public functions that are not compiled by themselves, and why."""
