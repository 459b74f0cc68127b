"""The messages of findings, each with its reference."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from jaxdrop.diagnostics._audit.draws import Draw
from jaxdrop.diagnostics._audit.places import PROGRAM
from jaxdrop.diagnostics._audit.report import Finding, Kind, Site
from jaxdrop.diagnostics._audit.walk import Walk


class _Known(NamedTuple):
    message: str
    reference: str


_RANDOM_NUMBERS = (
    "JAX, Pseudorandom numbers, https://docs.jax.dev/en/latest/random-numbers.html"
)
_SRIVASTAVA = (
    "Srivastava et al., Dropout: a simple way to prevent neural networks from "
    "overfitting, JMLR 2014, https://jmlr.org/papers/v15/srivastava14a.html"
)
KNOWN: Mapping[Kind, _Known] = {
    "batch norm": _Known(
        "Batch normalization comes after this noise: it sees another variance in "
        "training than in evaluation. Move the dropout after the last one.",
        "Li et al., Understanding the disharmony between dropout and batch "
        "normalization by variance shift, CVPR 2019, https://arxiv.org/abs/1801.05134",
    ),
    "output": _Known(
        "The output itself is dropped: a prediction is zeroed or doubled, and no later "
        "layer corrects it. Drop the input of the last layer instead.",
        _SRIVASTAVA,
    ),
    "convolution": _Known(
        "Single entries of a feature map are dropped: their neighbours carry the same "
        "information. Drop channels (spatial_dropout) or blocks (drop_block).",
        "Tompson et al., Efficient object localization using convolutional networks, "
        "CVPR 2015, https://arxiv.org/abs/1411.4280; Ghiasi, Lin, Le, DropBlock, "
        "NeurIPS 2018, https://arxiv.org/abs/1810.12890",
    ),
    "selu": _Known(
        "Zero is not a fixed point of SELU: the mean and variance that it keeps are "
        "lost. Use alpha_dropout, or feature_alpha_dropout for whole channels.",
        "Klambauer et al., Self-normalizing neural networks, NeurIPS 2017, "
        "https://arxiv.org/abs/1706.02515",
    ),
    "recurrent": _Known(
        "The recurrent state gets a fresh mask at every step, which erases its memory "
        "over time. Draw one mask per sequence (nnx.VariationalCell, locked_dropout).",
        "Gal, Ghahramani, A theoretically grounded application of dropout in recurrent "
        "neural networks, NeurIPS 2016, https://arxiv.org/abs/1512.05287",
    ),
    "heads": _Known(
        "One mask is shared by all heads of an attention layer (Flax's default, "
        "broadcast_dropout=True), and usually by all examples. Pass "
        "broadcast_dropout=False for independent ones.",
        "Flax, MultiHeadAttention, https://flax.readthedocs.io/en/latest/"
        "api_reference/flax.nnx/nn/attention.html",
    ),
    "unused": _Known(
        "The result does not depend on this draw: is the output of the site unused?",
        "JAX, Common gotchas: pure functions, https://docs.jax.dev/en/latest/notebooks/"
        "Common_Gotchas_in_JAX.html",
    ),
    "rate 0": _Known(
        "The rate is 0: nothing is ever dropped here.",
        _SRIVASTAVA,
    ),
    "high rate": _Known(
        "The rate is 0.9 or more, so that few entries are kept. It is the probability "
        "of dropping, not of keeping.",
        _SRIVASTAVA,
    ),
    "same key": _Known(
        "These sites draw with the same key: their masks repeat each other. Give each "
        "a key of its own, for example jaxdrop.keys.site(key, name).",
        _RANDOM_NUMBERS,
    ),
    "frozen": _Known(
        "The same mask is drawn every time: the key does not depend on any argument. "
        "Pass the key as an argument.",
        _RANDOM_NUMBERS,
    ),
    "frozen in loop": _Known(
        "The same mask is drawn at each step of a loop. Fold the step into the key, "
        "for example jaxdrop.keys.site(key, name, step=step).",
        _RANDOM_NUMBERS,
    ),
    "evaluation": _Known(
        "This site draws, and others are in evaluation. Does it follow the mode?",
        "Flax, Module.eval, https://flax.readthedocs.io/en/latest/api_reference/"
        "flax.nnx/module.html",
    ),
    "lost stream": _Known(
        "The stream of keys advances inside a transformation that does not hand its "
        "state back, such as a plain jax.jit: the same mask is drawn at every call. "
        "Use nnx.jit, or return the state of the streams and put it back.",
        "Flax, Randomness, https://flax.readthedocs.io/en/latest/guides/randomness.html",
    ),
    "no dropout": _Known(
        "A gradient is taken, and all these sites are in evaluation: nothing is "
        "dropped. Call model.train(), or pass deterministic=False.",
        "Flax, Module.train, https://flax.readthedocs.io/en/latest/api_reference/"
        "flax.nnx/module.html",
    ),
    "whole batch": _Known(
        "An array of three axes is taken for a single (height, width, channels) image: "
        "if it is (batch, length, channels), one mask or block spans several examples. "
        "Pass num_spatial_dims=1 then.",
        "Tompson et al., Efficient object localization using convolutional networks, "
        "CVPR 2015, https://arxiv.org/abs/1411.4280",
    ),
    "unknown": _Known(
        "This primitive takes a PRNG key, or holds a program that draws, and is not "
        "known to the audit: what it draws is not listed, and may be wrong in ways "
        "that are not reported.",
        "JAX, The jaxpr language, https://docs.jax.dev/en/latest/jaxpr.html",
    ),
}
"""A message and a reference for each kind of finding."""

_RATE_NOW = (
    "The rate is 0 for these arguments, and nothing is dropped. It depends on them, as "
    "a schedule does on its step, and may be another in other calls."
)
_NEARLY_ALL = 0.9


def findings(
    walk: Walk, sites: Sequence[Site], draws: Sequence[Draw], *, in_evaluation: bool
) -> tuple[Finding, ...]:
    """All findings, in the order of :data:`KNOWN`.

    Args:
      walk: the program.
      sites: all sites, first those of ``draws``.
      draws: the draws of the first sites, one each.
      in_evaluation: whether the arguments of the call select evaluation.
    """
    about: dict[Kind, list[tuple[str, ...]]] = defaultdict(list)
    for site, draw in zip(sites, draws, strict=False):
        if site.mode == "active":
            for kind in _alone(walk, draw):
                about[kind].append((site.name,))
    for site in sites:
        for kind in _of_rate(site):
            about[kind].append((site.name,))
    off = [site.name for site in sites if site.mode == "evaluation"]
    if walk.differentiates and not in_evaluation and off and len(off) == len(sites):
        about["no dropout"] = [tuple(off)]
    if in_evaluation or any(site.mode == "evaluation" for site in sites):
        about["evaluation"] = [(s.name,) for s in sites if s.mode == "active"]
    about["unknown"] = [(s.name,) for s in sites if s.mode == "unknown"]
    about["same key"] = list(_same_keys(sites, draws))
    now = {
        (site.name,)
        for site, draw in zip(sites, draws, strict=False)
        if draw.keep is not None and PROGRAM in draw.keep.varies
    }
    return tuple(
        Finding(
            kind,
            names,
            _RATE_NOW if kind == "rate 0" and names in now else known.message,
            known.reference,
        )
        for kind, known in KNOWN.items()
        for names in about[kind]
    )


def _alone(walk: Walk, draw: Draw) -> Iterator[Kind]:
    """What is wrong with a draw by itself."""
    yield from sorted(draw.faults)
    changing = draw.key.varies
    if PROGRAM not in changing and "lost stream" not in draw.faults:
        yield "frozen"
    loops = [loop for loop in draw.loops if loop != PROGRAM and loop not in changing]
    if any(loop not in walk.recurrent for loop in loops):
        yield "frozen in loop"


def _of_rate(site: Site) -> Iterator[Kind]:
    """What is wrong with a rate."""
    if site.mode == "rate 0":
        yield "rate 0"
    elif site.rate is not None and site.mode == "active":
        rates = site.rate if isinstance(site.rate, tuple) else (site.rate,)
        if any(rate >= _NEARLY_ALL for rate in rates):
            yield "high rate"


def _same_keys(
    sites: Sequence[Site], draws: Sequence[Draw]
) -> Iterator[tuple[str, ...]]:
    """The names of sites that draw with one key, and may do so in one call."""
    by_key: dict[int, list[tuple[Site, Draw]]] = defaultdict(list)
    for site, draw in zip(sites, draws, strict=False):
        if site.mode == "active":
            by_key[draw.key.number].append((site, draw))
    for group in by_key.values():
        together = [
            site.name
            for site, draw in group
            if any(draw is not d and not draw.excludes(d) for _, d in group)
        ]
        if together:
            yield tuple(together)
