r"""The tables of ``docs/results.md`` that come from the files in this folder.

    python docs/measured/study_tables.py keep size results/size-mnist/results.json \
        --command "python examples/compare_regularizers.py --study size --dataset mnist"
    python docs/measured/study_tables.py write

``keep`` copies a results file to ``docs/measured/studies``, with the command and the
versions that it comes from; several files become a list. ``write`` writes each table
and the sentences below it, which compare methods, between its two comments in the page.
A test fails if the page holds anything else.
"""

import argparse
import json
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

HERE = pathlib.Path(__file__).parent
PAGE = HERE.parent / "results.md"
sys.path.insert(0, str(HERE.parents[1] / "examples"))

from study import gains, words  # noqa: E402

Content = dict[str, Any]
_GAIN = ("gain", "low", "high", "p", "verdict")
_BLOCK = re.compile(r"<!-- table: (\S+) -->\n.*?<!-- /table -->", re.DOTALL)


def read(name: str) -> Content:
    """The content of a file of this folder."""
    return json.loads((HERE / f"{name}.json").read_text())


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table; spaces around ± make it easier to read."""
    lines = [header, ["---"] * len(header), *rows]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return text.replace("±", " ± ").replace("|  |", "| |")


def with_command(content: Content, *parts: str) -> str:
    """A block: table, sentences, and how it was measured."""
    source = f"`{content['command']}` ({content['versions']}; {content['machine']})."
    return "\n\n".join([*parts, source])


def dropout(content: Content) -> str:
    """Times of libraries as multiples of jaxdrop's."""
    columns = [
        (library, kind)
        for library in ("flax.nnx", "light", "x * c")
        for kind in ("float32", "bfloat16")
    ]
    names = {"light": "light generator", "x * c": "`x * c`"}
    header = ["time, as a multiple of that of `jaxdrop.dropout`"]
    header += [f"{names.get(library, library)}, {kind}" for library, kind in columns]
    rows = []
    for side in (2048, 8192):
        for passes in ("forward", "forward + backward"):
            cells = [f"{side} × {side}, {passes}"]
            for library, kind in columns:
                times = content["run"][f"{passes}, {kind}, {side}x{side}"]
                ratio = times[library]["median"] / times["jaxdrop"]["median"]
                cells.append(f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2f}")
            rows.append(cells)
    return markdown(header, rows)


def comparison(content: Content) -> str:
    """Errors at validated strengths, and gains in error, likelihood and calibration."""
    rows = content["methods"]
    shown = [_intervals(rows, score) for score in ("error", "NLL", "ECE")]
    cells = [
        [
            *(row["name"], _strength(row["strength"])),
            f"{row['weight scaling']['error']['mean']:.2f}",
            *gained,
        ]
        for row, *gained in zip(rows, *shown, strict=True)
    ]
    header = [
        "",
        "strength",
        "error, %",
        "gain in points",
        "gain in NLL",
        "gain in ECE",
    ]
    return with_command(content, markdown(header, cells), content["conclusion"])


def _intervals(rows: list[Content], score: str) -> list[str]:
    """Gains with their intervals, bold if significant; a dash for the baseline."""
    kept = [row["weight scaling"][score] for row in rows]
    found = [
        gains.Gain(row["name"], *(one[key] for key in _GAIN))
        for row, one in zip(rows, kept, strict=True)
        if "gain" in one
    ]
    cells = iter(words.intervals(found))
    shown = ["{} ({})".format(*next(cells)) if "gain" in one else "–" for one in kept]
    significant = (gains.BETTER, gains.WORSE)
    return [
        f"**{cell}**" if one.get("verdict") in significant else cell
        for cell, one in zip(shown, kept, strict=True)
    ]


def _strength(chosen: dict[str, float] | None) -> str:
    items = (chosen or {}).items()
    named = (f"{name.replace('_', ' ')} {value:.3g}" for name, value in items)
    return ", ".join(named) or "–"


def size(content: Content) -> str:
    """Errors without and with dropout for each number of images."""
    found = content["results"]
    by = {name: [one[name]["test_error"] for one in found] for name in _BOTH}
    gained = [_gain(one["gain"]) for one in found]
    chosen = [one["rates"].index(one["chosen"]) for one in found]
    updates = [
        f"{np.mean(one['best_update'][0]):.0f}, {np.mean(one['best_update'][row]):.0f}"
        for one, row in zip(found, chosen, strict=True)
    ]
    shares = [f"{100 * one['relative_gain']:.0f}" for one in found]
    intervals = words.intervals(gained, scale=100)
    rows = [
        ["none, error in percent", *words.with_errors(by["none"], scale=100)],
        ["rate that validation chooses", *(f"{one['chosen']:g}" for one in found)],
        ["dropout, error in percent", *words.with_errors(by["dropout"], scale=100)],
        ["gain in points, 95 % interval", *(f"{g} ({i})" for g, i in intervals)],
        ["gain in percent of the error", *shares],
        ["updates to the best, without and with", *updates],
    ]
    header = ["training images", *(f"{one['size']}" for one in found)]
    return with_command(content, markdown(header, rows), _of_sizes(found))


_BOTH = ("none", "dropout")


def _of_sizes(found: list[Content]) -> str:
    by_verdict: dict[str, list[str]] = {}
    for one in found:
        by_verdict.setdefault(one["verdict"], []).append(f"{one['size']}")
    phrases = {
        gains.BETTER: "Dropout lowers the error with {} images",
        gains.WORSE: "it raises the error with {}",
        gains.NOT_DISTINGUISHABLE: "with {} it cannot be distinguished from none",
    }
    parts = [
        phrase.format(words.listed(by_verdict[verdict]))
        for verdict, phrase in phrases.items()
        if verdict in by_verdict
    ]
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]} (each interval by itself)."


def _gain(kept: Content) -> gains.Gain:
    """A gain of a file, without what intervals do not need."""
    numbers = (kept["estimate"], kept["low"], kept["high"])
    return gains.Gain("", *numbers, p=np.nan, verdict="")


def uci(content: Content) -> str:
    """Both rows of every data set, with and without dropout."""
    runs = content["runs"]
    header = [
        *("data set, rows", "rate", "RMSE, published", "RMSE"),
        *("log-likelihood, published", "log-likelihood"),
    ]
    rows = []
    for name in dict.fromkeys(run["dataset"] for run in runs):
        pair = sorted(
            (run for run in runs if run["dataset"] == name),
            key=lambda run: -run["recipe"]["rate"],
        )
        scores = {
            score: words.with_errors([run["scores"][score] for run in pair])
            for score in _UCI
        }
        for row, run in enumerate(pair):
            published = run["published"]
            cells = ["" if row else f"{name}, {run['rows']}"]
            cells.append(f"{run['recipe']['rate']:g}")
            for score in _UCI:
                shown = published.get(score, "–").replace(" ± ", "±")
                cells += [shown.replace("-", "−"), scores[score][row]]
            rows.append(cells)
    return with_command(content, markdown(header, rows), _of_sets(runs))


_UCI = ("rmse", "log_likelihood")


def _of_sets(runs: list[Content]) -> str:
    """On which sets dropout lowers the RMSE, with a test corrected for their number."""
    found, p_values = [], []
    for name in dict.fromkeys(run["dataset"] for run in runs):
        pair = {
            run["recipe"]["rate"] > 0: run["scores"]["rmse"]
            for run in runs
            if run["dataset"] == name
        }
        if len(pair) == 2:
            (gain,) = gains.gains({"without": pair[False], name: pair[True]})
            found.append(gain)
            p_values.append(gain.p)
    sets: dict[str, list[str]] = {"lower": [], "higher": [], "not different": []}
    for gain, p in zip(found, gains.holm(p_values), strict=True):
        word = "lower" if gain.estimate > 0 else "higher"
        sets[word if p < 0.05 else "not different"].append(gain.name)
    parts = [
        f"{word} on {words.listed(names)}" for word, names in sets.items() if names
    ]
    return (
        "Paired over splits, and corrected for the number of sets, the RMSE with "
        f"dropout is {'; '.join(parts)}. Splits share rows, so that their standard "
        "errors, and those of the paper, are too small."
    )


def ensemble(content: Content) -> str:
    """Ensembles beside Monte-Carlo dropout."""
    ways = content["results"]["ways"]
    header = [
        *("", "training", "passes", "error, %", "NLL", "calibration error, %"),
        *("AUROC by entropy", "by mutual information"),
    ]
    columns = [[way["name"] for way in ways]]
    columns += [[f"{way[name]}" for way in ways] for name in ("trainings", "passes")]
    for score, scale in (
        *(("error", 100), ("nll", 1), ("ece", 100)),
        *(("auroc_entropy", 1), ("auroc_information", 1)),
    ):
        values = [way["scores"].get(score) for way in ways]
        columns.append(words.with_errors(values, scale=scale))
    rows = [list(row) for row in zip(*columns, strict=True)]
    parts = []
    for score, kept in content["results"]["ensemble_over_mc_dropout"].items():
        scale, unit = (100, " points") if score in ("error", "ECE") else (1, "")
        ((shown, interval),) = words.intervals([_gain(kept)], scale=scale)
        parts.append(f"{score} {shown}{unit} ({interval}: {kept['verdict']})")
    sentence = (
        "What the ensemble of five gains over Monte-Carlo dropout with the same "
        f"training and passes, with 95 % intervals: {words.listed(parts)}. Intervals "
        "cover networks and test images, that of the AUROC networks alone."
    )
    return with_command(content, markdown(header, rows), sentence)


def methods(content: Content) -> str:
    """Test errors of the methods of a study of strengths, with their gains."""
    results = content["results"]
    error, nll = (
        words.with_errors(
            [one["test"]["weight scaling"][score] for one in results], scale=scale
        )
        for score, scale in (("error", 100), ("nll", 1))
    )
    strengths = [_strength(one["chosen"]) for one in results]
    gained = _with_gains([content["gains"].get(one["method"]) for one in results])
    rows = [
        list(row)
        for row in zip(
            [one["method"] for one in results],
            strengths,
            *(error, gained, nll),
            strict=True,
        )
    ]
    header = ["", "strength, by validation", "error, %", "gain in points", "NLL"]
    table = markdown(header, rows)
    return with_command(content, table, _verdicts(content["gains"].values()))


def timed(content: Content) -> str:
    """Noise in a part of training only."""
    found = content["methods"]
    columns = (
        [one["name"] for one in found],
        ["–" if one["name"] == "none" else f"{one['strength']:g}" for one in found],
        words.with_errors([one["train_nll"] for one in found]),
        words.with_errors([one["test_error"] for one in found], scale=100),
        _with_gains([one["gain"] for one in found]),
        words.with_errors([one["test_nll"] for one in found]),
    )
    header = ["", "rate", "training NLL", "test error, %", "gain in points", "test NLL"]
    rows = [list(row) for row in zip(*columns, strict=True)]
    verdicts = _verdicts(one["gain"] for one in found if one["gain"])
    return with_command(content, markdown(header, rows), verdicts)


def text(content: Content) -> str:
    """Bits per test character of language models."""
    found = content["methods"]
    best, last = (
        words.with_errors([one[f"{name}_test"] for one in found], without=3)
        for name in ("best", "last")
    )
    header = ["bits per character", *(one["name"] for one in found)]
    rows = [["chosen on validation", *best], ["at the end", *last]]
    scores = {one["name"]: one["last_test"] for one in found}
    verdicts = _verdicts(gain._asdict() for gain in gains.gains(scores))
    return with_command(content, markdown(header, rows), f"At the end, a{verdicts[1:]}")


def _with_gains(kept: list[Content | None]) -> list[str]:
    """Gains with their intervals; a dash for the method that others are compared to."""
    shown = words.intervals([_gain(one) for one in kept if one], scale=100)
    cells = iter([f"{gain} ({interval})" for gain, interval in shown])
    return [next(cells) if one else "–" for one in kept]


def _verdicts(kept: Any) -> str:
    """Which methods are better or worse than none, corrected for their number."""
    names: dict[str, list[str]] = {}
    for gain in kept:
        names.setdefault(gain["verdict"], []).append(gain["name"])
    order = (gains.BETTER, gains.WORSE, gains.NOT_DISTINGUISHABLE, gains.TOO_FEW)
    parts = [
        f"{verdict}: {words.listed(names[verdict])}"
        for verdict in order
        if verdict in names
    ]
    return f"Against none, corrected for the number of methods, {'; '.join(parts)}."


TABLES: dict[str, Callable[[Content], str]] = {
    "gains": comparison,
    "dropout": dropout,
    "studies/size": size,
    "studies/uci": uci,
    "studies/ensemble": ensemble,
    "studies/pairs": methods,
    "studies/underfit": timed,
    "studies/one_pass": text,
}


def written(page: str) -> str:
    """The page, with every table as its file says."""

    def block(match: re.Match[str]) -> str:
        name = match[1]
        table = TABLES[name](read(name))
        return f"<!-- table: {name} -->\n{table}\n<!-- /table -->"

    return _BLOCK.sub(block, page)


def keep(name: str, sources: list[pathlib.Path], command: str) -> None:
    """Copies results here, with how they were measured."""
    from keep import machine, versions

    found = [json.loads(source.read_text()) for source in sources]
    content = found[0] if len(found) == 1 else {"runs": found}
    content |= {"command": command, "machine": machine(), "versions": versions()}
    path = HERE / "studies" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(_rounded(content), indent=1) + "\n")


def _rounded(value: Any) -> Any:
    """The same with six digits of each number."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main() -> None:
    """Keeps a results file, or writes all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(required=True, dest="action")
    keeping = actions.add_parser("keep", help="copy a results file")
    keeping.add_argument("name", help="what it is called here")
    keeping.add_argument("sources", type=pathlib.Path, nargs="+")
    keeping.add_argument("--command", required=True, help="what has written it")
    actions.add_parser("write", help="write the tables of docs/results.md")
    args = parser.parse_args()
    if args.action == "keep":
        keep(args.name, args.sources, args.command)
    else:
        PAGE.write_text(written(PAGE.read_text()))


if __name__ == "__main__":
    main()
