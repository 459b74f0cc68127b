"""Kernels of one platform, interpreted on any."""

import sys

import jax
import pytest
from jax.experimental import pallas

import jaxdrop
from jaxdrop._attention import _dispatch


@pytest.fixture
def without_triton(monkeypatch):
    """A JAX whose Pallas does not have the Triton backend."""
    monkeypatch.setitem(sys.modules, "jax.experimental.pallas.triton", None)
    monkeypatch.delattr(pallas, "triton", raising=False)
    monkeypatch.delitem(sys.modules, "jaxdrop._attention._flash_gpu", raising=False)
    monkeypatch.delattr(jaxdrop._attention, "_flash_gpu", raising=False)


@pytest.fixture
def interpreted(monkeypatch):
    """Chooses whose kernels are interpreted."""

    def choose(platform):
        jax.clear_caches()
        monkeypatch.setattr(_dispatch, "_INTERPRETED", platform)

    yield choose
    jax.clear_caches()
