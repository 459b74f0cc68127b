"""Which entries share one decision: whole channels, examples, sequences, features."""

import jax.numpy as jnp
import numpy as np

from chance import assert_frequency

RATE = 0.3


def assert_shared(technique, key, shape, decisions, **knobs):
    """Asserts that a technique drops or keeps entries together, and at its rate.

    Args:
      technique: a function of the family.
      key: a PRNG key.
      shape: the shape of its data.
      decisions: the shape of one entry for each decision, 1 along shared axes.
      **knobs: arguments of the technique.
    """
    y = np.asarray(technique(key, jnp.ones(shape), rate=RATE, **knobs))
    one_each = tuple(slice(size) for size in decisions)
    np.testing.assert_array_equal(y, np.broadcast_to(y[one_each], shape))
    kept = np.float32(1 / np.float32(1 - RATE))
    assert set(np.unique(y)) <= {np.float32(0), kept}
    if max(decisions) > 1:
        assert_frequency(y[one_each] == 0, RATE)
