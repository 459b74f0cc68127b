"""Mixup: convex combinations of pairs of examples (Zhang et al., 2018)."""

import jax

from jaxdrop._checks import (
    check_flag,
    check_switch,
    is_zero,
    require_key,
    select,
)
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._strengths import as_strength
from jaxdrop._typing import Array, Flag, Key, PyTree, Scalar
from jaxdrop.inputs._mixing import check_batch, mixed, partners, symmetric_beta


@named
def mixup(
    key: Key | None,
    x: Array,
    labels: PyTree,
    /,
    *,
    alpha: Scalar,
    per_example: bool = False,
    deterministic: Flag = False,
) -> tuple[Array, PyTree]:
    """Mixes each example, and its labels, with those of another random example.

    ``share * x[i] + (1 - share) * x[j]`` with a share from Beta(alpha, alpha) and ``j``
    from a random permutation of the batch. A batch that is sharded over devices is
    exchanged between them; inside ``jax.shard_map`` each device mixes its own examples.

    Usage:
      On a batch in front of a network, with an ``alpha`` of 0.1 to 0.4 for
      ImageNet and 1 for CIFAR. The mixed labels are soft: use
      ``optax.softmax_cross_entropy``, without further label smoothing.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: a batch of examples, floating point, ``(batch, ...)``.
      labels: shares of classes, such as one-hot labels, ``(batch, num_classes)``, or
        any tree of floating point arrays with the batch in front.
      alpha: the strength: a number of at least 0, or a JAX scalar, traced or not, which
        gives NaN where it is negative or not finite. With 1 all shares are equally
        likely; with 0 nothing is mixed.
      per_example: draw a share for each example, instead of one for the whole batch as
        in the authors' code. Static.
      deterministic: return ``x`` and ``labels`` untouched; may be traced.

    Returns:
      Mixed examples and mixed labels, of the same shapes and dtypes.

    Raises:
      ValueError: if ``alpha`` is negative, a key is missing, or batch sizes differ.
      TypeError: if ``x`` or a label is not floating point.

    References:
      Zhang, Cisse, Dauphin, Lopez-Paz, `mixup: Beyond empirical risk minimization
      <https://arxiv.org/abs/1710.09412>`_, ICLR 2018.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import inputs
      >>> x, labels = jnp.ones((8, 28, 28, 1)), jax.nn.one_hot(jnp.arange(8), 10)
      >>> x, labels = inputs.mixup(jax.random.key(0), x, labels, alpha=0.2)
      >>> labels.shape, bool(jnp.allclose(labels.sum(axis=-1), 1))
      ((8, 10), True)
    """
    alpha = as_strength(alpha, name="alpha")
    x, labels = check_batch(x, labels)
    per_example = check_switch(per_example, name="per_example")
    flag = check_flag(deterministic)
    if flag is True or is_zero(alpha):
        return x, labels
    key = require_key(key, instead="deterministic=True")
    return select(flag, (x, labels), _mixup(key, x, labels, alpha, per_example))


@site("jaxdrop.inputs.mixup", draws="noise", acts_on="inputs", static=("per_example",))
def _mixup(
    key: Key, x: Array, labels: PyTree, alpha: Scalar, per_example: bool
) -> tuple[Array, PyTree]:
    of_share, of_partner = jax.random.split(key)
    batch = x.shape[0]  # may be symbolic in jax.export, where len raises
    share = symmetric_beta(of_share, (batch if per_example else 1,), alpha=alpha)
    partner = partners(of_partner, batch)
    mixed_x = mixed(x, partner, share)
    return mixed_x, jax.tree.map(lambda label: mixed(label, partner, share), labels)
