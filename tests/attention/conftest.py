"""Kernels of one platform, interpreted on any."""

import jax
import pytest

from jaxdrop._attention import _dispatch


@pytest.fixture
def interpreted(monkeypatch):
    """Chooses whose kernels are interpreted."""

    def choose(platform):
        jax.clear_caches()
        monkeypatch.setattr(_dispatch, "_INTERPRETED", platform)

    yield choose
    jax.clear_caches()
