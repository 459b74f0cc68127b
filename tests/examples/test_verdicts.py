"""The verdicts of the comparison, its tables, its file, and its choice of strengths."""

from dataclasses import replace

import jax
import legible
import numpy as np
import pytest
from compare_regularizers import ALL_METHODS, METHODS, compare
from reading import content_of, printed, rows_of
from rich.console import Console
from rich.measure import Measurement
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from comparison import answers, figures, report, search, verdicts
from comparison.answers import MC_DROPOUT, WEIGHT_SCALING, Answers
from comparison.arguments import Setting
from comparison.search import Search
from comparison.training import Budget, Curves, Program, Trainer, train
from data import Split, load
from study import gains
from study.recipe import ImageRecipe

METHOD = {method.key: method for method in ALL_METHODS}
RECIPE = ImageRecipe(
    hidden=(8,),
    rates=(0.1, 0.5),
    standardize=False,
    epochs=2,
    batch_size=32,
    learning_rate=1e-2,
)
LABELS = np.arange(60) % 10


@pytest.fixture(scope="module")
def images():
    return load("digits", train_size=100)


def answers_of(error, *, seeds=5, seed=0, noisy=False):
    """Answers of which a share is wrong, sure of most test images, of others less."""
    rng = np.random.default_rng(seed)
    right = rng.random((seeds, 60)) >= error
    guess = np.where(right, LABELS, (LABELS + 1) % 10)
    logits = 4 * np.eye(10)[guess] + rng.normal(size=(seeds, 60, 10))
    strange = rng.normal(size=(seeds, 60, 10))
    found = []
    for part in (logits, strange):
        log_probs = np.array(jax.nn.log_softmax(part))
        entropy = -(np.exp(log_probs) * log_probs).sum(-1)
        information = 0.1 * entropy if noisy else np.full_like(entropy, np.nan)
        found.append(Answers(log_probs, entropy, information))
    return tuple(found)


def outcome_of(name, error, *, seeds=5, seed=0, ways=(WEIGHT_SCALING,)):
    method = METHOD[name]
    asked = {
        way: answers_of(error, seeds=seeds, seed=seed, noisy=way == MC_DROPOUT)
        for way in ways
    }
    fields = tuple(method.grid)
    tried = Search(
        {field: np.array([0.1, 0.2, 0.3]) for field in fields},
        np.array([[0.2], [0.1], [0.3]]),
        np.zeros((3, 1)),
        1,
    )
    return verdicts.Outcome(
        method,
        Curves(np.full((seeds, 3), 0.1), np.full((seeds, 3), 0.2)),
        {way: answers.scores(known, LABELS) for way, (known, _) in asked.items()},
        seconds=2.4,
        search=tried if fields else None,
        answers=asked,
    )


BOTH = (WEIGHT_SCALING, MC_DROPOUT)


def outcomes(seeds=5):
    """One method that helps much, one that does nothing, one that harms."""
    return [
        outcome_of("none", 0.4, seeds=seeds),
        outcome_of("l2-penalty", 0.95, seed=1, seeds=seeds),
        outcome_of("dropout", 0.0, seed=2, ways=BOTH, seeds=seeds),
        outcome_of("weight-decay", 0.4, seed=3, seeds=seeds),
    ]


def judged(found):
    return verdicts.judge(found, Split(None, LABELS))


def test_verdicts_are_of_the_same_seeds_and_images():
    found = judged(outcomes())
    by_name = {g.name: g for g in found.gains[WEIGHT_SCALING]["error"]}
    expected = {"dropout": "better", "L2 penalty": "worse"}
    expected["weight decay"] = gains.NOT_DISTINGUISHABLE
    assert {name: gain.verdict for name, gain in by_name.items()} == expected
    none, _, dropout, _ = (o.scores[WEIGHT_SCALING] for o in outcomes())
    difference = (none.error - dropout.error).mean()
    assert by_name["dropout"].estimate == pytest.approx(difference)
    assert [g.name for g in found.gains[MC_DROPOUT]["NLL"]] == ["dropout"]
    assert found.best == ("dropout",)


def test_a_diverged_method_is_undefined_in_every_score():
    diverged = outcome_of("dropout", 0.0)
    known, strange = diverged.answers[WEIGHT_SCALING]
    known = known._replace(log_probs=np.full_like(known.log_probs, np.nan))
    asked = {WEIGHT_SCALING: (known, strange)}
    scores = {WEIGHT_SCALING: answers.scores(known, LABELS)}
    rows = [outcomes()[0], diverged._replace(answers=asked, scores=scores)]
    (gain,) = judged(rows).gains[WEIGHT_SCALING]["NLL"]
    assert gain.verdict == gains.UNDEFINED


def test_rows_are_sorted_by_gain_and_ties_are_said_to_be_ties():
    found = outcomes()
    ordered = verdicts.ranked(found, judged(found))
    assert ordered[0].method.name == "dropout"
    assert ordered[-1].method.name == "L2 penalty"
    text = printed(report.error_table(ordered, judged(found), title="t", searched=True))
    lines = [line.split() for line in text.splitlines()]
    cells = {line[0]: line for line in lines if len(line) > 6 and "to" in line}
    assert cells["dropout"][1:3] == ["rate", "0.2"]
    assert cells["dropout"][-2:] == ["better", "2"]
    assert cells["L2"][-2] == "worse" and cells["weight"][-2] == "tie"
    caption = " ".join(text.split())
    assert "corrected for three comparisons" in caption
    assert "interval over seeds and test images" in caption


def test_the_conclusion_names_the_best_and_the_price():
    found = judged(outcomes())
    text = verdicts.conclusion(found, "On digits with 60 images")
    assert text.startswith("On digits with 60 images, dropout lowers the error most (")
    assert "Weight decay cannot be distinguished from none" in text
    assert "L2 penalty raises it" in text


def test_two_seeds_give_no_verdict_in_any_table():
    found = outcomes(seeds=2)
    text = printed(
        report.error_table(found, judged(found), title="t", searched=True),
        report.price_table(found, judged(found)),
    )
    for word in (" better", "worse", " tie "):
        assert word not in "".join(text.split("Means")[0])
    assert "too few" in verdicts.conclusion(judged(found), "On digits")


def test_tables_of_all_methods_fit_80_columns():
    rng = range(len(METHODS))
    found = [
        outcome_of(method.key, 0.3, seed=seed, ways=BOTH if seed else BOTH[:1])
        for seed, method in zip(rng, METHODS, strict=True)
    ]
    rows = verdicts.panel(found, LABELS)
    for table in (
        report.error_table(found, judged(found), title="t", searched=True),
        report.price_table(found, judged(found)),
        report.panel_table(rows, strange="others", num_samples=50),
    ):
        console = Console(width=200)
        assert Measurement.get(console, console.options, table).maximum <= 80


def test_the_panel_has_every_way_to_predict_and_an_ensemble():
    rows = verdicts.panel(outcomes(), LABELS)
    names = [(row.method, report.short(row)) for row in rows]
    assert names[:4] == [
        ("none", "one"),
        ("L2 penalty", "one"),
        ("dropout", "one"),
        ("dropout", "MC"),
    ]
    assert names[-1] == ("ensemble of 5, none", "mean") and rows[-1].trainings == 5
    known, strange = answers_of(0.0, seed=2, noisy=True)
    is_strange = np.repeat([False, True], 60)
    dropout = rows[3]
    for seed in (0, 4):
        scores = np.concatenate([known.entropy[seed], strange.entropy[seed]])
        auroc = roc_auc_score(is_strange, scores)
        assert dropout.by_entropy[seed] == pytest.approx(auroc, abs=1e-6)
        sure = np.argsort(-known.confidence[seed])[:54]
        right = (known.log_probs[seed].argmax(-1) == LABELS)[sure].mean()
        assert dropout.covered[seed] == pytest.approx(right, abs=1e-6)
    assert np.isnan(rows[0].by_information).all() and (dropout.by_information > 0).all()
    assert verdicts.panel(outcomes(seeds=4), LABELS)[-1].trainings == 1


def test_an_ensemble_is_the_mean_of_its_members():
    known, _ = answers_of(0.2, seeds=7)
    together = answers.ensembles(known, 3)
    assert together.log_probs.shape == (2, 60, 10)
    probs = np.exp(known.log_probs[3:6])
    mean = probs.mean(0)
    np.testing.assert_allclose(np.exp(together.log_probs[1]), mean, rtol=1e-6)
    entropy = -(mean * np.log(mean)).sum(-1)
    np.testing.assert_allclose(together.entropy[1], entropy, rtol=1e-5)
    inside = known.entropy[3:6].mean(0)
    np.testing.assert_allclose(together.information[1], entropy - inside, atol=1e-6)


def test_the_file_of_gains_has_every_number(tmp_path):
    found = outcomes()
    rows = verdicts.panel(found, LABELS)
    report.write_json(
        tmp_path / "gains.json",
        found,
        judged(found),
        rows,
        about={"seeds": 5},
    )
    content = content_of(tmp_path / "gains.json")
    assert (content["baseline"], content["seeds"]) == ("none", 5)
    none, _, dropout, _ = content["methods"]
    assert "gain" not in none["weight scaling"]["error"]
    assert dropout["strength"] == {"rate": 0.2} and dropout["at_edge"] == []
    for way in BOTH:
        for score, (_, scale) in verdicts.SCORES.items():
            record = dropout[way][score]
            assert record["low"] <= record["gain"] <= record["high"]
            assert len(record["seeds"]) == 5
            gain = next(
                gain
                for gain in judged(found).gains[way][score]
                if gain.name == "dropout"
            )
            assert record["gain"] == pytest.approx(scale * gain.estimate, rel=1e-4)
    assert content["uncertainty"][0]["by_information"]["mean"] is None


def test_the_figure_shows_gains_with_both_predictions_and_the_cost():
    found = outcomes()
    figure = figures.gains(found, judged(found), title="t")
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels[0].startswith("gain in error, points") and "seconds" in labels[2]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[:2] == list(BOTH)
    assert legible.faults(figure) == []


def test_a_grid_is_extended_by_its_own_factor_where_its_end_is_best():
    assert search.extended("l2", (1e-4, 1e-3), 1e-3)[:2] == (0.01, 0.1)
    assert search.extended("l2", (1e-4, 1e-3), 1e-4)[:2] == (1e-5, 1e-6)
    rates = search.extended("rate", (0.2, 0.35, 0.5), 0.5)
    assert rates[0] == 0.65 and rates == tuple(sorted(rates)) and rates[-1] < 1
    assert search.extended("rate", (0.2, 0.35, 0.5), 0.35) == ()
    assert search.extended("rate", (0.0, 0.5), 0.0) == ()


def test_every_default_method_is_tried_at_as_many_strengths():
    for method in METHODS[1:]:
        for values in search.fields(method).values():
            assert len(values) == search.TRIALS
        assert search.usual(method, RECIPE).keys() == method.grid.keys()


def test_every_method_with_a_grid_has_fields_that_can_be_tried():
    for method in ALL_METHODS:
        strength = search.usual(method, RECIPE)
        assert method.at(strength, RECIPE.rates).name == method.name


@pytest.mark.slow
def test_a_comparison_trains_one_program_and_chooses_on_validation(images, monkeypatch):
    traces = []
    plain = Program.epoch

    def counted(self, *args):
        traces.append(self.method.name)
        return plain(self, *args)

    monkeypatch.setattr(Program, "epoch", counted)
    setting = Setting(recipe=RECIPE, num_seeds=5, num_samples=3, search_seeds=1)
    strange = images.test.x[:50, ::-1]
    methods = [METHOD["none"], METHOD["dropout+max-norm"]]
    found = compare(methods, setting, images, strange)
    assert traces == ["none", "dropout + max-norm"]
    outcome = found[1]
    assert set(outcome.search.chosen) == {"rate", "max_norm"}
    means = outcome.search.error.mean(1)
    assert means[outcome.search.choice] == means.min() and len(means) >= 10
    nonsense = images._replace(test=images.test._replace(x=images.test.x * 0))
    (other,) = compare(methods[1:], setting, nonsense, strange)
    assert other.search.chosen == outcome.search.chosen
    assert (other.curves.validation == outcome.curves.validation).all()
    assert outcome.scores[MC_DROPOUT].wrong.shape == (5, len(images.test.y))
    known, unknown = outcome.answers[MC_DROPOUT]
    assert known.entropy.shape[1] == len(images.test.y)
    assert unknown.entropy.shape == (5, 50)


@pytest.mark.slow
def test_a_searched_strength_gives_what_it_gives_alone(images):
    trainer = Trainer(METHOD["l2-penalty"], RECIPE, images)
    tried = Search({"l2": np.array([0.01])}, np.zeros((1, 1)), np.zeros((1, 1)), 0)
    budget = Budget(num_seeds=3, num_samples=1)
    with tqdm(disable=True) as bar:
        together = search.final(trainer, tried, budget, bar)
    seeds = jax.random.split(jax.random.key(0), 3)
    alone = train(
        replace(METHOD["l2-penalty"], l2=0.01), RECIPE, images, seeds, lambda: None
    )
    np.testing.assert_allclose(
        together.curves.validation, alone.curves.validation[0], rtol=1e-3
    )


@pytest.mark.slow
def test_a_method_without_strengths_can_stop_early(images):
    """Its best parameters are at first those that it starts with."""
    trainer = Trainer(METHOD["early-stopping"], RECIPE, images)
    with tqdm(disable=True) as bar:
        training = search.final(trainer, None, Budget(num_seeds=2, num_samples=1), bar)
    assert training.curves.validation.shape == (2, RECIPE.epochs)
    assert training.states.stopper is None


def test_the_file_has_a_row_for_each_method_prediction_and_seed(tmp_path):
    report.write_csv(tmp_path / "results.csv", outcomes(seeds=2)[::2])
    rows = rows_of(tmp_path / "results.csv")
    assert [(row["method"], row["prediction"], row["seed"]) for row in rows] == [
        ("none", "weight scaling", "0"),
        ("none", "weight scaling", "1"),
        ("dropout", "weight scaling", "0"),
        ("dropout", "weight scaling", "1"),
        ("dropout", "MC dropout", "0"),
        ("dropout", "MC dropout", "1"),
    ]
    assert float(rows[5]["error"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw", [figures.learning_curves, figures.reliability_diagrams]
)
def test_a_figure_has_a_panel_for_each_method(draw):
    for number in (2, 6):
        figure = draw((outcomes()[:3] * 2)[:number], title="a title")
        assert len(figure.axes) == number
        assert len(figure.legends) == 1
        assert legible.faults(figure) == []


def test_reliability_is_that_of_the_mean_network():
    found = outcomes()[2]
    figure = figures.reliability_diagrams([found], title="a title")
    bins = found.scores[WEIGHT_SCALING].bins
    weight = np.asarray(bins.weight).mean(0)
    shown = weight > 0.004 * weight.sum()
    line = figure.axes[0].get_lines()[1]
    accuracy = np.asarray(bins.correct).mean(0)[shown] / weight[shown]
    np.testing.assert_allclose(line.get_ydata(), accuracy, atol=1e-6)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["calibrated", *BOTH, "bar: 95 % interval (Wilson)"]
