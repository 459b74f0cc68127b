"""Fixed sets of overlapping masks, for Masksembles (Durasov et al., 2021)."""

import functools

import numpy as np
from numpy.typing import NDArray

from jaxdrop._checks import as_count
from jaxdrop._errors import named
from jaxdrop._numbers import as_known

_TRIES = 100_000

_POSITIONS = 10**6
"""About how many positions a mask may span."""


@named
def masksembles(
    seed: int, features: int, num_masks: int, scale: float
) -> NDArray[np.bool_]:
    """Draws masks whose overlap is set by ``scale``, on the host, once.

    Each mask keeps the same number of features, chosen from ``scale`` times as many
    positions; positions that no mask chose are cut out, and draws are repeated until
    exactly ``features`` are left. At ``scale=1`` all masks are the same and keep
    everything; as it grows they approach an ensemble of disjoint networks.

    Args:
      seed: of NumPy's generator; the masks are constants of a model, not noise.
      features: how many features there are.
      num_masks: how many masks.
      scale: 1 for masks that keep everything; the larger, the fewer features two
        masks share.

    Returns:
      A boolean NumPy array ``(num_masks, features)``, read-only; ``True`` is kept. It
      is remembered, and the same object for the same arguments.

    Raises:
      ValueError: if an argument is out of range.
      TypeError: if an argument is not a number, or a count not an integer.

    References:
      Durasov, Bagautdinov, Baque, Fua, `Masksembles for uncertainty estimation
      <https://arxiv.org/abs/2012.08334>`_, CVPR 2021.

    Examples:
      >>> import jaxdrop
      >>> masks = jaxdrop.masks.masksembles(0, 64, 4, 2.0)
      >>> masks.shape, len(set(masks.sum(axis=1).tolist())), bool(masks.any(0).all())
      ((4, 64), 1, True)
    """
    seed = as_count(seed, name="seed", least=None, most=None)
    spanned = as_known(scale, name="scale")
    features = as_count(features, name="features", least=None)
    num_masks = as_count(num_masks, name="num_masks", least=None)
    if features < 1 or num_masks < 1 or not 1 <= spanned < np.inf:
        raise ValueError(
            "features and num_masks must be positive and scale finite and 1 or more, "
            f"got {features}, {num_masks} and {scale}."
        )
    largest = _POSITIONS * num_masks / features
    if spanned > max(largest, 1):
        raise ValueError(
            f"scale must be at most {largest:g} for {num_masks} masks of {features} "
            f"features, got {scale}; masks are disjoint at smaller scales too."
        )
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}.")
    return _drawn(seed, features, num_masks, spanned)


@functools.lru_cache(maxsize=256)
def _drawn(seed: int, features: int, num_masks: int, scale: float) -> NDArray[np.bool_]:
    positions, kept = _sizes(features, num_masks, scale)
    generator = np.random.default_rng(seed)
    for _ in range(_TRIES):
        order = generator.random((num_masks, positions)).argsort(axis=1)
        drawn = np.zeros((num_masks, positions), bool)
        np.put_along_axis(drawn, order[:, :kept], True, axis=1)
        used = drawn.any(axis=0)
        if used.sum() == features:
            masks = drawn[:, used]
            masks.flags.writeable = False
            return masks
    raise ValueError(
        f"{num_masks} masks of scale {scale} that cover exactly {features} features "
        "were not found; use another scale, or more features."
    )


def _sizes(features: int, num_masks: int, scale: float) -> tuple[int, int]:
    """How many positions are spanned, and kept by a mask, to cover the features.

    A position stays unused with probability ``(1 - 1 / scale) ** num_masks``, so that
    the wanted number of used ones determines both sizes, up to rounding.
    """
    used = 1 - (1 - 1 / scale) ** num_masks
    best = (np.inf, features, features)
    for positions in range(features, int(features / used) + 3):
        kept = max(1, round(positions / scale))
        covered = positions * (1 - (1 - kept / positions) ** num_masks)
        best = min(best, (abs(covered - features), positions, kept))
    return best[1], best[2]
