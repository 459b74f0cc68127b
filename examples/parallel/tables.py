"""What is printed of runs: their losses, their parameters, their masks."""

import numpy as np
from rich.table import Table

from parallel.records import Part, Run, agrees, difference


def by_step(runs: dict[str, Run]) -> Table:
    """The losses of runs at some steps, and the error of what they have learned."""
    table = Table(title="Training loss")
    for heading in ("step", *runs):
        table.add_column(heading, justify="right")
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
    table = Table(title="Against one device", caption=caption)
    table.add_column("")
    table.add_column("largest difference of a parameter", justify="right")
    table.add_column("masks", justify="right")
    first = next(iter(runs.values()))
    for name, run in runs.items():
        same = "equal" if agrees(run, whole) else "DIFFERENT"
        table.add_row(name, f"{difference(first, run):.1e}", same)
    return table


def by_device(name: str, run: Run, whole: dict[str, np.ndarray]) -> Table:
    """Which part of each mask a device drew, and how much it kept."""
    title = f"Which part of each mask a device drew in the last step, in {name}"
    caption = "equal: to that part of the mask that one device draws"
    table = Table(title=title, caption=caption)
    table.add_column("device", justify="right")
    table.add_column("process", justify="right")
    for site in run.parts:
        table.add_column(f"“{site}”", justify="right", no_wrap=True)
        table.add_column("kept", justify="right")
    table.add_column("equal", justify="right")
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
