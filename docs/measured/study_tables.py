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
from collections.abc import Callable

import numpy as np
from pieces import (
    HERE,
    Content,
    gain_of,
    intervals,
    markdown,
    some_of,
    strength,
    verdicts,
    with_command,
    with_gains,
)

from study import files, gains, words

PAGE = HERE.parent / "results.md"
_BLOCK = re.compile(r"<!-- table: (\S+) -->\n.*?<!-- /table -->", re.DOTALL)


def read(name: str) -> Content:
    """The content of a file of this folder."""
    return json.loads((HERE / f"{name}.json").read_text())


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
    shown = [intervals(rows, score) for score in ("error", "NLL", "ECE")]
    cells = [
        [
            *(row["name"], strength(row["strength"])),
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
    sentences = content["conclusion"], _of_samples(content)
    return with_command(content, markdown(header, cells), *sentences)


def _of_samples(content: Content) -> str:
    """For which methods the mean of passes with noise has better scores than one."""
    ways: dict[str, Content] = {}
    for row in content["uncertainty"]:
        ways.setdefault(row["method"], {})[row["way"]] = row
    both = {name: rows for name, rows in ways.items() if "MC dropout" in rows}
    higher = {
        score: [
            name
            for name, rows in both.items()
            if rows["MC dropout"][score]["mean"] > rows["weight scaling"][score]["mean"]
        ]
        for score in ("ece", "by_entropy")
    }
    return (
        f"By means over seeds, the average of {content['samples']} passes with noise "
        f"has a larger calibration error than one pass without for "
        f"{some_of(higher['ece'], both)}, and its entropy finds "
        f"{content['strange_images']} better for "
        f"{some_of(higher['by_entropy'], both)}."
    )


def size(content: Content) -> str:
    """Errors without and with dropout for each number of images."""
    found = content["results"]
    by = {name: [one[name]["test_error"] for one in found] for name in _BOTH}
    gained = [gain_of(one["gain"]) for one in found]
    chosen = [one["rates"].index(one["chosen"]) for one in found]
    updates = [
        f"{np.mean(one['best_update'][0]):.0f}, {np.mean(one['best_update'][row]):.0f}"
        for one, row in zip(found, chosen, strict=True)
    ]
    shares = [f"{100 * one['relative_gain']:.0f}" for one in found]
    held = words.intervals(gained, scale=100)
    rows = [
        ["none, error in percent", *words.with_errors(by["none"], scale=100)],
        ["rate that validation chooses", *(f"{one['chosen']:g}" for one in found)],
        ["dropout, error in percent", *words.with_errors(by["dropout"], scale=100)],
        ["gain in points, 95 % interval", *(f"{g} ({i})" for g, i in held)],
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
        ((shown, interval),) = words.intervals([gain_of(kept)], scale=scale)
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
    strengths = [strength(one["chosen"]) for one in results]
    gained = with_gains([content["gains"].get(one["method"]) for one in results])
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
    return with_command(content, table, verdicts(content["gains"].values()))


def timed(content: Content) -> str:
    """Noise in a part of training only."""
    found = content["methods"]
    columns = (
        [one["name"] for one in found],
        ["–" if one["name"] == "none" else f"{one['strength']:g}" for one in found],
        words.with_errors([one["train_nll"] for one in found]),
        words.with_errors([one["test_error"] for one in found], scale=100),
        with_gains([one["gain"] for one in found]),
        words.with_errors([one["test_nll"] for one in found]),
    )
    header = ["", "rate", "training NLL", "test error, %", "gain in points", "test NLL"]
    rows = [list(row) for row in zip(*columns, strict=True)]
    said = verdicts(one["gain"] for one in found if one["gain"])
    return with_command(content, markdown(header, rows), said)


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
    said = verdicts(gain._asdict() for gain in gains.gains(scores))
    return with_command(content, markdown(header, rows), f"At the end, a{said[1:]}")


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
    files.write_json(HERE / "studies" / f"{name}.json", content)


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
        text = written(PAGE.read_text())
        with files.replacing(PAGE) as partial:
            partial.write_text(text)


if __name__ == "__main__":
    main()
