"""Shares of true entries, counted beyond int32."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import _numbers


def test_shares_of_small_and_of_large_arrays():
    flags = np.random.default_rng(0).random((3, 40)) < 0.3
    for axes in ((0,), (1,), (0, 1), ()):
        found = _numbers.share_of_true(jnp.asarray(flags), axes)
        np.testing.assert_allclose(found, flags.mean(axes) if axes else flags)
    assert jnp.isnan(_numbers.share_of_true(jnp.zeros((0, 2), bool), (0,))).all()


def test_counts_in_two_parts_carry(monkeypatch):
    monkeypatch.setattr(_numbers._counts, "_INT32", SimpleNamespace(max=10))
    monkeypatch.setattr(_numbers._counts, "_LOW_BITS", 3)
    flags = np.random.default_rng(0).random((7, 9, 11)) < 0.7
    for axes in ((1,), (0, 2), (0, 1, 2)):
        found = _numbers.share_of_true(jnp.asarray(flags), axes)
        np.testing.assert_allclose(found, flags.mean(axes), rtol=1e-6)


@pytest.mark.parametrize("rows", [2**16 - 1, 2**16, 3 * 2**15])
def test_counts_on_both_sides_of_what_int32_holds(rows):
    @jax.jit
    def share(value):  # XLA fuses the broadcast: nothing of this size is held
        return _numbers.share_of_true(jnp.broadcast_to(value, (rows, 2**15)), (0, 1))

    assert share(True) == 1 and share(False) == 0
