"""Tables of what compilers say of programs for TPUs and GPUs.

Each is computed from one or more files in ``compiled``, which ``--json`` of
``benchmarks/compiled.py`` and of ``benchmarks/kernels.py`` writes.
"""

from collections.abc import Callable, Iterable

from pieces import Content, markdown
from pieces import rows_of as rows_from

Programs = dict[tuple[str, str, str], Content]
Table = Callable[[list[Content]], str]
PASSES = ("forward", "forward + backward")
OURS, LIGHT, FLAX, PLAIN, FLOOR = "jaxdrop", "light", "flax.nnx", "no dropout", "x * c"
NAMES = {
    FLOOR: "`x * c`",
    PLAIN: "without dropout",
    LIGHT: "light generator",
    OURS: "default generator",
    FLAX: "`flax.nnx.Dropout`",
}
"""What contenders are called in tables, in the order of their rows."""

UNREAD = "async-update instruction should have 1 operands"
"""XLA's error at the text of a program that gathers beside its kernels."""

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
    """The programs of a run whose costs are known, by row, pass and contender."""
    return {
        (one["row"], one["passing"], one["contender"]): one
        for one in run["programs"]
        if one["cost"]
    }


def unread(run: Content) -> list[str]:
    """Rows that compile, but whose programs XLA cannot write as text."""
    found = [one["row"] for one in run["programs"] if UNREAD in one["failure"]]
    return list(dict.fromkeys(found))


def rows_of(run: Content) -> list[str]:
    """The names of the rows, each once."""
    return list(dict.fromkeys(one["row"] for one in run["programs"]))


def kind(run: Content) -> str:
    """Whether a run is about a TPU or a GPU."""
    return ON_TPU if run["target"].startswith("v") else ON_GPU


def above(run: Content, row: str) -> bool:
    """Whether a technique moves more than the least."""
    found = by_name(run)
    own = [found[at] for at in ((row, one, OURS) for one in PASSES) if at in found]
    return any(least(program) > AIM for program in own)


def times(
    contender: str, floor: str, runs: list[Content], row: str, passing: str
) -> list[float]:
    """Cycles of a contender in multiples of another's, by run that has them both."""
    one, other = (row, passing, contender), (row, passing, floor)
    return [
        found[one]["cost"]["cycles"] / found[other]["cost"]["cycles"]
        for found in map(by_name, runs)
        if one in found and other in found
    ]


def techniques(runs: list[Content]) -> str:
    """Bytes and cycles of every technique, and why some move more than the least."""
    names, found = rows_of(runs[0]), {run["target"]: by_name(run) for run in runs}
    columns = {"bytes": [_bytes_on_all(found, row) for row in names]}
    for target, programs in found.items():
        if kind(runs[0]) == ON_TPU:
            for label, contender in (("default", OURS), ("light", LIGHT)):
                columns[f"Mcycles on {target}, {label}"] = [
                    _both(programs, row, contender, _mcycles) for row in names
                ]
    reasons = REASONS[kind(runs[0])]
    columns["why more than the least"] = [
        reasons[row] if any(above(run, row) for run in runs) else "" for row in names
    ]
    rows = rows_from([f"`{row}`" for row in names], *columns.values())
    notes = [
        f"For {run['target']} {' and '.join(f'`{row}`' for row in unread(run))} are "
        "compiled, but XLA fails to write these programs as text, so that their costs "
        "are not known."
        for run in runs
        if unread(run)
    ]
    return _with_sources(runs, markdown(["", *columns], rows), *notes)


def _bytes_on_all(found: dict[str, Programs], row: str) -> str:
    """The bytes of both passes, once if they are those of all devices."""
    by_device = {
        target: _both(programs, row, OURS, _bytes)
        for target, programs in found.items()
        if (row, PASSES[0], OURS) in programs
    }
    if len(set(by_device.values())) == 1:
        return next(iter(by_device.values()))
    return ", ".join(f"{cell} on {target}" for target, cell in by_device.items())


def dropout(runs: list[Content]) -> str:
    """Cycles of dropout alone, by dtype, contender, device and pass."""
    devices = list(dict.fromkeys(run["target"] for run in runs))
    found = {(run["target"], run["dtype"]): by_name(run) for run in runs}
    header = ["", *(f"{device}, {passing}" for device in devices for passing in PASSES)]
    rows = [
        [
            f"{name}, {dtype}",
            *(
                _shown(found[device, dtype], ("dropout", passing, contender), _mcycles)
                for device in devices
                for passing in PASSES
            ),
        ]
        for dtype in dict.fromkeys(run["dtype"] for run in runs)
        for contender, name in NAMES.items()
        if contender != PLAIN
    ]
    writing = []
    for device in devices:
        at = found[device, "bfloat16"]
        hashing = (
            f"{at['dropout', PASSES[1], one]['cost']['hash_cycles'] / 1e6:.2f}"
            for one in (LIGHT, OURS)
        )
        writing.append(f"{' and '.join(hashing)} on {device}")
    sentence = (
        "Of forward and backward in bfloat16 the kernel that writes the mask takes, "
        f"with the light and the default generator, {'; '.join(writing)}."
    )
    return _with_sources(runs, markdown(header, rows), sentence)


def step(runs: list[Content]) -> str:
    """Costs of a training step by each contender."""
    by_contender = {one["contender"]: one for one in _programs(runs)}
    plain = by_contender[PLAIN]["cost"]["cycles"]
    rows = []
    for contender, name in NAMES.items():
        if contender == FLOOR:
            continue
        if contender not in by_contender:
            rows.append([name, "not compiled", *["–"] * 4])
            continue
        cost = by_contender[contender]["cost"]
        rows.append(
            [
                name,
                f"{cost['cycles'] / 1e6:.2f}",
                f"{cost['cycles'] / plain:.2f}",
                f"{cost['hash_cycles'] / 1e6:.2f}",
                f"{cost['moved'] / 1e6:.0f}",
                f"{cost['seconds']:.0f}",
            ]
        )
    header = ["", "Mcycles", "× without dropout", "in kernels that hash"]
    header += ["MB moved", "CPU seconds to compile"]
    return _with_sources(runs, markdown(header, rows))


def attention(runs: list[Content]) -> str:
    """Bytes moved, and temporary ones, of attention on each device."""
    names = {OURS: "default generator", LIGHT: "light generator", FLAX: "`flax.nnx`"}
    names[PLAIN] = "`jax.nn`, without dropout"
    columns = [(run, passing) for run in runs for passing in PASSES]
    header = ["", *(f"{run['target']}, {passing}" for run, passing in columns)]
    rows = []
    for contender, name in names.items():
        cells = [
            _shown(by_name(run), (rows_of(run)[0], passing, contender), _megabytes)
            for run, passing in columns
        ]
        rows.append([name, *cells])
    return _with_sources(runs, markdown(header, rows))


def kernels(runs: list[Content]) -> str:
    """Bundles of attention kernels for a tile: forward, backward, and of both."""
    header = [""]
    for run in runs:
        header += [f"{run['target']}, bundles", "×"]
    rows = []
    for contender in (PLAIN, LIGHT, OURS):
        cells = [NAMES[contender]]
        for run in runs:
            found = run["bundles"]
            both, plain = (sum(found[one].values()) for one in (contender, PLAIN))
            passes = " + ".join(map(str, found[contender].values()))
            cells += [passes, f"{both / plain:.2f}"]
        rows.append(cells)
    return _with_sources(runs, markdown(header, rows))


def registers(runs: list[Content]) -> str:
    """Bundles of elementwise kernels for a register of 1024 entries."""
    rows = [
        [NAMES[name], *(f"{run['registers'][name]:.1f}" for run in runs)]
        for name in (FLOOR, LIGHT, OURS)
    ]
    return markdown(["", *(run["target"] for run in runs)], rows)


def steps(runs: list[Content]) -> str:
    """Bytes of training steps, and of Monte-Carlo prediction."""
    (run,) = runs
    found = by_name(run)
    contenders = [name for name in NAMES if name != FLOOR]
    rows = [
        [
            row.removesuffix(" step").replace(" step,", ","),
            *(_shown(found, (row, "step", one), _moved) for one in contenders),
        ]
        for row in rows_of(run)
        if "step" in row
    ]
    table = markdown(["", *(NAMES[one] for one in contenders)], rows)
    (sampling,) = (row for row in rows_of(run) if "mc" in row)
    ours, flax = (found[sampling, "forward", one]["cost"] for one in (OURS, FLAX))
    what = sampling.replace(", ", "` with ")
    sentence = (
        f"`{what} moves {ours['moved'] / 1e6:.0f} MB and holds "
        f"{ours['temporary'] / 1e6:.0f} MB besides, where a `vmap` of Flax's moves "
        f"{flax['moved'] / 1e6:.0f} and holds {flax['temporary'] / 1e6:.0f}: it runs "
        "one sample at a time. `chunk_size=` runs several together."
    )
    return _with_sources(runs, table, sentence)


SCHEDULES = tuple(f"kernels_{target}" for target in ("v4", "v5e", "v5p", "v6e"))
TABLES: dict[str, tuple[Table, tuple[str, ...]]] = {
    "compiled/dropout": (
        dropout,
        (
            *("techniques_v5e", "techniques_v6e"),
            *("dropout_float32_v5e", "dropout_float32_v6e"),
        ),
    ),
    "compiled/mlp": (step, ("mlp_v6e", "mlp_flax_v6e")),
    "compiled/transformer": (step, ("transformer_v6e", "transformer_flax_v6e")),
    "compiled/attention": (attention, ("attention_h100", "attention_v6e")),
    "compiled/kernels": (kernels, SCHEDULES),
    "compiled/registers": (registers, SCHEDULES),
    "compiled/steps": (steps, ("steps_h100",)),
    "compiled/techniques_tpu": (techniques, ("techniques_v5e", "techniques_v6e")),
    "compiled/techniques_h100": (techniques, ("techniques_h100",)),
}
"""For each table its function, and the files in ``compiled`` that it is of."""


def _programs(runs: Iterable[Content]) -> list[Content]:
    return [one for run in runs for one in run["programs"]]


def _both(
    found: Programs, row: str, contender: str, shown: Callable[[Content], str]
) -> str:
    """A figure of both passes."""
    cells = [_shown(found, (row, passing, contender), shown) for passing in PASSES]
    return " / ".join(cells)


def _shown(
    found: Programs, at: tuple[str, str, str], shown: Callable[[Content], str]
) -> str:
    return shown(found[at]) if at in found else "–"


def _bytes(program: Content) -> str:
    return f"{least(program):.3g}"


def _mcycles(program: Content) -> str:
    cost = program["cost"]
    more = f" + {cost['unestimated']}" if cost["unestimated"] else ""
    return f"{cost['cycles'] / 1e6:.2f}{more}"


def _moved(program: Content) -> str:
    return f"{program['cost']['moved'] / 1e6:.0f}"


def _megabytes(program: Content) -> str:
    return f"{_moved(program)} ({program['cost']['temporary'] / 1e6:.0f})"


def _with_sources(runs: list[Content], *parts: str) -> str:
    """A table and sentences, and the commands that it comes from."""
    sources = [f"`{run['command']}` (JAX {run['jax']}, {run['date']})" for run in runs]
    return "\n\n".join([*parts, ",\n".join(sources) + "."])
