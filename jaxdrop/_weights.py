"""Which leaves of a tree are weights, and along which of their axes a unit lies.

Decay masks, constraints, penalties and diagnostics all ask these two questions; they
are answered here, once, by a leaf's name and not by its rank: a bias that a scan has
stacked over layers has two axes and is still a bias.
"""

from collections.abc import Callable, Sequence, Set
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import DictKey

from jaxdrop._checks import check_axes, check_switch
from jaxdrop._errors import shown
from jaxdrop._paths import map_with_name, path_name
from jaxdrop._typing import Array, Axes, PyTree, Where

Patterns: TypeAlias = str | Sequence[str]
"""Glob patterns of leaves, matched as :func:`_matches` says."""

UnitAxes: TypeAlias = int | Axes | Callable[[str, Array], int | Axes] | None
"""The axes that the weights of one unit span; see :func:`unit_axes`."""

_EMBEDDING = ("*embed*", "emb", "emb_*", "*_emb", "*_emb_*", "*posemb*", "w[tp]e")
_NORM = ("*norm*", "ln*", "bn*", "*_ln", "*_bn")

_NOT_WEIGHTS = (
    # Biases, also those of attention scores.
    *(
        "bias",
        "bias_*",
        "bias[0-9]*",
        "*bias",
        "*_bias_*",
        "*biases",
        "*bias*/weight",
        "offset",
    ),
    *("b", "b[0-9]*", "b[qkvo]", "b_[qkvo]", "b_[ih]h*"),
    # Scales and shifts of normalization, scales of layers and of logits.
    *("*scale", "*scales", "scale_*", "*_scale_*", "gain", "*_gain", "weight_g"),
    *(f"{name}{end}" for name in ("gamma", "beta") for end in ("", "_*", "[0-9]*")),
    *("*_gamma", "*_beta", "shift", "*_shift", "lambda*"),
    *("temperature", "*_temperature", "tau"),
    *(f"{norm}/{leaf}" for norm in _NORM for leaf in ("weight", "beta", "g", "b")),
    # Tables of embeddings, as arrays and as modules.
    *_EMBEDDING,
    *(f"{module}/weight" for module in (*_EMBEDDING, "*token", "*tokens")),
    *("table", "*_table", "codebook*", "codevectors"),
    # Learned positions.
    *("pos", "*_pos", "pe", "*_pe", "*pos_enc*", "*posenc*"),
    *("position*", "*_position*", "rel_pos*", "*_rel_pos*", "relpos*"),
    *("freqs", "*_freqs", "inv_freq", "*slopes"),
    # Learned tokens: of the class, of registers, queries, prompts, pooling.
    *("cls", "bos", "eos", "sos", "*token", "*tokens", "*_tok", "probe"),
    *("latent", "latents", "*_latents", "*prompt", "*prompts", "ctx"),
    *("queries", "*_queries", "register", "registers", "prefix", "*_prefix"),
    *("mem_k", "mem_v", "mem_kv", "null_*", "inducing_points", "slot_*", "slots*"),
    # Learned inputs and initial states.
    *("const", "constant_input", "[hc]0", "*_[hc]0", "init_*state", "initial_*"),
    # Parameters of distributions, which decay would pull to a variance of 1.
    *("*log_var*", "*logvar*", "*log_sigma*", "*log_std*", "*log_alpha"),
    *("sigma", "*_sigma", "sigma_*", "rho", "*_rho", "logit_rate"),
    # Parameters of state-space models and of decays over time.
    *("log_*", "*_log", "*_logs", "time_decay*", "time_first", "time_mix_*"),
)
"""Names of leaves, and of leaves in modules, that are not weights of layers.

Names as Flax, Haiku, Equinox, PyTorch's timm and the models published in them use them.
"""

WEIGHTS = ("*patch_emb*/weight", "linear/weight", "conv*[0-9]d/weight", "*lora*/b")
"""Exceptions, known by the name or class of the module that holds them.

They are the weights of layers that embed, and the second matrix of a low-rank update.
"""


def weight_mask(
    tree: PyTree,
    /,
    *,
    exclude: Patterns = (),
    include: Patterns = (),
    stacked: Patterns = (),
) -> PyTree:
    """Marks the weights of layers with True, everything else in ``tree`` with False.

    Args:
      tree: parameters.
      exclude: patterns of further leaves that are not weights.
      include: patterns of leaves that are weights in any case.
      stacked: patterns of leaves whose first axis counts layers.

    Returns:
      A tree of Python bools with the structure of ``tree``.
    """
    kinds = iter(_kinds(tree))

    def is_weight(name: str, leaf: Any) -> bool:
        kind = next(kinds)
        if not is_inexact(leaf):
            return False
        if _matches(include, name, kind):
            return True
        axes = leaf.ndim - _matches(stacked, name, kind)
        if axes < 2 or _matches(exclude, name, kind):
            return False
        return _is_named(WEIGHTS, name, kind) or not _is_named(_NOT_WEIGHTS, name, kind)

    return map_with_name(is_weight, tree)


def selection(
    tree: PyTree, where: Where | None, /, *, stacked: Patterns = ()
) -> PyTree:
    """The leaves that ``where`` selects, or the weights if it is None, as bools."""
    if where is None:
        return weight_mask(tree, stacked=stacked)
    if not callable(where):
        raise TypeError(
            "where must be a function of path and leaf, for example "
            f'lambda path, leaf: path.endswith("kernel"); got {shown(where)}.'
        )
    return map_with_name(
        lambda name, leaf: is_inexact(leaf) and bool(where(name, leaf)), tree
    )


class Selection(NamedTuple):
    """The leaves that a constraint or a penalty acts on.

    Attributes:
      where: selects leaves by path and value; by default the weights.
      stacked: patterns of leaves whose first axis counts layers.
      allow_empty: accept that no leaf is selected.
      every: select every array of floating or complex numbers by default.
    """

    where: Where | None = None
    stacked: Patterns = ()
    allow_empty: bool = False
    every: bool = False

    def of(self, tree: PyTree) -> PyTree:
        """The selected leaves, as bools; raises if there are none.

        A function that changes no leaf does nothing, which would go unnoticed.
        """
        allow_empty = check_switch(self.allow_empty, name="allow_empty")
        if not allow_empty:
            check_patterns(tree, stacked=self.stacked)
        if self.every and self.where is None:
            chosen = jax.tree.map(is_inexact, tree)
        else:
            chosen = selection(tree, self.where, stacked=self.stacked)
        if not allow_empty and not any(jax.tree.leaves(chosen)):
            raise ValueError(f"there is nothing to act on: {self._why(tree)}")
        return chosen

    def _why(self, tree: PyTree) -> str:
        """Why no leaf is selected, and the remedy, for a message."""
        names: list[str] = []
        map_with_name(lambda name, _: names.append(name), tree)
        own = names[0].rsplit("/", 1)[-1] if names else "kernel"
        if self.where is not None:
            reason = "where selects none"
        elif self.every:
            reason = "there is no array of floating or complex numbers"
        else:
            reason = (
                "by default it acts on the weights that constraints.decay_mask marks, "
                "without biases, scales and embeddings, and there are none"
            )
        return (
            f"{reason} among the leaves {_shown(names)}. Select leaves with where=, "
            f"such as where=lambda path, leaf: path.endswith({own!r}); or pass "
            "allow_empty=True if this is intended."
        )


def check_patterns(
    tree: PyTree, /, *, allow_empty: bool = False, **arguments: Patterns
) -> None:
    """Raises if no pattern of an argument matches a leaf: it would do nothing.

    Of several patterns, which may serve several models, one is enough.

    Args:
      tree: the leaves.
      allow_empty: raise nothing, unless this itself is not a bool.
      **arguments: patterns by the name of the argument that holds them.
    """
    allow_empty = check_switch(allow_empty, name="allow_empty")
    if allow_empty or not any(map(_many, arguments.values())):
        return
    kinds = iter(_kinds(tree))
    leaves: list[tuple[str, str]] = []
    map_with_name(lambda name, _: leaves.append((name, next(kinds))), tree)
    for argument, patterns in arguments.items():
        if _many(patterns) and not any(_matches(patterns, *leaf) for leaf in leaves):
            raise ValueError(
                f"{argument}={patterns!r} matches none of the leaves "
                f"{_shown([name for name, _ in leaves])}. A pattern without a slash is "
                "compared with a leaf's own name, one with a slash with the end of its "
                "path; pass allow_empty=True if this is intended."
            )


def without_boxes(mask: PyTree, /) -> PyTree:
    """``mask`` with a plain bool where a framework boxes its arrays.

    Optax takes a mask that is a prefix of the parameters. Without an NNX variable
    around each bool it is a prefix of the state, and of the pure arrays in it, which
    are what ``nnx.Optimizer`` hands to optax.
    """
    return jax.tree.map(lambda node: jax.tree.leaves(node)[0], mask, is_leaf=_is_box)


def is_inexact(leaf: Any, /) -> bool:
    """True for an array, concrete, traced or abstract, of floats or complex numbers."""
    dtype = getattr(leaf, "dtype", None)
    try:
        return dtype is not None and jnp.issubdtype(dtype, jnp.inexact)
    except TypeError:  # of another library, such as torch.float32
        return False


def _matches(patterns: Patterns, name: str, kind: str = "", /) -> bool:
    """True if a leaf's path fits one of the patterns, whatever its case.

    A pattern without a slash is compared with the leaf's own name (``"bias"``), one
    with a slash with the end of its path (``"head/*"``). In trees of objects the class
    that holds the leaf may stand for the attribute's name (``"*norm*/weight"``).
    """
    path, leaf = name.lower(), name.rsplit("/", 1)[-1].lower()
    return any(
        fnmatchcase(leaf, pattern)
        if "/" not in pattern
        else fnmatchcase(f"/{path}", f"*/{pattern}")
        or fnmatchcase(f"{kind.lower()}/{leaf}", pattern)
        for pattern in (p.lower() for p in _many(patterns))
    )


def _is_named(patterns: Sequence[str], name: str, kind: str) -> bool:
    """True if the leaf's name, or the names of its module and it, fit a pattern.

    Unlike in :func:`_matches` a ``*`` stays within one name, so that a module named
    like a normalization or an embedding does not hide the layers inside it.
    """
    *parents, leaf = name.lower().split("/")
    owners = {kind.lower(), parents[-1] if parents else ""}
    for pattern in patterns:
        *owner, own = pattern.split("/")
        if fnmatchcase(leaf, own) and (
            not owner or any(fnmatchcase(one, owner[0]) for one in owners)
        ):
            return True
    return False


def unit_axes(axis: UnitAxes, name: str, leaf: Array, /) -> Axes:
    """The axes of one leaf that the weights of one unit span.

    Args:
      axis: the axes; or a function of path and leaf that returns them; or None for the
        weights that lead into a unit in Flax's layout, which are all axes but the last
        or, in the ``query``, ``key`` and ``value`` kernels of attention, the first.
      name: the path of the leaf.
      leaf: the weights of one layer.

    Returns:
      Distinct axes, counted from the front.
    """
    if axis is None:
        of_attention = leaf.ndim == 3 and _matches(
            ("query/*", "key/*", "value/*"), name
        )
        return (0,) if of_attention else tuple(range(leaf.ndim - 1))
    chosen: Any = axis(name, leaf) if callable(axis) else axis
    return check_axes(chosen, leaf.ndim, name=f"axis of {name or 'the array'}")


def per_layer(
    function: Callable[..., Any], name: str, stacked: Patterns, /
) -> Callable[..., Any]:
    """``function``, mapped over the first axis of leaves that are stacked layers."""
    if not _matches(stacked, name):
        return function

    def of_layers(leaf: Array) -> Any:
        if not leaf.ndim:
            raise ValueError(
                f"stacked matches {name!r}, a scalar, which has no axis of layers."
            )
        return jax.vmap(function)(leaf)

    return of_layers


def size_of(leaf: Array, axes: Axes, /) -> int:
    """How many weights one unit has."""
    return int(np.prod([leaf.shape[axis] for axis in axes], dtype=np.int64))


def _shown(names: list[str]) -> str:
    shown = [*map(repr, names[:6]), *["..."] * (len(names) > 6)]
    return f"[{', '.join(shown)}]"


def _many(patterns: Patterns) -> tuple[str, ...]:
    each = (patterns,) if isinstance(patterns, str) else patterns
    if not isinstance(each, Sequence | Set) or not all(
        isinstance(p, str) for p in each
    ):
        raise TypeError(
            "exclude, include and stacked are patterns such as 'bias' or 'head/*', a "
            f"string or a sequence of strings, got {patterns!r}."
        )
    return tuple(each)


def _is_box(node: Any) -> bool:
    """True for a node around one leaf, whose key is not part of the leaf's path."""
    children, _ = jax.tree_util.tree_flatten_with_path(
        node, is_leaf=lambda child: child is not node
    )
    return [path_name((DictKey("name"), *path)) for path, _ in children] == [
        "name"
    ] and bool(children[0][0])


def _kinds(node: Any, kind: str = "") -> list[str]:
    """For each leaf the name of the class that holds it, in the order of the leaves."""
    children = jax.tree.leaves(node, is_leaf=lambda child: child is not node)
    if len(children) == 1 and children[0] is node:
        return [kind]
    kind = type(node).__name__
    return [name for child in children for name in _kinds(child, kind)]
