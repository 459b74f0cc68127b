"""Properties of primitives, by names that JAX knows."""

from jax.extend.core import primitives

from jaxdrop import _programs


def test_the_table_names_primitives_that_exist():
    known = {
        getattr(getattr(primitives, name), "name", None)
        for name in dir(primitives)
        if name.endswith("_p")
    }
    elsewhere = {"copy_p", "optimization_barrier", "pcast", "pvary", "reshard"}
    elsewhere |= {"platform_index", "xla_metadata_value"}  # see the tests of each
    missing = (_programs.CHEAP | _programs.LAYOUT) - known - elsewhere
    assert not missing, f"JAX has no primitives of these names any more: {missing}"
