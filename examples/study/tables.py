"""Tables for the terminal, all in one style."""

from collections.abc import Collection, Sequence

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

_TEXT = ("method", "strategy", "strength", "by", "verdict", "")
_WRAPPED = {"strength": 18}  # and how wide such a column may be


def new_table(
    title: str,
    headings: Sequence[str],
    *,
    caption: str | None = None,
    columns: Sequence[Sequence[str]] = (),
    text: Collection[str] = _TEXT,
    narrow: bool = False,
) -> Table:
    """A table with headings, to which rows can be added.

    Args:
      title: stands above it.
      headings: of the columns.
      caption: stands below it.
      columns: their cells, if they are known: one sequence for each heading.
      text: the headings of columns of words, which start at the left; numbers end at
        the right.
      narrow: whether columns stand as close together as they can.

    Returns:
      The table.
    """
    space = {"padding": 0} if narrow else {"collapse_padding": True, "pad_edge": False}
    table = Table(
        title=title,
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        **space,
    )
    for heading in headings:
        table.add_column(
            heading,
            justify="left" if heading in text else "right",
            vertical="bottom",
            no_wrap=heading not in _WRAPPED,
            max_width=_WRAPPED.get(heading),
        )
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    return table


def show(*parts: Table | Panel | str, width: int = 100) -> None:
    """Prints tables and sentences, on lines of at least this width."""
    console = Console(width=max(width, Console().width), highlight=False)
    for part in parts:
        console.print(part)
