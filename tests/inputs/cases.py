"""What tests of boxes and of mixtures share: erased pixels, and shares of labels."""

import numpy as np

MANY = 4000


def holes(y):
    """Which pixels of the images are erased; asserts that all channels agree."""
    erased = np.asarray(y) == 0
    assert (erased == erased[..., :1]).all()
    return erased[..., 0]


def extents(erased):
    """The first and last erased row and column of each image with a hole."""
    rows, columns = erased.any(axis=2), erased.any(axis=1)
    top, left = rows.argmax(axis=1), columns.argmax(axis=1)
    bottom = rows.shape[1] - rows[:, ::-1].argmax(axis=1)
    right = columns.shape[1] - columns[:, ::-1].argmax(axis=1)
    return top, bottom, left, right


N = 8
OWN = np.arange(N, dtype=np.float32)


def parts(labels):
    """The own share and the partner of each example, from labels that were one-hot."""
    labels = np.asarray(labels)
    np.testing.assert_allclose(labels.sum(axis=-1), 1, rtol=1e-6)
    assert (labels >= 0).all()
    own = np.diagonal(labels)
    others = labels - np.diag(own)
    partner = np.where(others.max(axis=1) > 0, others.argmax(axis=1), np.arange(N))
    np.testing.assert_allclose(others.sum(axis=1), others.max(axis=1), rtol=1e-6)
    return own, partner
