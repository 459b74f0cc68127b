"""The list of public names: a name comes and goes on purpose, or not at all."""

import pydoc
import subprocess
import sys

import pytest

import jaxdrop
from family import ROWS

FAMILY = {row.function.__name__ for row in ROWS.values()} | {
    "hard_concrete",
    "hard_concrete_penalty",
    "shake_shake",
    "concrete_dropout",
    "concrete_penalty",
    "variational_dense",
    "variational_penalty",
    "variational_sparsity",
    "layer_drop",
    "masksembles",
    "multi_sample",
    "subset_stochastic_depth",
    "token_dropout",
    "dot_product_attention",
    "drop_key",
}
NAMESPACES = {
    "acquisition",
    "plots",
    "diagnostics",
    "inputs",
    "mc",
    "constraints",
    "early_stopping",
    "keys",
    "linen",
    "masks",
    "metrics",
    "nnx",
    "penalties",
    "prng",
    "schedules",
}
MODULES = {row.module for row in ROWS.values() if row.module} | {
    "DropConnectConv",
    "ShakeDrop",
    "ShakeShake",
    "VariationalConv",
    "RecurrentDropoutLSTMCell",
    "VariationalCell",
    "ZoneoutCell",
    "ConcreteDropout",
    "DropoutModule",
    "EmbeddingDropout",
    "Masksembles",
    "SubsetStochasticDepth",
    "TokenDropout",
    "StochasticModule",
}
IN_NAMESPACE = {
    "acquisition": {
        *("Selection", "bald", "batch_bald", "epig", "margin", "max_entropy"),
        "variation_ratio",
    },
    "plots": {
        *(
            "add_legend",
            "forest",
            "learning_curves",
            "mask",
            "new_figure",
            "predictive_band",
        ),
        *("rate_sweep", "rejection_curve", "reliability_diagram", "styles"),
        "uncertainty_histogram",
    },
    "constraints": {
        *("ConstraintState", "decay_mask", "group_soft_threshold", "max_norm"),
        *("soft_threshold", "unit_norm"),
    },
    "early_stopping": {"EarlyStopping"},
    "diagnostics": {
        *("Audit", "Finding", "Site", "assert_active", "assert_inactive", "audit"),
        *("WeightScalingGap", "activation_sparsity", "co_adaptation", "dead_units"),
        *("describe_mask", "effective_rank", "unit_importance", "variance_shift"),
        "weight_scaling_gap",
    },
    "inputs": {
        *("cutmix", "cutout", "embedding_noise", "gaussian_noise", "mixup"),
        "random_erasing",
    },
    "mc": {
        *("Joint", "Prediction", "Reducer", "State", "categorical", "covariance"),
        *("function_draw", "gaussian_mixture", "joint", "moments", "predict"),
        *("quantiles", "samples", "votes"),
    },
    "keys": {"example", "shard", "site"},
    "masks": {
        *("apply", "bernoulli", "blocks", "exact", "keep_probability", "masksembles"),
        "survives",
    },
    "linen": MODULES
    | {"DropConnectDense", "L0Dense", "VariationalDense", "attention_fn", "mc_apply"},
    "metrics": {
        *("AccuracyRejection", "BrierDecomposition", "CalibrationBins"),
        "binary_logits",
        *("RegressionCalibration", "RiskCoverage", "accuracy_rejection"),
        *("adaptive_calibration_error", "aurc", "auroc", "average_precision"),
        *("brier_decomposition", "brier_score", "calibration_bins"),
        *("classwise_calibration_error", "crps_gaussian", "crps_samples"),
        *("debiased_calibration_error", "expected_calibration_error", "fpr_at_tpr"),
        *("interval_coverage", "interval_width", "maximum_calibration_error"),
        *("negative_log_likelihood", "pinball_loss", "regression_calibration"),
        *("risk_coverage", "sharpness", "temperature_scaling", "winkler_score"),
    },
    "nnx": MODULES
    | {"DropConnectLinear", "L0Linear", "Rate", "VariationalLinear"}
    | {"attention_fn", "mc_apply"},
    "penalties": {
        *("activity_l1", "activity_l2", "by_path", "confidence", "consistency"),
        *("elastic_net", "group_lasso", "jacobian", "l1", "l2", "orthogonal"),
        *("smoothed_cross_entropy", "spectral", "temporal", "toward_reference"),
    },
    "prng": {
        *("bits_at", "fuse", "fused_threefry", "light", "light_hash"),
        *("normal", "random_bits", "uniform"),
    },
    "schedules": {"curriculum", "depth_rates", "early", "late", "scheduled_drop_path"},
}


def test_the_package_exports_the_family_and_the_namespaces():
    offered = {name for name in dir(jaxdrop) if not name.startswith("_")}
    assert offered == FAMILY | NAMESPACES == set(jaxdrop.__all__)


def test_help_describes_every_name_of_the_package():
    text = pydoc.render_doc(jaxdrop, renderer=pydoc.plaintext)
    description = text[: text.index("PACKAGE CONTENTS")]
    for name in jaxdrop.__all__:
        assert f"``{name}``" in description, name


def test_every_namespace_has_a_list():
    assert IN_NAMESPACE.keys() == NAMESPACES


@pytest.mark.parametrize("namespace", IN_NAMESPACE)
def test_dir_and_help_offer_the_api_and_nothing_else(namespace):
    module = getattr(jaxdrop, namespace)
    assert dir(module) == sorted(module.__all__) == sorted(IN_NAMESPACE[namespace])
    for name in module.__all__:  # one line for each, as help() shows
        assert f"`{name}`" in module.__doc__, f"{namespace} does not describe {name}"


def test_unknown_names_raise_as_usual():
    assert not hasattr(jaxdrop, "no_such_name")


def run_in_a_new_process(code: str, *flags: str) -> str:
    command = [sys.executable, *flags, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_starts_no_backend_and_loads_no_framework():
    loaded = run_in_a_new_process(
        "import sys, jaxdrop\n"
        "others = ('flax', 'matplotlib')\n"
        "jaxdrop.plots.rate_sweep\n"  # which imports matplotlib when it is called
        "print([name for name in others if name in sys.modules])\n"
        "import jax\n"
        "jax.config.update('jax_num_cpu_devices', 3)\n"  # an error with a backend
        "print(jax.device_count())\n"
        "jaxdrop.nnx.Dropout\n"
        "print('flax' in sys.modules)\n"
    )
    assert loaded.split("\n")[:3] == ["[]", "3", "True"]


@pytest.mark.slow
def test_everything_is_imported_without_docstrings():
    found = run_in_a_new_process(
        "import jaxdrop, jaxdrop.linen, jaxdrop.nnx\nprint(jaxdrop.__doc__)", "-OO"
    )
    assert found == "None\n"
