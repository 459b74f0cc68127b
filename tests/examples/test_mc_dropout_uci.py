"""Regression as Gal and Ghahramani had it: splits, training, scores and settings."""

import sys

import jax
import mc_dropout_uci
import numpy as np
import pytest
from reading import content_of, printed
from scipy import stats

from data import Regression
from uci import figures, records
from uci.published import LONG, PUBLISHED, SETTINGS, WITHOUT_DROPOUT, published_for
from uci.splits import Splits
from uci.training import RegressionRecipe, Scores
from uci.training import fit as fit_network

RECIPE = RegressionRecipe(
    rate=0.1, tau=4.0, length_scale=1e-2, hidden=5, epochs=3, batch_size=8
)


def fit(recipe, splits):
    return fit_network(mc_dropout_uci.Network(recipe.hidden), recipe, splits)


def judge(recipe, *given, num_samples):
    network = mc_dropout_uci.Network(recipe.hidden)
    return mc_dropout_uci.judge(network, recipe, *given, num_samples=num_samples)


def data():
    """A line with a constant column; the second split has fewer rows of each kind."""
    x = np.random.default_rng(0).normal(size=(40, 3))
    x[:, 2] = 7
    rows = np.arange(40)
    return Regression(
        x, 30 + 5 * x[:, 0], (rows[:30], rows[10:31]), (rows[30:], rows[:5])
    )


def arguments(*given):
    return mc_dropout_uci._parser().parse_args(given)


@pytest.fixture(scope="module")
def splits():
    return Splits.of(data())


@pytest.fixture(scope="module")
def variables(splits):
    return fit(RECIPE, splits)


def average(values, splits):
    """The mean over the test rows of each split that are there."""
    return np.average(values, weights=splits.test_weight, axis=1)


def with_junk(splits):
    """The same splits, with something else in the rows that are not there."""
    absent, unseen = splits.weight == 0, splits.test_weight == 0
    assert absent.any() and unseen.any()
    return splits._replace(
        x=np.where(absent[..., None], 50, splits.x),
        y=np.where(absent, 50, splits.y),
        test_x=np.where(unseen[..., None], 50, splits.test_x),
        test_y=np.where(unseen, 50, splits.test_y),
    )


def test_training_rows_are_standardized_and_missing_ones_weigh_nothing(splits):
    assert splits.weight.sum(1).tolist() == [30, 21]
    assert splits.test_weight.sum(1).tolist() == [10, 5]
    for split in range(2):
        there = splits.weight[split] > 0
        x, y = splits.x[split][there], splits.y[split][there]
        np.testing.assert_allclose(x.mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(x.std(0), [1, 1, 0], rtol=1e-5)
        np.testing.assert_allclose((y.mean(), y.std()), (0, 1), atol=1e-5)
        units = y * splits.scale[split] + splits.mean[split]
        source = data()
        np.testing.assert_allclose(units, source.y[source.train[split]], rtol=1e-5)
        seen = splits.test_y[split][splits.test_weight[split] > 0]
        np.testing.assert_allclose(seen, source.y[source.test[split]], rtol=1e-6)


@pytest.mark.slow
def test_rows_that_are_not_there_change_no_network_and_no_score(splits, variables):
    other = fit(RECIPE, with_junk(splits))
    jax.tree.map(np.testing.assert_array_equal, other, variables)
    scores = judge(RECIPE, variables, splits, num_samples=4)
    with_others = judge(RECIPE, variables, with_junk(splits), num_samples=4)
    for name in ("weight_scaling", "rmse", "log_likelihood"):
        np.testing.assert_array_equal(getattr(with_others, name), getattr(scores, name))


@pytest.mark.slow
def test_training_fits_a_line(splits):
    recipe = RECIPE.given(rate=0.0, epochs=300, hidden=20)
    scores = judge(recipe, fit(recipe, splits), splits, num_samples=1)
    assert (scores.weight_scaling < 0.3 * splits.scale).all()


@pytest.mark.slow
def test_scores_are_of_the_mean_of_the_samples(splits, variables):
    scores = judge(RECIPE, variables, splits, num_samples=6)
    again = judge(RECIPE, variables, splits, num_samples=6)
    np.testing.assert_array_equal(scores.mean, again.mean)
    assert (scores.rmse != scores.weight_scaling).all()
    there = splits.test_weight > 0
    assert (scores.std[there] > RECIPE.tau**-0.5).all()  # the noise, and more
    squares = (np.asarray(scores.mean) - splits.test_y) ** 2
    expected = np.sqrt(average(squares, splits))
    np.testing.assert_allclose(scores.rmse, expected, rtol=1e-5)


def test_without_dropout_all_samples_are_the_same_pass(splits, variables):
    scores = judge(RECIPE.given(rate=0.0), variables, splits, num_samples=5)
    np.testing.assert_allclose(scores.rmse, scores.weight_scaling, rtol=1e-5)
    noise = RECIPE.tau**-0.5
    np.testing.assert_allclose(scores.std, noise, rtol=1e-5)
    density = stats.norm.logpdf(splits.test_y, np.asarray(scores.mean), noise)
    expected = average(density, splits)
    np.testing.assert_allclose(scores.log_likelihood, expected, rtol=1e-4)


def test_settings_of_the_command_line_replace_the_published_ones():
    recipe = lambda *given: mc_dropout_uci._recipe(arguments(*given))
    yacht = SETTINGS["yacht"]
    assert recipe("--dataset", "yacht") == yacht
    assert recipe("--dataset", "yacht", "--quick").epochs == 40
    long = recipe("--dataset", "yacht", "--long")
    assert long == yacht.given(epochs=4000, batch_size=128)
    some = recipe("--dataset", "yacht", "--long", "--epochs", "7", "--rate", "0")
    assert some == yacht.given(rate=0.0, epochs=7, batch_size=128)
    assert recipe(
        "--dataset", "other", "--tau", "2", "--seed", "3"
    ) == RegressionRecipe(rate=0.05, tau=2.0, length_scale=1e-2, seed=3)


def test_published_results_are_those_of_just_this_recipe():
    boston = SETTINGS["bostonHousing"]
    published = lambda recipe, long=False: published_for("bostonHousing", recipe, long)
    assert published(boston) == PUBLISHED["bostonHousing"]
    assert published(boston.given(seed=9)) == PUBLISHED["bostonHousing"]
    assert published(boston.given(rate=0.0)) == WITHOUT_DROPOUT["bostonHousing"]
    assert published(boston.given(epochs=40)) == ()
    assert published(boston, long=True) == ()
    long = boston.given(epochs=4000, batch_size=128)
    assert published(long, long=True) == LONG["bostonHousing"]
    assert published_for("diabetes", SETTINGS["diabetes"], False) == ()
    assert published_for("unheard-of", boston, False) == ()
    assert set(LONG) < set(PUBLISHED) < set(SETTINGS)


SCORES = Scores(*np.array([[3.0, 5.0], [2.0, 4.0], [-2.0, -1.0]]), None, None)


def test_the_table_has_means_errors_medians_and_what_was_published():
    def lines(published):
        return printed(records.table(SCORES, published, "a title"))

    found = lines(("3.5", "2.97 ± 0.19", "-2.46 ± 0.06"))
    rmse = next(line for line in found.splitlines() if "RMSE, MC" in line)
    assert "3 ± 1" in rmse and "2.97 ± 0.19" in rmse
    assert "-1.5 ± 0.5" in found and lines(()).count("–") == 3


@pytest.mark.slow
def test_the_figure_shows_splits_and_rows_that_are_there(splits, variables):
    scores = jax.device_get(judge(RECIPE, variables, splits, num_samples=4))
    published = ("–", "0.5 ± 0.1", "-2 ± 0.1")
    figure = figures.draw(scores, splits, published, "a title")
    rmse, likelihood, rows, levels = figure.axes
    shown = rows.get_lines()[1].get_xdata()
    there = splits.test_weight > 0
    assert set(shown) == set(splits.test_y[there])
    assert rmse.get_lines()[-1].get_ydata()[0] == 0.5
    assert likelihood.get_lines()[-1].get_ydata()[0] == -2
    names = [text.get_text() for text in rmse.get_legend().get_texts()]
    assert "published, mean ± standard error" in names
    away = figures.difference(scores.rmse, figures.Published.of(published[1]))
    assert rmse.get_title().startswith(f"RMSE: {away:+.1f} standard errors")
    inside = abs(splits.test_y - scores.mean) <= 1.959964 * scores.std
    assert f"hold {100 * inside[there].mean():.1f} %" in levels.get_title()


def test_published_scores_are_read_with_their_error_and_rounding():
    assert figures.Published.of("–") is None
    boston = figures.Published.of("2.97 ± 0.19")
    assert boston == (2.97, 0.19, pytest.approx(0.01 / 12**0.5))
    assert figures.Published.of("-2.46 ± 0.06").mean == -2.46
    assert np.isnan(figures.Published.of("8.849").error)
    values = np.array([2.0, 4.0])  # mean 3 ± 1
    away = figures.difference(values, figures.Published(2.0, 0.0, 0.0))
    assert away == pytest.approx(1.0)
    both = figures.difference(values, figures.Published(2.0, 1.0, 1.0))
    assert both == pytest.approx(3**-0.5)


def test_a_precision_that_nobody_knows_is_asked_for(monkeypatch, capsys):
    monkeypatch.setattr(mc_dropout_uci, "load_regression", lambda *_: data())
    monkeypatch.setattr(sys, "argv", ["mc_dropout_uci.py", "--dataset", "mine"])
    with pytest.raises(SystemExit) as caught:
        mc_dropout_uci.main()
    assert caught.value.code == 2 and "mine needs --tau" in capsys.readouterr().err


@pytest.mark.slow
def test_a_small_run_writes_its_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mc_dropout_uci, "load_regression", lambda *_: data())
    small = "--dataset yacht --epochs 2 --hidden 3 --samples 4 --validate"
    argv = ["mc_dropout_uci.py", *small.split(), "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    mc_dropout_uci.main()
    output = capsys.readouterr().out
    assert "40 rows, 2 splits" in output and "2 epochs, 4 samples" in output
    name = "mc_dropout_uci_yacht_2_epochs"
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {f"{name}.png", f"{name}.json"}
    kept = content_of(tmp_path / f"{name}.json")
    assert kept["recipe"]["rate"] == SETTINGS["yacht"].rate
    assert kept["published"] == {} and kept["splits"] == 2
    mean = np.mean(kept["scores"]["log_likelihood"])
    assert f"{mean:.4g}" in output


def test_another_rate_or_length_is_said_in_the_name_of_a_file():
    yacht = SETTINGS["yacht"]
    name_of = lambda recipe: records.name_of("yacht", recipe, yacht)
    assert name_of(yacht) == "mc_dropout_uci_yacht"
    assert name_of(yacht.given(rate=0.0)) == "mc_dropout_uci_yacht_rate_0"
    long = yacht.given(rate=0.0, epochs=4000)
    assert name_of(long) == "mc_dropout_uci_yacht_rate_0_4000_epochs"
    assert records.name_of("mine", yacht, None) == "mc_dropout_uci_mine"
