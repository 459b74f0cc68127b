"""Calls a function of the tests in a process of its own, which shares only files."""

import os
import subprocess
import sys
from pathlib import Path

import jax

ROOT = Path(__file__).parents[1]
_CALL = """
import importlib, sys
module, function, *arguments = sys.argv[1:]
getattr(importlib.import_module(module), function)(*arguments)
"""


def call_in_new_process(module: str, function: str, *arguments: object) -> None:
    """Runs a function with arguments as text.

    Args:
      module: its module, as imported from the folder of the tests.
      function: its name.
      *arguments: what it is called with, each as a string.

    Raises:
      AssertionError: if it fails; the message is what the process has printed.
    """
    found = os.environ.get("PYTHONPATH", "")
    quickly = jax.config.read("jax_disable_most_optimizations")
    run = subprocess.run(
        [sys.executable, "-c", _CALL, module, function, *map(str, arguments)],
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), found]),
            "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir or "",
            "JAX_NUM_CPU_DEVICES": "8",  # as in conftest.py
            "JAX_DISABLE_MOST_OPTIMIZATIONS": str(quickly),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, f"{module}.{function} failed:\n{run.stdout}{run.stderr}"
