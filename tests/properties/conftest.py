"""The profiles of hypothesis: few examples that never change, or many new ones."""

import pytest
from hypothesis import HealthCheck, settings

COMMON = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much],
}
settings.register_profile("quick", max_examples=3, derandomize=True, **COMMON)
settings.register_profile("slow", max_examples=100, print_blob=True, **COMMON)


def pytest_configure(config: pytest.Config) -> None:
    """Chooses the quick profile, unless ``--hypothesis-profile`` names one."""
    if not config.getoption("--hypothesis-profile", None):
        settings.load_profile("quick")
