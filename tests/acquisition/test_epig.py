"""EPIG against brute force, in chunks and in bounded memory."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from acquisition.cases import joint_information, logits, probabilities
from scipy import special

from jaxdrop import acquisition


def test_epig_is_the_information_about_targets():
    pool, targets = logits(40, 5, 3), logits(40, 4, 3, seed=1)
    p, q = probabilities(pool), probabilities(targets)
    joint = np.einsum("tnc,tmd->nmcd", p, q) / 40
    apart = p.mean(0)[:, None, :, None] * q.mean(0)[None, :, None, :]
    expected = special.rel_entr(joint, apart).sum((-1, -2)).mean(1)
    np.testing.assert_allclose(
        jax.jit(acquisition.epig)(pool, targets), expected, atol=1e-6
    )
    brute = np.zeros((5, 4))
    for n, m in itertools.product(range(5), range(4)):
        both = np.stack([pool[:, n], targets[:, m]], axis=1)
        brute[n, m] = (
            joint_information(pool, [n])
            + joint_information(targets, [m])
            - joint_information(both, [0, 1])
        )
    # I(y; w) + I(y*; w) - I(y, y*; w) = I(y; y*), as labels are independent given w
    np.testing.assert_allclose(expected, brute.mean(1), atol=1e-9)


@pytest.mark.parametrize("scale", [1e-5, 1e-3, 1e4])
def test_information_keeps_its_digits_at_every_scale(scale):
    pool = logits(30, 6, 3, scale=scale)
    p = probabilities(pool)
    mean = p.mean(0)
    expected = special.rel_entr(p, mean).sum(-1).mean(0)
    np.testing.assert_allclose(acquisition.bald(pool), expected, rtol=0.05)
    joint = np.einsum("tnc,tmd->nmcd", p, p) / 30
    apart = mean[:, None, :, None] * mean[None, :, None, :]
    expected = special.rel_entr(joint, apart).sum((-1, -2)).mean(1)
    if scale > 1e-4:  # below, float64 has no digits left for the reference
        found = acquisition.epig(pool, pool)
        np.testing.assert_allclose(found, expected, rtol=0.05, atol=1e-10)


def test_epig_of_one_sample_is_zero():
    assert (acquisition.epig(logits(1, 4, 3), logits(1, 5, 3)) == 0).all()


def test_epig_ignores_what_no_target_depends_on():
    pool = logits(200, 2, 2, scale=6)
    targets = pool[:, :1]
    useful, useless = acquisition.epig(pool, targets)
    assert useful > 20 * useless
    assert abs(np.diff(acquisition.bald(pool))[0]) < 0.2


@pytest.mark.parametrize("chunk_size", [1, 3, 4, 7, 8, 1000])
def test_epig_is_the_same_in_chunks(chunk_size):
    rng = np.random.default_rng(0)
    pool, targets = rng.normal(size=(20, 6, 3)), 3 * rng.normal(size=(20, 4, 3))
    found = acquisition.epig(pool, targets, chunk_size=chunk_size)
    p, q = special.softmax(pool, -1), special.softmax(targets, -1)
    joint = np.einsum("spc,std->ptcd", p, q) / 20
    apart = special.entr(p.mean(0)).sum(-1)[:, None] + special.entr(q.mean(0)).sum(-1)
    expected = (apart - special.entr(joint).sum((-1, -2))).mean(1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_epig_of_many_classes_fits_into_memory():
    shape = lambda *axes: jax.ShapeDtypeStruct(axes, jnp.float32)
    program = jax.jit(acquisition.epig).lower(shape(4, 99, 500), shape(4, 70, 500))
    used = program.compile().memory_analysis().temp_size_in_bytes
    assert used < 2**29  # all pairs of 64 points at once are 4.5 GB


def test_epig_chunks_are_counts():
    logits = np.zeros((2, 2, 2), np.float32)
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        acquisition.epig(logits, logits, chunk_size=0)
    with pytest.raises(TypeError, match=r"chunk_size must be an integer, got 1\.5"):
        acquisition.epig(logits, logits, chunk_size=1.5)
