"""Every example in its short mode, run from the command line as users run it."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import char_rnn
import image_regularizers
import pytest
from active_learning import STRATEGIES

ROOT = Path(__file__).parents[2]

RUNS = {  # what is printed, and which files are written
    "active_learning": (
        STRATEGIES,
        {
            *("active_learning.csv", "active_learning.json"),
            *("label_efficiency.png", "first_asked.png"),
        },
    ),
    "char_rnn": (
        char_rnn.QUICK,
        {
            *("char_rnn.csv", "char_rnn.json"),
            *("char_rnn_curves.png", "char_rnn_scores.png"),
        },
    ),
    "char_transformer": (
        ["none", "early dropout"],
        {
            *("char_transformer.csv", "char_transformer.json"),
            "char_transformer_curves.png",
        },
    ),
    "compare_regularizers": (
        ["none", "dropout", "On digits with 500 images, "],
        {
            *("results.csv", "gains.json", "gains.png"),
            *("learning_curves.png", "reliability_diagrams.png"),
        },
    ),
    "image_regularizers": (
        image_regularizers.QUICK,
        {
            *("image_regularizers.csv", "image_regularizers.json"),
            *("image_regularizers_curves.png", "image_regularizers_masks.png"),
        },
    ),
    "mc_dropout_regression": (
        ["time after the last observation"],
        {"mc_dropout_regression_made-up.png"},
    ),
    "mc_dropout_uci": (
        ["442 rows, 20 splits", "RMSE, MC dropout"],
        {f"mc_dropout_uci_diabetes_40_epochs.{end}" for end in ("png", "json")},
    ),
    "mc_dropout_uncertainty": (
        ["digits, 500 training images", "MC dropout"],
        {"mc_dropout_uncertainty_digits.png"},
    ),
    "train_step": (["The three losses agree at each of 300 steps"], set()),
}
MOST_CPU = 60  # seconds: the help says about 30, and processors differ
ELSEWHERE = {"distributed"}  # which starts processes itself, in test_distributed.py


def test_every_example_has_a_run():
    scripts = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert RUNS.keys() | ELSEWHERE == scripts


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_quick_run_prints_and_writes_all(name, tmp_path):
    printed, written = RUNS[name]
    flags = ["--quick", "--output", str(tmp_path)] if written else []
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(
        [sys.executable, f"examples/{name}.py", *flags],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path, "MPLBACKEND": "Agg", "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < MOST_CPU, f"{spent:.0f} s of CPU"
    for words in printed:
        assert words in run.stdout
    assert {path.name for path in tmp_path.iterdir()} == written
