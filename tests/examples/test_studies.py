"""The studies: one program for all runs, a choice that does not see test images."""

import itertools
import sys
from dataclasses import replace

import compare_regularizers
import jax
import jax.numpy as jnp
import legible
import numpy as np
import pytest
from reading import content_of, lines_of, rows_of

from comparison import arguments, figures, sizes, studies, sweep
from comparison.answers import evaluate
from comparison.search import Search
from comparison.sizes import Rule
from comparison.training import TRAIN_SIZE, Budget, Program, train
from comparison.verdicts import Outcome
from data import Split, load
from study import gains
from study.recipe import ImageRecipe

METHOD = {method.key: method for method in compare_regularizers.ALL_METHODS}
RECIPE = ImageRecipe(
    hidden=(8,),
    rates=(0.1, 0.5),
    standardize=False,
    epochs=2,
    batch_size=32,
    learning_rate=1e-2,
)
BUDGET = Budget(num_seeds=2, num_samples=3)
SWEPT = ("dropout+max-norm", "concrete-dropout", "elastic-net")


@pytest.fixture(scope="module")
def images():
    images = load("digits", train_size=100)
    return images._replace(test=images.test.take(slice(200)))


def test_a_grid_has_every_combination():
    grid = sweep.grid(rate=(0.1, 0.5), l2=(1.0, 2.0, 3.0))
    pairs = set(zip(grid["rate"].tolist(), grid["l2"].tolist(), strict=True))
    expected = itertools.product(np.float32([0.1, 0.5]).tolist(), (1.0, 2.0, 3.0))
    assert pairs == set(expected) and sweep.size(grid) == 6
    assert sweep.size(sweep.grid()) == 1


def test_runs_are_all_pairs_of_strengths_and_seeds():
    def run(strength, seed, both, common):
        return strength["a"] * seed + both + common

    strengths, seeds = {"a": jnp.arange(3.0)}, jnp.arange(1.0, 5.0)
    both = jax.random.normal(jax.random.key(0), (3, 4))
    roles = ("strength", "seed", "run", "common")
    result = sweep.runs(run, 3, *roles)(strengths, seeds, both, 0.5)
    expected = np.outer(np.arange(3), np.arange(1, 5)) + np.asarray(both) + 0.5
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_the_choice_is_the_least_error_then_the_least_loss():
    error = np.array([[0.3, 0.1], [0.1, 0.1], [0.1, 0.1], [np.nan, 0.0]])
    loss = np.array([[0.0, 0.0], [0.4, 0.4], [0.3, 0.4], [0.0, 0.0]])
    assert sweep.choose(error, loss) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEPT)
def test_a_sweep_gives_what_its_runs_give_alone(name, images):
    seeds = jax.random.split(jax.random.key(3), 2)
    method, seen = METHOD[name], images
    values = {field: numbers[:2] for field, numbers in method.grid.items()}
    grid = sweep.grid(**values)
    together = train(method, RECIPE, seen, seeds, lambda: None, grid)
    last = {field: numbers[-1:] for field, numbers in values.items()}
    alone = train(method, RECIPE, seen, seeds[1:], lambda: None, sweep.grid(**last))
    for a, b in zip(
        jax.tree.leaves(together.states.params),
        jax.tree.leaves(alone.states.params),
        strict=True,
    ):
        assert a.shape[:2] == (sweep.size(grid), 2)
        np.testing.assert_allclose(a[-1, 1], b[0, 0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        together.curves.validation[-1, 1], alone.curves.validation[0, 0], rtol=1e-3
    )


@pytest.mark.slow
def test_a_strength_is_what_the_method_has_when_it_is_fixed(images):
    seeds = jax.random.split(jax.random.key(3), 2)
    method = METHOD["dropout+l2"]
    usual = train(method, RECIPE, images, seeds, lambda: None)
    grid = sweep.grid(rate=(RECIPE.rates[1],), l2=(method.l2,))
    swept = train(method, RECIPE, images, seeds, lambda: None, grid)
    np.testing.assert_allclose(usual.curves.train, swept.curves.train, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dropout+max-norm", "early-stopping"])
def test_a_method_is_traced_once_whatever_its_strengths_and_seeds(
    name, images, monkeypatch
):
    traces = []
    plain = Program.epoch

    def counted(self, *args):
        traces.append(self.method.name)
        return plain(self, *args)

    monkeypatch.setattr(Program, "epoch", counted)
    studies.examine(METHOD[name], RECIPE, images, BUDGET)
    assert traces == [METHOD[name].name]


@pytest.mark.slow
def test_test_images_have_no_say_in_the_choice(images):
    nonsense = Split(images.test.x[::-1] * 7, (images.test.y + 3) % 10)
    first = studies.examine(METHOD["dropout"], RECIPE, images, BUDGET)
    second = studies.examine(
        METHOD["dropout"], RECIPE, images._replace(test=nonsense), BUDGET
    )
    assert first.search.choice == second.search.choice
    assert (first.search.error == second.search.error).all()
    assert (first.curves.validation == second.curves.validation).all()
    assert (
        first.scores["weight scaling"].error != second.scores["weight scaling"].error
    ).any()


@pytest.mark.slow
def test_scores_are_those_of_the_chosen_strength(images):
    outcome = studies.examine(METHOD["l2-penalty"], RECIPE, images, BUDGET)
    (strength,) = outcome.search.chosen.values()
    alone = train(
        METHOD["l2-penalty"],
        RECIPE,
        images,
        BUDGET.seeds,
        lambda: None,
        sweep.grid(l2=(strength,)),
    )
    scores = evaluate(BUDGET.test_keys, sweep.at(alone.states, 0), images.test)
    np.testing.assert_allclose(
        outcome.scores["weight scaling"].nll, scores.nll, rtol=1e-3
    )


def test_a_smaller_number_of_images_is_their_first(images):
    program = Program(METHOD["dropout"], RECIPE, *images.train.x.shape)
    rows = program.batches({TRAIN_SIZE: jnp.float32(7)}, jax.random.key(0))
    assert set(rows.ravel().tolist()) == set(range(7))
    whole = program.batches({}, jax.random.key(0))
    assert whole.shape == rows.shape == (3, 32)
    assert len(set(whole.ravel().tolist())) == 96


RULE = Rule(check=3, patience=6, epochs=1, most=30)


def test_patience_is_the_longer_of_updates_and_epochs():
    rule = Rule(check=10, patience=100, epochs=5, most=1000)
    assert rule.checks(100, batch_size=50) == 10  # 5 epochs are 10 updates
    assert rule.checks(2000, batch_size=50) == 20
    assert rule.checks(2001, batch_size=50) == 21  # and not less


def test_a_look_at_validation_images_is_at_most_an_epoch_apart(images):
    with pytest.raises(ValueError, match=r"rule\.check must be at most .* 3 updates"):
        sizes.by_size(
            METHOD["dropout"],
            (10,),
            (0.0, 0.5),
            RECIPE,
            replace(RULE, check=4),
            images,
            None,
        )


@pytest.fixture(scope="module")
def of_sizes(images):
    seeds = jax.random.split(jax.random.key(0), 3)
    return sizes.by_size(
        METHOD["dropout"], (10, 96), (0.0, 0.2, 0.5), RECIPE, RULE, images, seeds
    )


@pytest.mark.slow
def test_training_goes_on_until_validation_is_no_better(of_sizes):
    for one in of_sizes:
        waited = one.updates - one.best_update
        assert (one.best_update % 3 == 0).all() and (one.best_update > 0).all()
        stopped = one.updates < RULE.most
        assert (waited[stopped] == RULE.checks(one.size, 32) * 3).all()
        assert one.validation.shape == (3, 3) and one.none.shape == (3, 200)
    assert (of_sizes[0].updates < RULE.most).any()


@pytest.mark.slow
def test_the_rate_is_chosen_by_validation_and_is_not_0(of_sizes):
    for one in of_sizes:
        means = one.validation.mean(1)
        assert one.chosen == one.rates[1 + means[1:].argmin()] > 0
        assert (one.none != one.dropout).any()


@pytest.mark.slow
def test_networks_without_dropout_are_those_of_the_best_look(images):
    """Trained again and stopped by hand at the update that was the best."""
    seeds = jax.random.split(jax.random.key(5), 1)
    (one,) = sizes.by_size(
        METHOD["dropout"], (20,), (0.0, 0.5), RECIPE, RULE, images, seeds
    )
    best = int(one.best_update[0, 0])
    until = replace(RULE, most=best)
    (again,) = sizes.by_size(
        METHOD["dropout"], (20,), (0.0, 0.5), RECIPE, until, images, seeds
    )
    assert again.validation[0, 0] == one.validation[0, 0]
    assert (again.none == one.none).all()


def measured_sizes():
    """Errors that are easy to recognize: less with more images, and with dropout."""

    def wrong(share):
        counts = np.round(200 * np.array([share, share + 0.01, share]))
        return np.arange(200) < counts[:, None]

    common = (np.full((2, 3), 0.2), np.full((2, 3), 30), np.full((2, 3), 60), 0.5)
    return [
        sizes.OfSize(size, (0.0, 0.5), *common, wrong(error), wrong(error - 0.1))
        for size, error in ((10, 0.4), (100, 0.2))
    ]


def test_gains_pair_no_dropout_with_dropout():
    for one in measured_sizes():
        gain = one.gain
        assert gain.estimate == pytest.approx(0.1)
        assert gain.low < 0.1 < gain.high and gain.verdict == "better"


def test_the_table_of_sizes_has_gains_with_intervals():
    table = sizes.table(measured_sizes(), title="a title")
    row = next(line for line in lines_of(table, width=120) if line[0] == "100")
    assert row[1:5] == ["20.33±0.33", "0.5", "10.33±0.33", "10.0"]
    assert row[-3:] == ["30", "/", "30"]
    record, _ = sizes.records(measured_sizes())
    assert record["relative_gain"] == pytest.approx(0.1 / 0.40333, rel=1e-3)


def test_verdicts_on_sizes_are_corrected_for_their_number():
    """A gain that is significant by itself, and not among nine that are none."""
    rng = np.random.default_rng(0)
    wrong = (rng.random((10, 3, 400)) < 0.2).astype(float)
    first, *others = [
        measured_sizes()[0]._replace(none=table, dropout=np.roll(table, 1, axis=1))
        for table in wrong
    ]
    better = first.none.copy()
    better[:, np.flatnonzero(better.any(0))[:8]] = 0
    first = first._replace(dropout=better)
    assert 0.05 / 10 < first.gain.p < 0.05
    assert sizes.records([first])[0]["verdict"] == gains.BETTER
    record, *_ = sizes.records([first, *others])
    assert record["verdict"] == gains.NOT_DISTINGUISHABLE
    assert record["gain"]["p"] == first.gain.p


def test_the_figure_of_sizes_shows_errors_and_gains():
    figure = figures.sizes(measured_sizes(), title="a title")
    assert [axes.get_xscale() for axes in figure.axes] == ["log", "log"]
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert [name for name in labels if "bar" not in name] == ["none", "dropout"]
    assert len(figure.axes[1].get_lines()) > 0
    assert legible.faults(figure) == []


def swept(name, error):
    """An outcome whose validation error is least at the second strength."""
    method = METHOD[name]
    places = np.array(next(iter(method.grid.values())))
    errors = np.full((len(places), 3), error + 0.1)
    errors[1] = error + np.array([0.0, 0.01, -0.01])
    search = Search({next(iter(method.grid)): places}, errors, errors, 1)
    return Outcome(method, None, {}, 1.0, search)


def test_figures_show_the_few_with_the_least_validation_error():
    names = [key for key, method in METHOD.items() if len(method.grid) == 1]
    found = [swept(name, 0.01 * rank) for rank, name in enumerate(names)]
    none = found.pop()  # the first stays, however good it is
    few = studies.best([none, *found[::-1]])
    assert few == [none, *found[8::-1]] and len(found) > 9
    assert studies.best([none, *found[:3]]) == [none, *found[:3]]


def test_the_figure_of_strengths_is_legible():
    names = ("dropout", "alpha-dropout-+-selu", "l2-penalty", "label-smoothing")
    shown = [swept(name, 0.1) for name in names if name in METHOD]
    figure = figures.strengths(shown, title="a title")
    assert len(figure.axes) == len(shown) >= 3
    assert legible.faults(figure) == []


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_line_of_two_strengths_is_named(seeds):
    rates, penalties = np.repeat([0.2, 0.5], 3), np.tile([1e-4, 1e-3, 1e-2], 2)
    errors = np.linspace(0.1, 0.2, 6)[:, None] + np.arange(seeds) / 100
    search = Search({"rate": rates, "l2": penalties}, errors, errors, 0)
    outcome = Outcome(METHOD["dropout"], None, {}, 1.0, search)
    figure = figures.strengths([outcome], title="a title")
    assert ("bar: ± standard error" in figure.get_supxlabel()) == (seeds > 1)
    (axes,) = figure.axes
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown == ["rate 0.2", "rate 0.5"]


def run(monkeypatch, tmp_path, *arguments):
    arguments = ["compare_regularizers.py", *arguments, "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    compare_regularizers.main()


@pytest.mark.slow
def test_a_quick_study_of_strengths_writes_every_number(monkeypatch, tmp_path, capsys):
    methods = ("none", "dropout", "l1")
    run(
        monkeypatch,
        tmp_path,
        *("--study", "strengths", "--quick", "--methods", *methods),
    )
    output = capsys.readouterr().out
    assert "s in all." in output
    folder = tmp_path / "strengths-digits"
    assert {path.name for path in folder.iterdir()} == {
        "results.csv",
        "results.json",
        "strengths.png",
        "representations.png",
        "learning_curves.png",
        "reliability_diagrams.png",
    }
    content = content_of(folder / "results.json")
    rows = rows_of(folder / "results.csv")
    assert content["study"] == "strengths" and content["recipe"]["epochs"] == 2
    assert [record["method"] for record in content["results"]] == [
        "none",
        "dropout",
        "L1",
    ]
    assert len(rows) == content["num_seeds"] * (1 + 2 + 1)
    for record in content["results"]:
        grid = METHOD[record["method"].lower()].grid
        number = len(next(iter(grid.values()), (None,)))
        assert np.shape(record["validation_error"]) == (number, content["num_seeds"])
        means = np.mean(record["validation_error"], axis=1)
        for name, values in record["strengths"].items():
            chosen = means[values.index(record["chosen"][name])]
            assert chosen == means.min()
        for prediction, scores in record["test"].items():
            in_file = [
                float(row["error"])
                for row in rows
                if (row["method"], row["prediction"]) == (record["method"], prediction)
            ]
            assert in_file == pytest.approx(scores["error"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("study", "number"), [("rate", 10 * 3), ("size", 2 * 3 * 3)])
def test_a_quick_study_of_rates_and_of_sizes(
    study, number, monkeypatch, tmp_path, capsys
):
    run(monkeypatch, tmp_path, "--study", study, "--quick")
    assert "images" in capsys.readouterr().out
    folder = tmp_path / f"{study}-digits"
    names = {f"{study}.png", "results.csv", "results.json"}
    assert {path.name for path in folder.iterdir()} == names
    rows = rows_of(folder / "results.csv")
    content = content_of(folder / "results.json")
    assert len(rows) == number
    if study == "rate":
        errors = np.ravel(content["results"]["errors"]["test"])
    else:
        assert "epochs" not in content["recipe"] and content["rule"]["epochs"] == 5
        errors = [
            error
            for one in content["results"]
            for way in ("none", "dropout")
            for error in one[way]["test_error"]
        ]
    in_file = [float(row["test_error"]) for row in rows if row["test_error"]]
    np.testing.assert_allclose(sorted(in_file), sorted(errors), rtol=1e-4)


def test_table_9_has_settings_for_both_data_sets_and_known_fields():
    assert {("table9", "digits"), ("table9", "mnist")} <= set(arguments.SETTINGS)
    names = [method.name for method in studies.table_9(METHOD)]
    assert names[0] == "none" and names[-1] == "dropout + max-norm"
    for method in (*studies.table_9(METHOD), *METHOD.values()):
        strength = {name: values[0] for name, values in method.grid.items()}
        assert method.at(strength, (0.1, 0.2)).name == method.name
