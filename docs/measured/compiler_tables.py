"""Tables of what compilers say of programs for TPUs and GPUs."""

from pieces import Content, markdown

Programs = dict[tuple[str, str, str], Content]
PASSES = ("forward", "forward + backward")
OURS, LIGHT = "jaxdrop", "light"
AIM = 1.05
"""Times the least bytes that a technique may move without a reason."""

ON_TPU, ON_GPU = "TPU", "GPU"
_NOISE = "noise of four bytes an entry is kept for the gradient"
_ROWS = "rows are gathered by kernels of their own"
_SEEDS = "seeds are written, and spread over blocks in passes of their own"
REASONS: dict[str, dict[str, str]] = {
    ON_TPU: {
        "concrete_dropout": f"{_NOISE}, and read again for that of the rate",
        "drop_block": _SEEDS,
        "gaussian_dropout": _NOISE,
        "hard_concrete": _NOISE,
        "inputs.cutmix": _ROWS,
        "inputs.mixup": _ROWS,
        "multi_sample": "the samples' positions, four bytes an entry, are written once",
        "subset_stochastic_depth": f"{_ROWS}, and scattered into zeros",
        "token_dropout": _ROWS,
        "variational_dense": "two products are written before noise is added",
    },
    ON_GPU: {
        "concrete_dropout": "XLA writes two arrays of four bytes an entry for the sum "
        "that is the gradient of the rate",
        "drop_block": _SEEDS,
        "drop_key": "a first pass over the mask looks whether a query keeps a key",
        "inputs.cutmix": "the gradient is scattered to partners",
        "inputs.mixup": "the gradient is scattered to partners",
        "multi_sample": "XLA writes and reads the four masks, a byte an entry",
        "subset_stochastic_depth": "rows are gathered, and scattered into zeros",
        "token_dropout": "the gradient is scattered into zeros",
        "variational_dense": "two products are written before noise is added; four "
        "more are in the gradient",
    },
}
"""Why techniques move more than the least, by the kind of device."""


def least(program: Content) -> float:
    """Bytes moved, in multiples of what is given and given back."""
    return program["cost"]["moved"] / program["least"]


def by_name(run: Content) -> Programs:
    """The programs of a run, by row, pass and contender."""
    return {
        (one["row"], one["passing"], one["contender"]): one for one in run["programs"]
    }


def rows_of(run: Content) -> list[str]:
    """The names of the rows, each once."""
    return list(dict.fromkeys(one["row"] for one in run["programs"]))


def kind(run: Content) -> str:
    """Whether a run is about a TPU or a GPU."""
    return ON_TPU if run["target"].startswith("v") else ON_GPU


def above(run: Content, row: str) -> bool:
    """Whether a technique moves more than the least."""
    found = by_name(run)
    return any(least(found[row, passing, OURS]) > AIM for passing in PASSES)


def techniques(run: Content) -> str:
    """Bytes and cycles of every technique, and why some move more than the least."""
    found = by_name(run)
    columns = {"bytes": (OURS, _bytes)}
    if kind(run) == ON_TPU:
        columns["Mcycles, default"] = OURS, _mcycles
        columns["Mcycles, light"] = LIGHT, _mcycles
    rows = [
        [
            f"`{row}`",
            *(
                " / ".join(
                    shown(found[at]) if at in found else "–"
                    for at in ((row, passing, contender) for passing in PASSES)
                )
                for contender, shown in columns.values()
            ),
            REASONS[kind(run)][row] if above(run, row) else "",
        ]
        for row in rows_of(run)
    ]
    table = markdown(["", *columns, "why more than the least"], rows)
    return _with_source(run, table)


def _bytes(program: Content) -> str:
    return f"{least(program):.3g}"


def _mcycles(program: Content) -> str:
    cost = program["cost"]
    more = f" + {cost['unestimated']}" if cost["unestimated"] else ""
    return f"{cost['cycles'] / 1e6:.2f}{more}"


def _with_source(run: Content, table: str) -> str:
    return f"{table}\n\n`{run['command']}` (JAX {run['jax']}, {run['date']})."
