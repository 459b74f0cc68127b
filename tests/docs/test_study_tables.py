"""The tables of the page of results say what the measured files say."""

import json
import pathlib
import re

import numpy as np
import pytest

DOCS = pathlib.Path(__file__).parents[2] / "docs"
NAMES = ("results.md", "guides/accelerators.md", "index.md", "../README.md")
PAGES = {name: (DOCS / name).read_text() for name in NAMES}
MARKED = {
    name: re.findall(r"<!-- table: (\S+) -->", text) for name, text in PAGES.items()
}
FILES = sorted((DOCS / "measured" / "studies").glob("*.json"))
COMPILED = sorted((DOCS / "measured" / "compiled").glob("*.json"))


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "measured"))
    import study_tables

    return study_tables


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_what_the_files_give(tables, name):
    assert (DOCS / name).resolve() in tables.PAGES
    assert tables.written(PAGES[name]) == PAGES[name], (
        f"docs/{name} and docs/measured differ: run "
        "python docs/measured/study_tables.py write"
    )


def test_an_empty_block_is_filled_and_nothing_beyond_it_is_lost(tables):
    block = "<!-- table: studies/one_pass -->\n{}<!-- /table -->\n"
    page = block.format("") + "Text between.\n" + block.format("old\n")
    first, second = tables.written(page).split("Text between.\n")
    assert first == second
    assert len(first) > len(page)


def test_every_file_is_on_the_page_once(tables):
    names = ["dropout", "gains", *(f"studies/{path.stem}" for path in FILES)]
    assert sorted(MARKED["results.md"]) == names
    compiled = tables.compiler_tables.TABLES
    assert sorted(MARKED["guides/accelerators.md"]) == sorted(compiled)
    used = {stem for _, stems in compiled.values() for stem in stems}
    assert used == {path.stem for path in COMPILED}
    assert {*names, *compiled} <= set(tables.TABLES)


@pytest.mark.parametrize("name", NAMES[2:])
def test_the_first_pages_answer_above_the_picture(name):
    text = PAGES[name]
    assert MARKED[name] == ["answer"]
    conclusion = json.loads((DOCS / "measured" / "gains.json").read_text())[
        "conclusion"
    ]
    assert 0 < text.index(conclusion) < text.index("gains.svg")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_says_how_it_was_measured_and_names_no_machine(path):
    found = json.loads(path.read_text())
    assert found["command"].startswith("python examples/")
    assert "CPU cores" in found["machine"] and "JAX " in found["versions"]
    for said in ("command", "machine", "versions"):
        assert " /" not in found[said], f"{said} holds a path of one machine"


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_compiled_programs_have_a_command_and_all_have_compiled(tables, path):
    run = json.loads(path.read_text())
    script = "compiled" if "programs" in run else "kernels"
    assert run["command"].startswith(
        f"python benchmarks/{script}.py --target {run['target']}"
    )
    assert " /" not in run["command"]
    for one in run.get("programs", []):
        if one["row"] not in tables.compiler_tables.unread(run):
            assert one["cost"] and not one["failure"]


def test_a_technique_that_moves_more_than_the_least_has_a_reason_and_no_other(tables):
    from compiler_tables import REASONS, TABLES, above, kind, rows_of, techniques

    found = {}
    for name, (table, _) in TABLES.items():
        for run in tables.read(name) if table is techniques else ():
            more = {row for row in rows_of(run) if above(run, row)}
            found[kind(run)] = found.get(kind(run), set()) | more
    assert found == {kind: set(reasons) for kind, reasons in REASONS.items()}


@pytest.mark.parametrize("name", MARKED["guides/accelerators.md"])
def test_each_changed_number_changes_the_table_of_a_compiler(tables, name):
    runs, table = tables.read(name), tables.TABLES[name]
    assert runs
    shown = {"compiled/dropout": ["dropout"]}
    for run in runs:
        before = table(runs)
        kernels = name == "compiled/kernels"
        for counts in [*run.get("bundles", {}).values()] if kernels else []:
            counts["backward"] *= 2
            before, last = table(runs), before
            assert before != last
        for contender in run.get("registers", {}) if not kernels else ():
            run["registers"][contender] *= 2
            before, last = table(runs), before
            assert before != last
        for one in run.get("programs", []):
            cost = one["cost"]
            is_shown = one["row"] in shown.get(name, [one["row"]])
            if one["contender"] in ("jaxdrop", "no dropout") and cost and is_shown:
                cost["moved"] //= 2
                cost["cycles"] = (cost["cycles"] or 0) // 2
                before, last = table(runs), before
                assert before != last


def test_pages_say_what_dropout_adds_to_steps(tables):
    """The least and the most of the steps that were compiled."""

    def more(name, contender):
        runs = tables.read(f"compiled/{name}")
        cycles = {
            program["contender"]: program["cost"]["cycles"]
            for run in runs
            for program in run["programs"]
        }
        return f"{100 * (cycles[contender] / cycles['no dropout'] - 1):.0f} %"

    transformer, mlp = (more(name, "light") for name in ("transformer", "mlp"))
    said = (
        f"{transformer} (a transformer) to {mlp} (a multilayer perceptron) more cycles "
        f"than without dropout, and with Flax's `Dropout` "
        f"{more('transformer', 'flax.nnx')} to {more('mlp', 'flax.nnx')} more"
    )
    for name in (*NAMES[2:], "guides/accelerators.md"):
        assert said in " ".join(PAGES[name].split()), name


def test_pages_say_what_a_mask_takes_of_attention_kernels(tables):
    runs = {run["target"]: run["bundles"] for run in tables.read("compiled/kernels")}
    both = lambda target, name: sum(runs[target][name].values())

    def share(target, contender):
        return f"{100 * (1 - both(target, 'no dropout') / both(target, contender)):.0f}"

    small = 100 * both("v6e", "no dropout") / both("v5e", "no dropout")
    page = " ".join(PAGES["guides/accelerators.md"].split())
    for said in (
        f"{share('v5e', 'jaxdrop')} % (v5e) to {share('v6e', 'jaxdrop')} % (v6e)",
        f"{share('v5e', 'light')} % to {share('v6e', 'light')} %",
        f"a tile without a mask takes {small:.0f} % of the bundles",
    ):
        assert said in page


def test_the_page_of_generators_says_what_masks_cost_forward(tables):
    runs = tables.read("compiled/dropout")
    of = tables.compiler_tables.times
    light, default = (
        of(one, "x * c", runs, "dropout", "forward") for one in ("light", "jaxdrop")
    )
    assert max(light) < 1.02
    said = f"{min(default):.1f} to {max(default):.1f} times that with the default one"
    assert said in " ".join((DOCS / "generators.md").read_text().split())


@pytest.mark.parametrize("name", MARKED["results.md"])
def test_a_changed_number_changes_the_table(tables, name):
    content = tables.read(name)
    changed = tables.TABLES[name](_doubled(content))
    assert changed != tables.TABLES[name](content)


def _doubled(value):
    """The same with every float that is not a setting twice as large."""
    if isinstance(value, dict):
        kept = ("recipe", "rates", "chosen", "strengths", "strength")
        return {k: v if k in kept else _doubled(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_doubled(item) for item in value]
    return 2 * value + 0.01 if isinstance(value, float) else value


ABOUT = {"command": "python examples/x.py", "versions": "", "machine": ""}


def test_verdicts_are_those_of_the_files(tables):
    content = ABOUT | {
        "methods": [
            {
                "name": name,
                "knob": "rate",
                "strength": 0.2,
                "train_nll": [0.1, 0.2, 0.15],
                "test_nll": [0.2, 0.3, 0.25],
                "test_error": [0.10, 0.12, 0.11],
                "gain": gain,
            }
            for name, gain in (
                ("none", None),
                ("a", _gain("a", 0.02, 0.01, "better")),
                ("b", _gain("b", 0.01, 0.03, "not distinguishable")),
                ("c", _gain("c", -0.04, 0.01, "worse")),
            )
        ],
    }
    block = tables.TABLES["studies/residual"](content)
    assert "better: a; worse: c; not distinguishable: b." in block
    assert "| a | rate 0.2 | 0.150 ± 0.029 | 11.0 ± 0.6 | 2.0 (1.0 to 3.0) |" in block
    assert "| none | – |" in block


NOISE = np.array([0.01, -0.01, 0.005, -0.005])


def test_texts_are_compared_by_the_parameters_that_are_used(tables):
    methods = [
        {
            "name": name,
            "strength": strength,
            "best_test": 3 - gain + NOISE,
            "last_test": 3 + gain + NOISE[::-1],
        }
        for name, strength, gain in (("none", {}, 0.0), ("a", {"locked": 0.1}, 0.5))
    ]
    by = {
        one_pass: tables.TABLES["studies/lstm"](
            ABOUT | {"methods": methods, "recipe": {"one_pass": one_pass}}
        )
        for one_pass in (False, True)
    }
    assert "chosen on validation, against none, corrected" in by[False]
    assert "better: a." in by[False]
    assert "At the end, against none, corrected" in by[True] and "worse: a." in by[True]
    assert "| a | locked 0.1 | 2.500 ± 0.005 | 3.500 ± 0.005 | 0.50" in by[False]


def test_strategies_are_compared_by_the_labels_that_they_need(tables):
    curves = {"random": [0.5, 0.6, 0.7], "good": [0.5, 0.8, 0.9], "bad": [0.5] * 3}
    labels = {"random": 40.0, "good": 25.0, "bad": None}
    strategies = [
        {
            "name": name,
            "accuracy": curve + NOISE[:, None] * (1 + number),
            "labels": labels[name],
            "stderr": None if name == "bad" else 2.0,
        }
        for number, (name, curve) in enumerate(curves.items())
    ]
    about = {"reference": "random", "protocol": {"budget": 40}}
    block = tables.TABLES["studies/active"](ABOUT | about | {"strategies": strategies})
    assert "| good | 90.0 ± 0.9 | 73.3 ± 0.9 | 62 ± 5 |" in block
    assert "| bad | 50.0 ± 1.4 | 50.0 ± 1.4 | > 100 |" in block
    strategies[1]["stderr"] = None
    block = tables.TABLES["studies/active"](ABOUT | about | {"strategies": strategies})
    assert "| good | 90.0 ± 0.9 | 73.3 ± 0.9 | 62 |" in block
    assert "against random, corrected" in block and "better: good; worse: bad." in block


def test_kept_results_name_the_versions_that_measured_them(
    tables, tmp_path, monkeypatch
):
    monkeypatch.setattr(tables, "HERE", tmp_path)
    measured = {"versions": "Python 1", "machine": "a machine", "results": [1]}
    paths = [tmp_path / name for name in ("a.json", "b.json")]

    def kept(*contents):
        for path, content in zip(paths, contents, strict=False):
            path.write_text(json.dumps(content))
        tables.keep("kept", paths[: len(contents)], "a command")
        return json.loads((tmp_path / "studies" / "kept.json").read_text())

    assert kept(measured) == measured | {"command": "a command"}
    both = kept(measured, measured)
    assert both["versions"] == "Python 1"
    assert both["runs"] == [{"results": [1]}] * 2
    with pytest.raises(SystemExit, match="not measured alike"):
        kept(measured, measured | {"versions": "Python 2"})
    with pytest.raises(SystemExit, match="name their machine and versions"):
        kept({"results": [1]})


def test_a_rate_is_tied_with_the_best_or_not(tables):
    errors = [0.05 + NOISE / 10, 0.03 + NOISE[::-1] / 10, 0.03 + NOISE / 9]
    results = {"strengths": {"rate": [0.0, 0.2, 0.4]}, "errors": {"test": errors}}
    block = tables.TABLES["studies/rate"](ABOUT | {"results": results})
    assert "| 0.2 | 3.00 ± 0.05 |" in block
    assert "least at 0.2; " in block and "of rates, 0.4 cannot be" in block
    results["errors"]["test"] = errors[:2]
    results["strengths"]["rate"] = [0.0, 0.2]
    block = tables.TABLES["studies/rate"](ABOUT | {"results": results})
    assert "of rates, it is higher at all others." in block
    assert "| train" not in block and "test error, %" in block
    results["errors"]["test"] = [NOISE / 10 + 0.05, NOISE[::-1] / 10 + 0.05]
    block = tables.TABLES["studies/rate"](ABOUT | {"results": results})
    assert "of rates, no other can be distinguished from it." in block
    results["errors"]["test"] = [[0.05, 0.06], [0.01, 0.02]]
    block = tables.TABLES["studies/rate"](ABOUT | {"results": results})
    assert "least at 0.2; there are too few seeds for a verdict." in block


def _size(number, gain, half, seeds=3):
    kept = {"estimate": gain, "low": gain - half, "high": gain + half}
    return {
        "size": number,
        "gain": kept,
        "verdict": "",
        "relative_gain": gain,
        "none": {"test_error": [0.1] * seeds},
    }


def test_verdicts_on_sizes_are_corrected_for_their_number(tables):
    """Whether files give p-values or intervals of each gain by itself."""
    from image_tables import _of_sizes

    sizes = [_size(10, 0.02, 0.019), _size(20, 0.03, 0.003), _size(30, 0.0, 0.01)]
    said = _of_sizes(sizes)
    assert "lowers the error with 20 images; with 10 and 30 it cannot be" in said
    assert "largest share of the error with 20 images, 3 %" in said
    assert "lowers the error with 10 images" in _of_sizes(sizes[:1])
    for one, p in zip(sizes, (0.01, 0.2, 0.3), strict=True):
        one["gain"]["p"] = p
    assert "lowers the error with 10 images; with 20 and 30 it" in _of_sizes(sizes)
    for one in sizes:
        one["gain"]["p"] = 0.5
    assert "sizes, with 10, 20 and 30 it cannot be distinguished" in _of_sizes(sizes)
    sizes[0]["gain"] |= {"estimate": -0.1, "p": 0.001}
    assert "raises the error with 10 images; with 20 and 30" in _of_sizes(sizes)


def test_splits_that_share_rows_have_the_variance_that_they_lack(tables):
    """The formula of Nadeau and Bengio: t is divided by sqrt(1 + 20 / 9)."""
    from pieces import by_order

    rng = np.random.default_rng(0)
    first = rng.normal(size=20)
    noise = rng.normal(size=20)
    noise -= noise.mean()
    noise /= noise.std(ddof=1) / 20**0.5  # a standard error of 1
    for away, names in ((3.0, ["lower"] * 2), (-3.0, ["higher"] * 2)):
        word = names[0]
        pairs = {"a": (first + away * 1.2 + noise, first)}
        assert by_order(pairs) == {word: ["a"]}
        assert by_order(pairs, overlap=1 / 9) == {"not distinguishable": ["a"]}
        pairs = {"a": (first + away * 1.3 + noise, first)}
        assert by_order(pairs, overlap=1 / 9) == {word: ["a"]}
        pairs["b"] = (first, first)
        found = by_order(pairs, overlap=1 / 9)
        assert found == {"not distinguishable": ["a", "b"]}


def test_scores_of_an_ensemble_are_corrected_for_their_number(tables):
    content = json.loads((DOCS / "measured" / "studies" / "ensemble.json").read_text())
    kept = content["results"]["ensemble_over_mc_dropout"]
    kept["error"] |= {"estimate": 0.02, "low": 0.001, "high": 0.039, "p": 0.04}
    block = tables.TABLES["studies/ensemble"](content)
    assert "error 2.0 points (0.1 to 3.9: not distinguishable)" in block
    kept["error"]["p"] = 0.01
    block = tables.TABLES["studies/ensemble"](content)
    assert "error 2.0 points (0.1 to 3.9: better)" in block


def test_orders_of_the_paper_are_found_or_not(tables):
    errors = {
        "none": 0.06,
        "L2 penalty": 0.05,
        "max-norm": 0.054,
        "dropout": 0.041,
        "dropout + L2": 0.0405,
        "dropout + max-norm": 0.04,
    }
    representation = dict.fromkeys(("sparsity", "co_adaptation", "weight"), NOISE + 0.1)
    results = [
        {
            "method": name,
            "chosen": {"rate": 0.35},
            "test": {"weight scaling": {"error": error + np.roll(NOISE, number) / 20}},
            "representation": representation,
        }
        for number, (name, error) in enumerate(errors.items())
    ]
    found = {"L2 penalty": _gain("L2 penalty", 0.01, 0.001, "better")}
    block = tables.TABLES["studies/table_9"](
        ABOUT | {"results": results, "gains": found}
    )
    row = "| L2 penalty | rate 0.35 | 5.000 ± 0.023 | 1.00 (0.90 to 1.10) | 1.62 |"
    assert row in block
    assert "reversed: max-norm below L2 penalty" in block
    assert "found: dropout + L2 below L2 penalty" in block
    assert "undecided: dropout + max-norm below dropout + L2" in block


def test_two_seeds_give_no_verdict_and_no_interval_in_any_table(tables):
    """What a file has in the place of NaN is null."""
    few = _gain("a", 0.02, 0.01, "too few seeds")
    few |= dict.fromkeys(("low", "high", "p"))
    undefined = {"name": "b", **dict.fromkeys(("estimate", "low", "high", "p"))}
    undefined |= {"verdict": "undefined"}
    scores = {"train_nll": [0.1, 0.2], "test_nll": [0.2, 0.3], "test_error": [0.1, 0.2]}
    about = {"knob": "rate", "strength": 0.2, **scores}
    methods = [
        {"name": name, "gain": gain, **about}
        for name, gain in (("plain", None), ("a", few), ("b", undefined))
    ]
    block = tables.TABLES["studies/residual"](ABOUT | {"methods": methods})
    assert "Against plain, corrected" in block
    assert "too few seeds: a; undefined: b." in block
    assert "| 2.00 |" in block and "(–)" not in block and "nan" not in block
    alone = ABOUT | {"methods": methods[:1]}
    assert "Against" not in tables.TABLES["studies/residual"](alone)
    texts = [
        {"name": n, "best_test": [2.0, 2.1], "last_test": [2.0, 2.2]} for n in "ab"
    ]
    block = tables.TABLES["studies/lstm"](
        ABOUT | {"methods": texts, "recipe": {"one_pass": False}}
    )
    assert "against a, corrected" in block and "| 0.00 |" in block
    content = json.loads((DOCS / "measured" / "studies" / "ensemble.json").read_text())
    kept = content["results"]["ensemble_over_mc_dropout"]
    for gain in kept.values():
        gain |= dict.fromkeys(("low", "high", "p")) | {"verdict": "too few seeds"}
    block = tables.TABLES["studies/ensemble"](content)
    assert "error 0.32 points (too few seeds)" in block and "better" not in block


def _gain(name, estimate, half, verdict):
    low, high = estimate - half, estimate + half
    p = 0.5
    return {
        "name": name,
        "estimate": estimate,
        "low": low,
        "high": high,
        "p": p,
        "verdict": verdict,
    }
