"""The result of an audit, as data and as a table."""

import dataclasses
import textwrap
from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal[
    "batch norm",
    "output",
    "convolution",
    "selu",
    "recurrent",
    "heads",
    "unused",
    "rate 0",
    "high rate",
    "same key",
    "frozen",
    "frozen in loop",
    "evaluation",
    "lost stream",
    "no dropout",
    "whole batch",
    "unknown",
]
"""The kinds of findings; :data:`findings.KNOWN` has a message for each of them."""


class Site(NamedTuple):
    """One place where a forward pass draws random numbers, or would in training.

    Attributes:
      name: the path of the module that draws; without one, the ``jax.named_scope``
        around it; without that, the line of code.
      technique: the function that draws: ``"dropout"``, ``"spatial_dropout"``, a module
        of Flax, or a function of ``jax.random``.
      rate: the drop probability, a number, or the numbers of an array in row-major
        order; None where there is none, or where traced data decide it.
      mask_shape: the shape that is drawn in one step, 1 along shared axes; of
        attention, one of the blocks in which it draws. None if nothing is drawn.
      mode: ``"active"``; the reason why nothing is drawn, ``"rate 0"`` or
        ``"evaluation"``; or ``"unknown"`` for a primitive that the audit cannot read.
      steps: the number of draws in a pass, the product of the lengths of the loops
        around it. A loop of unknown length counts as 1.
      random_bits: the number of random bits that one pass draws, over all steps.
      memory: the number of bytes that the mask or noise of one pass takes, if all of it
        is kept for the backward pass, as it is without ``jax.checkpoint``; 0 where it
        is drawn again, as in :func:`jaxdrop.dot_product_attention`.
      source: the line of code, ``"file.py:12"``.
    """

    name: str
    technique: str
    rate: float | tuple[float, ...] | None
    mask_shape: tuple[int, ...] | None
    mode: str
    steps: int
    random_bits: int
    memory: int
    source: str


class Finding(NamedTuple):
    """A likely mistake in the use of dropout.

    Attributes:
      kind: one of a few words, for tests and filters.
      sites: the names of the sites concerned.
      message: the problem and its remedy.
      reference: a paper or a page of documentation, with its link.
    """

    kind: str
    sites: tuple[str, ...]
    message: str
    reference: str


@dataclasses.dataclass(frozen=True)
class Audit:
    """The sites of a forward pass, and the findings; ``print`` shows a table.

    Attributes:
      sites: all sites, those that draw in the order of the program.
      findings: the likely mistakes.
    """

    sites: tuple[Site, ...]
    findings: tuple[Finding, ...]

    @property
    def active(self) -> tuple[Site, ...]:
        """The sites that draw."""
        return tuple(site for site in self.sites if site.mode == "active")

    @property
    def inactive(self) -> tuple[Site, ...]:
        """The sites that do not."""
        return tuple(site for site in self.sites if site.mode != "active")

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of the findings."""
        return frozenset(finding.kind for finding in self.findings)

    def __str__(self) -> str:
        bits = sum(site.random_bits for site in self.sites)
        memory = sum(site.memory for site in self.sites)
        total = (
            f"{len(self.active)} active, {len(self.inactive)} inactive; "
            f"{bits:,} random bits and {memory:,} bytes of masks in a pass"
        )
        if self.sites and all(site.mode == "evaluation" for site in self.sites):
            total += "\nall sites are in evaluation: nothing is dropped"
        lines = [*(_table(self.sites) if self.sites else ()), total]
        for finding in self.findings:
            lines += ["", *_paragraph(finding)]
        return "\n".join(lines)


_HEADINGS = ("site", "technique", "rate", "mask", "mode", "bits", "bytes")
_WIDTH = 88
_NUMBERS = frozenset({"rate", "bits", "bytes"})


def _table(sites: tuple[Site, ...]) -> list[str]:
    rows = [_HEADINGS, *(_row(site) for site in sites)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if heading in _NUMBERS else cell.ljust(width)
            for cell, width, heading in zip(row, widths, _HEADINGS, strict=True)
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def _row(site: Site) -> tuple[str, ...]:
    mask = "-" if site.mask_shape is None else str(site.mask_shape).replace(" ", "")
    if site.steps > 1:
        mask = f"{site.steps} x {mask}"
    return (
        site.name,
        site.technique,
        _rate(site.rate),
        mask,
        site.mode,
        f"{site.random_bits:,}",
        f"{site.memory:,}",
    )


def _rate(rate: float | tuple[float, ...] | None) -> str:
    if rate is None:
        return "-"
    if isinstance(rate, float):
        return f"{rate:.4g}"
    return f"{min(rate):.4g}..{max(rate):.4g}"


def _paragraph(finding: Finding) -> list[str]:
    heading = f"{finding.kind}: {', '.join(finding.sites)}"
    return [heading, *_wrapped(finding.message), *_wrapped(finding.reference)]


def _wrapped(text: str) -> list[str]:
    indent = "  "
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
