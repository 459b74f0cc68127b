"""Which cells of large tables plain ``pytest`` leaves out, and which need not be."""

from pathlib import Path
from types import SimpleNamespace

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def conftest(request):
    return request.config.pluginmanager.get_plugin(str(HERE / "conftest.py"))


def test_folders_and_files_that_are_named_are_there(conftest):
    assert all((HERE / name).is_dir() for name in conftest.TESTED_WHOLE)
    assert all((HERE / f"{name}.py").is_file() for name in conftest.ALSO_TABLES)


def test_files_that_only_read_are_tested_whole_and_contracts_in_part(conftest):
    in_part = lambda name: conftest.is_tested_in_part(Path(name))
    for name in ("test_house", "docs/test_links", "examples/test_shared"):
        assert not in_part(f"{name}.py")
    for name in ("test_loops", "dropout/test_contract", "nnx/a/test_b"):
        assert in_part(f"{name}.py")
    assert in_part("examples/test_study.py") and not in_part("examples/a/test_study.py")


def reports(name, seconds, keyword="cell", passed=True):
    """Those of a table, with a setup as long as the call."""
    return [
        SimpleNamespace(
            nodeid=f"{name}[{case}]",
            duration=duration / 2,
            keywords={keyword: 1},
            when=when,
            passed=passed or when == "setup",
        )
        for case, duration in enumerate(seconds)
        for when in ("setup", "call")
    ]


def test_tables_that_are_left_out_without_need_are_named(conftest):
    found = conftest.quick_tables(
        [
            *reports("quick", [1.0, 0.002, 0.003]),  # the first case makes a fixture
            *reports("setup_counts", [0.006, 0.006, 0.006]),
            *reports("compiles", [0.3, 0.2, 0.001]),
            *reports("no_cells", [0.001], keyword="slow"),
            *reports("skipped", [0.001, 0.001], passed=False),
        ]
    )
    assert found == ["quick"]
