"""Mixup: data that are mixed as labels say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs.cases import OWN, N, parts

from jaxdrop import inputs


@pytest.mark.parametrize("per_example", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_mixup_mixes_data_as_labels_say(per_example, seed):
    x = jnp.broadcast_to(OWN[:, None], (N, 6))
    key = jax.random.key(seed)
    y, labels = inputs.mixup(key, x, jnp.eye(N), alpha=1.0, per_example=per_example)
    own, partner = parts(labels)
    expected = own * np.arange(N) + (1 - own) * partner
    np.testing.assert_allclose(y, np.broadcast_to(expected[:, None], (N, 6)), rtol=1e-5)
    moved = partner != np.arange(N)
    shares = np.unique(own[moved].round(5))
    assert len(shares) == (moved.sum() if per_example else 1)


def test_any_tree_of_labels_is_mixed_alike(key):
    x, labels = jnp.ones((N, 4)), {"class": jnp.eye(N), "value": OWN}
    _, mixed = inputs.mixup(key, x, labels, alpha=1.0)
    np.testing.assert_allclose(mixed["value"], mixed["class"] @ OWN, rtol=1e-5)
