"""What is printed of runs: their losses, their parameters, their masks."""

import numpy as np
from rich.table import Table

from parallel.records import Part, Run, agrees, difference
from study.tables import new_table


def by_step(runs: dict[str, Run]) -> Table:
    """The losses of runs at some steps, and the error of what they have learned."""
    table = new_table("Training loss", ("step", *runs))
    last = min(len(run.losses) for run in runs.values()) - 1
    for step in sorted({round(last * part / 5) for part in range(6)}):
        table.add_row(f"{step}", *(f"{run.losses[step]:.6f}" for run in runs.values()))
    table.add_section()
    table.add_row("test error", *(f"{run.error:.2%}" for run in runs.values()))
    return table


def by_run(runs: dict[str, Run], whole: dict[str, np.ndarray]) -> Table:
    """How far the parameters of runs are from those of the first."""
    caption = (
        "Sums over a batch are taken in another order by more devices: that, and no "
        "mask, is the difference."
    )
    headings = ("", "largest difference of a parameter", "masks")
    table = new_table("Against one device", headings, caption=caption)
    first = next(iter(runs.values()))
    for name, run in runs.items():
        same = "equal" if agrees(run, whole) else "DIFFERENT"
        table.add_row(name, f"{difference(first, run):.1e}", same)
    return table


def by_device(name: str, run: Run, whole: dict[str, np.ndarray]) -> Table:
    """Which part of each mask a device drew, and how much it kept."""
    title = f"Which part of each mask a device drew in the last step, in {name}"
    caption = "equal: to that part of the mask that one device draws"
    sites = [heading for site in run.parts for heading in (f"“{site}”", "kept")]
    headings = ("device", "process", *sites, "equal")
    table = new_table(title, headings, caption=caption)
    for device, parts in enumerate(zip(*run.parts.values(), strict=True)):
        cells, same = [], True
        for site, part in zip(run.parts, parts, strict=True):
            cells += [_where(part, whole[site]), f"{part.kept.mean():.1%}"]
            same &= np.array_equal(part.kept, part.within(whole[site]))
        cells.append("yes" if same else "NO")
        table.add_row(f"{device}", f"{parts[0].process}", *cells)
    return table


def _where(part: Part, whole: np.ndarray) -> str:
    (row, column), (rows, columns) = part.first, part.kept.shape
    return f"{row}:{row + rows}, " + (
        "all" if columns == whole.shape[1] else f"{column}:{column + columns}"
    )
