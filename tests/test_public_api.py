"""The list of public names: a name comes and goes on purpose, or not at all."""

import subprocess
import sys

import jaxdrop

FAMILY = {
    "alpha_dropout",
    "drop_connect",
    "dropout",
    "feature_alpha_dropout",
    "gaussian_dropout",
    "locked_dropout",
    "spatial_dropout",
    "stochastic_depth",
}
NAMESPACES = {
    "constraints",
    "keys",
    "linen",
    "masks",
    "metrics",
    "nnx",
    "penalties",
    "prng",
}
MODULES = {
    "AlphaDropout",
    "Dropout",
    "DropoutModule",
    "FeatureAlphaDropout",
    "GaussianDropout",
    "LockedDropout",
    "SpatialDropout",
    "StochasticDepth",
    "StochasticModule",
}
IN_NAMESPACE = {
    "prng": {"bits_at", "fuse", "fused_threefry", "normal", "random_bits", "uniform"},
    "nnx": MODULES | {"DropConnectLinear", "Rate"},
    "linen": MODULES | {"DropConnectDense"},
}


def exported(module) -> set[str]:
    """Public names, less the imports that a file needs itself."""
    hidden = {"annotations", "importlib", "TYPE_CHECKING", "Any"}
    return {name for name in dir(module) if not name.startswith("_")} - hidden


def test_the_package_exports_the_family_and_the_namespaces():
    assert exported(jaxdrop) == FAMILY | NAMESPACES


def test_each_namespace_exports_its_list():
    for namespace, names in IN_NAMESPACE.items():
        assert exported(getattr(jaxdrop, namespace)) == names, namespace


def test_unknown_names_raise_as_usual():
    assert not hasattr(jaxdrop, "no_such_name")


def run_in_a_new_process(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_starts_no_backend_and_loads_no_framework():
    loaded = run_in_a_new_process(
        "import sys, jaxdrop\n"
        "others = ('flax', 'matplotlib', 'chex')\n"
        "print([name for name in others if name in sys.modules])\n"
        "import jax\n"
        "jax.config.update('jax_num_cpu_devices', 3)\n"  # an error with a backend
        "print(jax.device_count())\n"
    )
    assert loaded.split("\n")[:2] == ["[]", "3"]


def test_flax_rooms_load_on_first_use():
    assert "True" in run_in_a_new_process(
        "import sys, jaxdrop\njaxdrop.nnx.Dropout\nprint('flax' in sys.modules)"
    )
