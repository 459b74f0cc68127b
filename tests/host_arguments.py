"""A call of every public function, with every argument that takes numbers.

Calls of the dropout family are derived from its table. Another function is a row here:
a call that works, by the names of its arguments. What no row gives must be in
``NOT_NUMBERS``, unless its default is a flag or a word.
"""

import functools
import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np

import jaxdrop
from family import ROWS, Row
from jaxdrop import mc
from jaxdrop.early_stopping import EarlyStopping

NOT_NUMBERS = {
    *("key", "keys", "where", "deterministic", "out_sharding", "implementation"),
    *("name", "of", "precision", "mask", "exclude", "include", "stacked"),
    *("apply_fn", "branch", "fn", "function", "penalty", "mesh", "axis_name"),
    *("axis_names", "state", "best_params"),
}
"""Keys, functions, names and masks."""

WITHOUT_NUMBERS = {
    *("diagnostics.audit", "diagnostics.assert_active", "diagnostics.assert_inactive"),
    *("constraints.decay_mask", "diagnostics.describe_mask", "keys.shard"),
    *("mc.categorical debias", "mc.votes", "prng.fuse", "prng.light"),
}
"""What takes models, trees, keys or flags only."""

OF_ANY_SIZE = {
    ("acquisition.batch_bald", "num_configurations"),
    ("dot_product_attention", "block_size"),
    ("dot_product_attention", "local_window_size"),
    ("dot_product_attention", "query_seq_lengths"),
    ("dot_product_attention", "key_value_seq_lengths"),
    ("early_stopping.EarlyStopping", "patience"),
    ("early_stopping.EarlyStopping", "warmup"),
    ("inputs.cutout", "size"),
    ("keys.site", "index"),
    ("keys.site", "step"),
    ("masks.bernoulli", "shape"),
    ("mc.predict", "batch_axis"),
    ("mc.samples", "batch_axis"),
    ("masks.masksembles", "seed"),
    ("prng.bits_at", "counters"),
    ("schedules.curriculum", "num_steps"),
    ("schedules.early", "cutoff"),
    ("schedules.late", "cutoff"),
    ("schedules.scheduled_drop_path", "num_steps"),
}
"""What is static and may be any integer: more than there is means all.

An axis of a batch is of no use, and of any size, where draws are not shared.
"""


def data_of(function):
    """The names of the positional arguments, of which the first is the key."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]


OF_COMPLEX = {
    *(
        (row.function.__name__, data_of(row.function)[1])
        for row in ROWS.values()
        if row.of_complex
    ),
    *((n, "x") for n in ("inputs.cutmix", "inputs.cutout", "inputs.mixup")),
    *((n, "x") for n in ("concrete_dropout", "masks.apply", "masksembles")),
    *((n, "x") for n in ("token_dropout", "subset_stochastic_depth")),
    *(("penalties.jacobian", "x"), ("concrete_penalty", "params")),
    *(
        (f"diagnostics.{n}", "activities")
        for n in ("activation_sparsity", "dead_units")
    ),
    *((f"diagnostics.{n}", "activities") for n in ("co_adaptation", "effective_rank")),
    ("diagnostics.unit_importance", "activities"),
    ("diagnostics.variance_shift", "activities"),
    *((f"penalties.{n}", "activities") for n in ("activity_l1", "activity_l2")),
    *((f"penalties.{n}", "params") for n in ("by_path", "elastic_net", "group_lasso")),
    *((f"penalties.{n}", "params") for n in ("l1", "l2", "orthogonal", "spectral")),
    ("penalties.toward_reference", "params"),
    *(("penalties.temporal", n) for n in ("hidden", "dropped")),
}
"""What may be complex: data that are rescaled, or measured by their modulus."""

KEY = jax.random.key(0)
X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]], np.float32)
PROBS = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
LABELS = np.array([1, 0], np.int32)
MAPS = np.linspace(-1, 1, 2 * 4 * 4 * 2, dtype=np.float32).reshape(2, 4, 4, 2)
WEIGHTS = np.array([1.0, 2.0], np.float32)
TREE = {"kernel": X}
TARGETS = np.array([0.5, 1.5], np.float32)
SCORES = np.array([0.25, 0.75], np.float32)
LOGITS = X[:, None] * np.float32([1, 2])[:, None]  # (examples, samples, classes)
SEQUENCE = MAPS[:, :, :, 0]
HEADS = MAPS.transpose(0, 1, 3, 2)  # (batch, length, heads, features)

DATA = {"x": X, "targets": TARGETS, "tree": TREE}
"""What reducers, constraints and sampled functions are used on."""

USED_ON_DATA = {"mc", "constraints"}

drop = functools.partial(jaxdrop.dropout, rate=0.5)


def noisy(key, x):
    x = jnp.asarray(x)
    return x + jax.random.normal(key, x.shape, jnp.float32).astype(x.dtype)


def _binned(**more):
    return {"probs": PROBS, "labels": LABELS, "num_bins": 3, "weights": WEIGHTS, **more}


def _of_params(**more):
    return {"params": TREE, "coefficient": 0.5, **more}


KNOBS = {"rate": 0.5, "broadcast_dims": (0,)}


def _of_family(row: Row):
    """A call of a row: its data, and a number for every knob that takes one."""
    x = np.linspace(-1, 1, math.prod(row.shape), dtype=np.float32).reshape(row.shape)
    others = map(np.asarray, row.others(x) if row.others else ())
    given = dict(zip(data_of(row.function), (KEY, x, *others), strict=True))
    for name, parameter in inspect.signature(row.function).parameters.items():
        for source in (KNOBS, row.knobs, row.unbatched, {name: parameter.default}):
            value = source.get(name)
            if isinstance(value, int | float | tuple) and not isinstance(value, bool):
                given.setdefault(name, value)
    return given


CALLS = {row.function.__name__: _of_family(row) for row in reversed(ROWS.values())} | {
    "concrete_dropout": {
        **{"key": KEY, "x": X, "logit_rate": np.float32(-1)},
        **{"temperature": 0.5, "broadcast_dims": (0,)},
    },
    "concrete_penalty": {
        **{"logit_rate": np.float32(-1), "params": TREE, "num_inputs": 3},
        **{"weight_regularizer": 0.5, "dropout_regularizer": 0.25},
    },
    "dot_product_attention": {
        **{"key": KEY, "query": HEADS, "key_": HEADS, "value": HEADS, "rate": 0.5},
        **{"bias": np.ones((1, 1, 4, 4), np.float32), "scale": 0.5},
        **{"query_seq_lengths": np.array([4, 3]), "local_window_size": 2},
        **{"key_value_seq_lengths": np.array([4, 3]), "broadcast_dims": (0,)},
        "block_size": 2,
    },
    "drop_connect": {"key": KEY, "params": TREE, "rate": 0.5},
    "drop_key": {"key": KEY, "shape": (2, 1, 3, 3), "rate": 0.5},
    "hard_concrete": {"key": KEY, "log_alpha": X},
    "hard_concrete_penalty": {"log_alpha": X},
    "layer_drop": {"key": KEY, "num_layers": 4, "rate": 0.5},
    "masksembles": {
        **{"x": MAPS[..., 0, :], "masks": np.ones((2, 2), bool), "axis": -1},
    },
    "mixout": {"key": KEY, "params": TREE, "reference": TREE, "rate": 0.5},
    "multi_sample": {"key": KEY, "fn": lambda k: drop(k, X), "num_samples": 2},
    "shake_shake": {"key": KEY, "a": X, "b": X, "batch_axis": 0},
    "subset_stochastic_depth": {
        **{
            "key": KEY,
            "branch": lambda x: jnp.sin(x),
            "x": X,
            "rate": 0.5,
            "batch_axis": 0,
        },
    },
    "token_dropout": {
        **{"key": KEY, "x": SEQUENCE, "rate": 0.5, "num_prefix_tokens": 1},
        "token_axis": -2,
    },
    "variational_dense": {
        **{"key": KEY, "x": X, "mean": X.T, "log_variance": -2 * X.T},
        "threshold": 3.0,
    },
    "variational_penalty": {"mean": X, "log_variance": X},
    "variational_sparsity": {"mean": X, "log_variance": X, "threshold": 3.0},
    "acquisition.bald": {"logits": LOGITS},
    "acquisition.batch_bald": {
        **{"key": KEY, "logits": LOGITS, "num_points": 1, "num_configurations": 8},
        "labelled": np.array([True, False]),
    },
    "acquisition.epig": {"logits": LOGITS, "target_logits": LOGITS, "chunk_size": 1},
    "acquisition.margin": {"logits": LOGITS},
    "acquisition.max_entropy": {"logits": LOGITS},
    "acquisition.variation_ratio": {"logits": LOGITS},
    "constraints.group_soft_threshold": {"threshold": 0.5, "axis": 0},
    "constraints.max_norm": {"max_value": 0.5, "axis": 0},
    "constraints.soft_threshold": {"threshold": 0.5},
    "constraints.unit_norm": {"axis": 0},
    "diagnostics.activation_sparsity": {"activities": X, "threshold": 0.5, "axis": -1},
    "diagnostics.co_adaptation": {"activities": X, "axis": -1},
    "diagnostics.dead_units": {"activities": X, "threshold": 0.5, "axis": -1},
    "diagnostics.effective_rank": {"activities": X, "axis": -1},
    "diagnostics.unit_importance": {
        **{"function": lambda x: jnp.sum(x), "activities": X, "fill": 0.5, "axis": -1},
        "chunk_size": 2,
    },
    "diagnostics.variance_shift": {
        **{"activities": X, "rate": 0.5, "kernel": X.T, "axis": -1},
    },
    "diagnostics.weight_scaling_gap": {
        **{"stochastic": drop, "deterministic": lambda x: x, "key": KEY},
        **{"args": X, "num_samples": 2},
    },
    "inputs.cutmix": {
        **{"key": KEY, "x": MAPS, "labels": PROBS, "alpha": 0.5, "channel_axis": -1},
    },
    "inputs.cutout": {
        **{"key": KEY, "x": MAPS, "size": 2, "num_holes": 1, "fill": 0.5},
        **{"num_spatial_dims": 2, "channel_axis": -1},
    },
    "inputs.embedding_noise": {"key": KEY, "embedded": X, "alpha": 0.5},
    "inputs.gaussian_noise": {"key": KEY, "x": X, "stddev": 0.5},
    "inputs.mixup": {"key": KEY, "x": X, "labels": PROBS, "alpha": 0.5},
    "inputs.random_erasing": {
        **{"key": KEY, "x": MAPS, "rate": 0.5, "area": (0.25, 0.5)},
        **{"aspect": (0.5, 2.0), "fill": 0.5, "channel_axis": -1},
    },
    "keys.example": {"key": KEY, "ids": LABELS},
    "keys.site": {"key": KEY, "name": "a", "index": 1, "step": 2},
    "masks.apply": {"x": X, "mask": X > 0, "keep": 0.5},
    "masks.bernoulli": {
        **{"key": KEY, "shape": (2, 3), "rate": 0.5, "broadcast_dims": (0,)},
    },
    "masks.blocks": {
        **{"key": KEY, "shape": (2, 4, 4, 2), "rate": 0.5, "block_size": 2},
        **{"num_spatial_dims": 2, "channel_axis": -1},
    },
    "masks.exact": {"key": KEY, "shape": (2, 3), "num_dropped": 1, "axis": -1},
    "masks.keep_probability": {"rate": 0.5},
    "masks.masksembles": {"seed": 1, "features": 8, "num_masks": 2, "scale": 2.0},
    "masks.survives": {"bits": np.array([1, 2**31], np.uint32), "keep": 0.5},
    "mc.categorical": {"num_groups": 2},
    "mc.covariance": {"num_axes": 1, "ddof": 1},
    "mc.function_draw": {"apply_fn": noisy, "key": KEY, "batch_axis": 0},
    "mc.gaussian_mixture": {
        **{"noise": 0.5, "targets": TARGETS, "event_dims": 0, "ddof": 1},
    },
    "mc.joint": {
        **{"apply_fn": noisy, "key": KEY, "args": X, "num_samples": 2},
        **{"batch_axis": 0, "chunk_size": 2, "ddof": 1},
    },
    "mc.moments": {"ddof": 1},
    "mc.predict": {
        **{"apply_fn": noisy, "key": KEY, "args": X, "num_samples": 4},
        **{"batch_axis": 0, "chunk_size": 2, "tol": 0.5, "min_samples": 2},
        "check_every": 2,
    },
    "mc.quantiles": {"levels": (0.25, 0.5), "capacity": 8},
    "mc.samples": {
        **{"apply_fn": noisy, "key": KEY, "args": X, "num_samples": 2},
        **{"batch_axis": 0, "chunk_size": 2},
    },
    "metrics.accuracy_rejection": {
        **{"confidence": SCORES, "correct": LABELS, "weights": WEIGHTS},
    },
    "metrics.adaptive_calibration_error": _binned(),
    "metrics.aurc": {"confidence": SCORES, "losses": SCORES, "weights": WEIGHTS},
    "metrics.auroc": {"scores": SCORES, "labels": LABELS, "weights": WEIGHTS},
    "metrics.average_precision": {
        **{"scores": SCORES, "labels": LABELS, "weights": WEIGHTS},
    },
    "metrics.binary_logits": {"logit": TARGETS},
    "metrics.brier_decomposition": _binned(),
    "metrics.brier_score": {"probs": PROBS, "labels": LABELS, "weights": WEIGHTS},
    "metrics.calibration_bins": _binned(),
    "metrics.classwise_calibration_error": _binned(threshold=0.25),
    "metrics.crps_gaussian": {
        **{"mean": SCORES, "std": WEIGHTS, "targets": TARGETS, "weights": WEIGHTS},
    },
    "metrics.crps_samples": {
        **{"samples": X.T, "targets": TARGETS, "axis": 0, "weights": WEIGHTS},
    },
    "metrics.debiased_calibration_error": _binned(),
    "metrics.expected_calibration_error": _binned(),
    "metrics.fpr_at_tpr": {
        **{"scores": SCORES, "labels": LABELS, "tpr": 0.5, "weights": WEIGHTS},
    },
    "metrics.interval_coverage": {
        **{"lower": SCORES, "upper": 1 + SCORES, "targets": TARGETS},
        "weights": WEIGHTS,
    },
    "metrics.interval_width": {
        **{"lower": SCORES, "upper": 1 + SCORES, "weights": WEIGHTS},
    },
    "metrics.maximum_calibration_error": _binned(),
    "metrics.negative_log_likelihood": {
        **{"logits": X, "labels": LABELS, "weights": WEIGHTS},
    },
    "metrics.pinball_loss": {
        **{"quantiles": SCORES, "targets": TARGETS, "level": 0.5, "weights": WEIGHTS},
    },
    "metrics.regression_calibration": {
        **{"mean": SCORES, "std": WEIGHTS, "targets": TARGETS, "num_levels": 9},
        **{"num_bins": 2, "weights": WEIGHTS},
    },
    "metrics.risk_coverage": {
        **{"confidence": SCORES, "losses": SCORES, "weights": WEIGHTS},
    },
    "metrics.sharpness": {"std": WEIGHTS, "weights": WEIGHTS},
    "metrics.temperature_scaling": {
        **{"logits": X, "labels": LABELS, "weights": WEIGHTS},
    },
    "metrics.winkler_score": {
        **{"lower": SCORES, "upper": 1 + SCORES, "targets": TARGETS, "alpha": 0.5},
        "weights": WEIGHTS,
    },
    "penalties.activity_l1": {"activities": X, "coefficient": 0.5, "batch_axis": 0},
    "penalties.activity_l2": {"activities": X, "coefficient": 0.5, "batch_axis": 0},
    "penalties.by_path": {"penalty": jaxdrop.penalties.l2, "params": TREE},
    "penalties.confidence": {"logits": X, "coefficient": 0.5, "weights": WEIGHTS},
    "penalties.consistency": {
        **{"logits": LOGITS, "coefficient": 0.5, "pass_axis": 1, "weights": WEIGHTS},
    },
    "penalties.elastic_net": {"params": TREE, "l1": 0.5, "l2": 0.25},
    "penalties.group_lasso": _of_params(axis=0),
    "penalties.jacobian": {
        **{"key": KEY, "function": lambda x: jnp.sin(x), "x": X, "coefficient": 0.5},
        "num_projections": 1,
    },
    "penalties.l1": _of_params(),
    "penalties.l2": _of_params(),
    "penalties.orthogonal": _of_params(axis=0),
    "penalties.smoothed_cross_entropy": {
        **{"logits": X, "labels": LABELS, "alpha": 0.5, "weights": WEIGHTS},
    },
    "penalties.spectral": _of_params(num_iterations=2, axis=0),
    "penalties.temporal": {
        **{"hidden": X, "dropped": 2 * X, "alpha": 0.5, "beta": 0.25},
        "time_axis": -2,
    },
    "penalties.toward_reference": _of_params(reference={"kernel": 2 * X}),
    "prng.bits_at": {
        **{"key": KEY, "counters": LABELS, "high": LABELS},
    },
    "prng.normal": {"key": KEY, "shape": (2, 3)},
    "prng.random_bits": {"key": KEY, "shape": (2, 3)},
    "prng.uniform": {"key": KEY, "shape": (2, 3)},
    "schedules.curriculum": {"rate": 0.5, "num_steps": 9, "sharpness": 2.0},
    "schedules.depth_rates": {"rate": 0.5, "depth": 3},
    "schedules.early": {"rate": 0.5, "cutoff": 3},
    "schedules.late": {"rate": 0.5, "cutoff": 3},
    "schedules.scheduled_drop_path": {"rate": 0.5, "depth": 3, "num_steps": 9},
    "early_stopping.EarlyStopping": {
        **{"patience": 2, "min_delta": 0.25, "warmup": 1, "baseline": 0.5},
    },
}


def function_of(name):
    """The public function of a row's name."""
    value = jaxdrop
    for part in name.split("."):
        value = getattr(value, part)
    return value


def parameters_of(function):
    """Its parameters, without results that are not given."""
    found = inspect.signature(function).parameters
    results = {"best", "best_step", "step", "num_bad", "improved", "should_stop"}
    return [n for n in found if function is not EarlyStopping or n not in results]


def arrays_of(name):
    """The arrays of a row, with those that its reducer or constraint is used on."""
    arrays = lambda value: all(
        isinstance(v, np.ndarray) for v in jax.tree.leaves(value)
    )
    given = {n: value for n, value in CALLS.get(name, {}).items() if arrays(value)}
    return given | {"data": DATA} if name.split(".")[0] in USED_ON_DATA else given


def call(name, /, data=None, **changed):
    """Calls a function with the arguments of its row, some of them changed."""
    function = function_of(name)
    given = {**CALLS.get(name, {}), **changed}
    args, kwargs = [], {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in given:
            continue
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            kwargs[parameter.name] = given[parameter.name]
        else:
            args.append(given[parameter.name])
    return _result(name, function(*args, **kwargs), data or DATA)


def numbers(name, arrays):
    """The outputs of a call with the arrays of a row, as arrays of numbers."""
    as_numbers = lambda leaf: (
        jax.random.key_data(leaf)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else leaf
    )
    outputs = jax.tree.map(jnp.asarray, call(name, **arrays))
    return jax.tree.map(as_numbers, outputs)


def assert_same(found, expected):
    """Floats are close, and 0 in the same places; all else is equal."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    for ours, theirs in pairs:
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        if ours.dtype.kind not in "fc":
            np.testing.assert_array_equal(ours, theirs)
            continue
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def _result(name, value, data):
    """Numbers, of what may be a schedule, a reducer, a constraint or a sampler."""
    room = name.split(".")[0]
    if room == "schedules" and callable(value):
        return value(2)
    if isinstance(value, mc.Reducer):
        outputs = data["targets"] if "mixture" in name else data["x"]
        return mc.predict(noisy, KEY, outputs, num_samples=4, reducers=value).stats
    if name == "mc.function_draw":
        return value(data["x"])
    if room == "constraints" and name != "constraints.decay_mask":
        tree = data["tree"]
        return value.update(tree, value.init(tree), tree)[0]
    if isinstance(value, EarlyStopping):
        for metric in (1.0, 0.75, 0.5, 0.25, 0.25, 0.25):
            value = value.update(metric)
        return value.best, value.step
    return value
