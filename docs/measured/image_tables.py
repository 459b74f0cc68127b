"""Tables of comparisons and studies on images."""

import itertools

import numpy as np
from pieces import (
    Content,
    by_order,
    cells_of,
    gain_of,
    intervals,
    markdown,
    rows_of,
    some_of,
    strength,
    verdicts,
    with_command,
    with_gains,
)
from scipy import stats

from study import gains, words


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


def conclusion(content: Content) -> str:
    """The answer in one or two sentences, and what it rests on."""
    return (
        f"{content['conclusion']} ({content['seeds']} seeds, strengths chosen on "
        f"validation images; intervals over seeds and {content['test_images']} test "
        "images, verdicts corrected for the number of methods.)"
    )


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
    rows = [
        ["none, error in percent", *words.with_errors(by["none"], scale=100)],
        ["rate that validation chooses", *(f"{one['chosen']:g}" for one in found)],
        ["dropout, error in percent", *words.with_errors(by["dropout"], scale=100)],
        ["gain in points, 95 % interval", *cells_of(gained, scale=100)],
        ["gain in percent of the error", *shares],
        ["updates to the best, without and with", *updates],
    ]
    header = ["training images", *(f"{one['size']}" for one in found)]
    return with_command(content, markdown(header, rows), _of_sizes(found))


_BOTH = ("none", "dropout")


def _of_sizes(found: list[Content]) -> str:
    gained = [_with_p(one) for one in found]
    by_verdict: dict[str, list[str]] = {}
    for gain in gains.together(gained):
        by_verdict.setdefault(gain.verdict, []).append(gain.name)
    phrases = {
        gains.BETTER: "dropout lowers the error with {} images",
        gains.WORSE: "dropout raises the error with {} images",
        gains.NOT_DISTINGUISHABLE: "with {} it cannot be distinguished from none",
        gains.TOO_FEW: "with {} there are too few seeds for a verdict",
    }
    parts = [
        phrase.format(words.listed(by_verdict[verdict]))
        for verdict, phrase in phrases.items()
        if verdict in by_verdict
    ]
    most = max(found, key=lambda one: one["relative_gain"])
    number = words.count(len(found), "size")
    return (
        f"Corrected for {number}, {'; '.join(parts)}. The intervals are each by "
        "itself. By means over seeds, dropout removes the largest share of the error "
        f"with {most['size']} images, {100 * most['relative_gain']:.0f} %."
    )


def _with_p(one: Content) -> gains.Gain:
    """The gain with a number of images, and its p-value.

    Files that have none give the interval, and the largest p-value that goes with it:
    that of the fewest degrees of freedom.
    """
    gain = gain_of(one["gain"])
    p = one["gain"].get("p")
    if p is None:
        freedom = len(one["none"]["test_error"]) - 1
        error = (gain.high - gain.low) / 2 / stats.t.isf(0.025, freedom)
        p = 2 * stats.t.sf(abs(gain.estimate) / error, freedom)
    return gain._replace(name=f"{one['size']}", p=p, verdict=one["verdict"])


def ensemble(content: Content) -> str:
    """Ensembles beside Monte-Carlo dropout."""
    ways = content["results"]["ways"]
    header = [
        *("", "training", "passes", "error, %", "NLL", "calibration error, %"),
        *("AUROC by entropy", "AUROC by mutual information"),
    ]
    columns = [[way["name"] for way in ways]]
    columns += [[f"{way[name]}" for way in ways] for name in ("trainings", "passes")]
    for score, scale in (
        *(("error", 100), ("nll", 1), ("ece", 100)),
        *(("auroc_entropy", 1), ("auroc_information", 1)),
    ):
        values = [way["scores"].get(score) for way in ways]
        columns.append(words.with_errors(values, scale=scale))
    found = content["results"]["ensemble_over_mc_dropout"]
    tested = gains.together([gain_of(kept) for kept in found.values()])
    parts = []
    for score, gain in zip(found, tested, strict=True):
        scale, unit = (100, " points") if score in ("error", "ECE") else (1, "")
        ((shown, interval),) = words.intervals([gain], scale=scale)
        interval = "" if interval == "–" else f"{interval}: "
        parts.append(f"{score} {shown}{unit} ({interval}{gain.verdict})")
    sentence = (
        "What the ensemble of five gains over Monte-Carlo dropout with the same "
        "training and passes, with 95 % intervals, each by itself, and verdicts "
        f"corrected for {words.count(len(parts), 'score')}: {words.listed(parts)}. "
        "Intervals cover networks and test images, that of the AUROC (of the entropy) "
        "networks alone."
    )
    return with_command(content, markdown(header, rows_of(*columns)), sentence)


def methods(content: Content) -> str:
    """Test errors of the methods of a study of strengths, with their gains."""
    results = content["results"]
    error, nll = (
        words.with_errors(
            [one["test"]["weight scaling"][score] for one in results], scale=scale
        )
        for score, scale in (("error", 100), ("nll", 1))
    )
    columns = (
        [one["method"] for one in results],
        [strength(one["chosen"]) for one in results],
        error,
        with_gains([content["gains"].get(one["method"]) for one in results]),
        nll,
    )
    header = ["", "strength, by validation", "error, %", _GAIN, "NLL"]
    table = markdown(header, rows_of(*columns))
    return with_command(content, table, _against_first(content))


_GAIN = "gain in points, 95 % interval"


def _against_first(content: Content) -> str:
    """The verdicts on the methods of a study."""
    over = content.get("gains_over", "none")
    return verdicts(content["gains"].values(), over=over)


def residual(content: Content) -> str:
    """Methods of a residual network, at strengths that were chosen before."""
    found = content["methods"]
    columns = (
        [one["name"] for one in found],
        [
            strength({one["knob"]: one["strength"]} if one["gain"] else None)
            for one in found
        ],
        words.with_errors([one["train_nll"] for one in found]),
        words.with_errors([one["test_error"] for one in found], scale=100),
        with_gains([one["gain"] for one in found]),
        words.with_errors([one["test_nll"] for one in found]),
    )
    header = ["", "strength", "training NLL", "test error, %"]
    header += [_GAIN, "test NLL"]
    over = found[0]["name"]
    said = verdicts((one["gain"] for one in found if one["gain"]), over=over)
    return with_command(content, markdown(header, rows_of(*columns)), said)


def by_rate(content: Content) -> str:
    """Errors at each rate of dropout."""
    found = content["results"]
    errors, rates = found["errors"], found["strengths"]["rate"]
    names = [f"{rate:.2g}" for rate in rates]
    parts = {"train": "training"}
    header = ["rate of hidden units"]
    header += [f"{parts.get(part, part)} error, %" for part in errors]
    columns = (words.with_errors(by, scale=100) for by in errors.values())
    table = markdown(header, rows_of(names, *columns))
    least, *others = gains.ties(dict(zip(names, errors["test"], strict=True)))
    tied = "it is higher at all others"
    if len(others) == len(names) - 1:
        tied = "no other can be distinguished from it"
    elif others:
        tied = f"{words.listed(sorted(others))} cannot be distinguished from it"
    tested = (
        "paired over seeds, without the test images, and corrected for all pairs of "
        f"rates, {tied}"
    )
    if len(errors["test"][0]) < gains.MIN_SEEDS:
        tested = "there are too few seeds for a verdict"
    sentence = f"The test error is least at {least}; {tested}."
    return with_command(content, table, sentence)


def table_9(content: Content) -> str:
    """The methods of that table, beside what was published, and their units."""
    results = content["results"]
    names = [one["method"] for one in results]
    errors = {one["method"]: one["test"]["weight scaling"]["error"] for one in results}
    inside = [one["representation"] for one in results]
    columns = (
        names,
        [strength(one["chosen"]) for one in results],
        words.with_errors(list(errors.values()), scale=100),
        with_gains([content["gains"].get(name) for name in names]),
        [f"{_TABLE_9[name]:.2f}" if name in _TABLE_9 else "–" for name in names],
        words.with_errors([one["sparsity"] for one in inside], scale=100),
        words.with_errors([one["co_adaptation"] for one in inside]),
        words.with_errors([one["weight"] for one in inside]),
    )
    header = [
        *("", "strength, by validation", "error, %", _GAIN),
        *("published, 60 000 images", "activations that are 0, %"),
        *("correlation of two units", "root mean square of weights"),
    ]
    table = markdown(header, rows_of(*columns))
    said = f"{_against_first(content)} {_of_orders(errors)}"
    return with_command(content, table, said)


_TABLE_9 = {  # test errors in percent, Srivastava et al. (2014)
    "L2 penalty": 1.62,
    "max-norm": 1.35,
    "dropout + L2": 1.25,
    "dropout + max-norm": 1.05,
}


def _of_orders(errors: dict[str, list[float]]) -> str:
    """Which of the orders of the published table are found."""
    pairs = {
        f"{better} below {worse}": (errors[worse], errors[better])
        for worse, better in itertools.combinations(_TABLE_9, 2)
    }
    phrases = {"lower": "found", "higher": "reversed"}
    parts = [
        f"{phrases.get(word, 'undecided')}: {words.listed(names)}"
        for word, names in by_order(pairs).items()
    ]
    return (
        "Of the orders that the paper has, paired over seeds (without the test images) "
        f"and corrected for their number, {'; '.join(parts)}."
    )
