"""Tables of times, regression, text and active learning."""

import numpy as np
from pieces import (
    Content,
    by_order,
    cells_of,
    markdown,
    rows_of,
    strength,
    verdicts,
    with_command,
)

from study import gains, words


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
_TEST_ROWS = 0.1  # the share of a data set that each split holds out


def _of_sets(runs: list[Content]) -> str:
    """On which sets dropout lowers the RMSE, with a test corrected for their number."""
    by_set: dict[str, dict[bool, list[float]]] = {}
    for run in runs:
        scores = by_set.setdefault(run["dataset"], {})
        scores[run["recipe"]["rate"] > 0] = run["scores"]["rmse"]
    pairs = {
        name: (scores[False], scores[True])
        for name, scores in by_set.items()
        if len(scores) == 2
    }
    found = by_order(pairs, overlap=_TEST_ROWS / (1 - _TEST_ROWS))
    parts = [f"{word} on {words.listed(names)}" for word, names in found.items()]
    said = (
        "Paired over splits, and corrected for the rows that splits share ([Nadeau and "
        "Bengio 2003](https://doi.org/10.1023/A:1024068626366)) and for the number of "
        f"sets, the RMSE with dropout is {'; '.join(parts)}. "
    )
    return (said if parts else "") + (
        "The standard errors of the table, and those of the paper, are not corrected "
        "for shared rows, and too small."
    )


def text(content: Content) -> str:
    """Bits per test character of language models.

    The last parameters are compared where nothing is seen twice, else those with the
    best validation score.
    """
    found = content["methods"]
    judged = "last" if content["recipe"]["one_pass"] else "best"
    scores = {one["name"]: one[f"{judged}_test"] for one in found}
    gained = gains.gains(scores)
    by_name = {gain.name: gain for gain in gained}
    header = ["", "chosen on validation", "at the end", "gain in bits, 95 % interval"]
    columns = [
        [one["name"] for one in found],
        *(
            words.with_errors([one[f"{name}_test"] for one in found], without=3)
            for name in ("best", "last")
        ),
        cells_of([by_name.get(name) for name in scores]),
    ]
    if any(one.get("strength") for one in found):
        header.insert(1, "strength")
        columns.insert(1, [strength(one["strength"]) for one in found])
    said = verdicts((gain._asdict() for gain in gained), over=found[0]["name"])
    where = {"last": "At the end", "best": "By the parameters chosen on validation"}
    sentence = f"{where[judged]}, a{said[1:]} Intervals cover seeds, not the text."
    return with_command(content, markdown(header, rows_of(*columns)), sentence)


def active(content: Content) -> str:
    """How many labels each strategy needs to be as good as the reference is."""
    found, budget = content["strategies"], content["protocol"]["budget"]
    reference = content["reference"]
    final, mean = (
        words.with_errors(
            [[of(a) for a in one["accuracy"]] for one in found], scale=100
        )
        for of in (lambda a: a[-1], np.mean)
    )
    needed = [
        "–" if one["name"] == reference else _needed(one, budget) for one in found
    ]
    header = [
        *("", f"% right with {budget} labels", "% right, mean of all rounds"),
        f"labels needed, in percent of {budget}",
    ]
    names = [one["name"] for one in found]
    table = markdown(header, rows_of(names, final, mean, needed))
    errors = {
        one["name"]: [1 - np.mean(accuracy) for accuracy in one["accuracy"]]
        for one in found
    }
    found_gains = gains.gains(errors, baseline=reference)
    said = verdicts((gain._asdict() for gain in found_gains), over=reference)
    sentence = (
        f"By the mean accuracy of all rounds, paired over seeds, without the test "
        f"images, a{said[1:]}"
    )
    return with_command(content, table, sentence)


def _needed(strategy: Content, budget: int) -> str:
    if strategy["labels"] is None:
        return "> 100"
    share = f"{100 * strategy['labels'] / budget:.0f}"
    if strategy["stderr"] is None:  # in some resample of seeds it is below in the end
        return share
    return f"{share}±{100 * strategy['stderr'] / budget:.0f}"
