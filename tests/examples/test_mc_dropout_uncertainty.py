"""What samples know that one pass does not: answers, their scores and their figure."""

import jax
import jax.numpy as jnp
import mc_dropout_uncertainty as example
import numpy as np
import pytest
from flax import nnx
from reading import lines_of, printed
from scipy import special

import jaxdrop
from data import Split, load
from jaxdrop import mc, metrics
from study.recipe import ImageRecipe
from uncertainty.answers import COUNTS, by_one_pass, by_samples, errors_by_count
from uncertainty.figures import MC_DROPOUT, WEIGHT_SCALING, draw
from uncertainty.network import Network, train

RECIPE = ImageRecipe(
    hidden=(8,), rates=(0.1, 0.3), batch_size=20, learning_rate=1e-2, epochs=3
)


@pytest.fixture(scope="module")
def images():
    return load("digits", train_size=100)


@pytest.fixture(scope="module")
def model(images):
    return train(RECIPE, images.train, seed=0)


@pytest.fixture(scope="module")
def asked(images):
    return images.test.take(np.arange(60))


@pytest.fixture(scope="module")
def answers(images, model, asked):
    strange = example._others("digits", images, None)[:40]
    key = jax.random.key(1)
    return {
        WEIGHT_SCALING: (by_one_pass(model, asked.x), by_one_pass(model, strange)),
        MC_DROPOUT: tuple(by_samples(key, model, x, 9) for x in (asked.x, strange)),
    }


def test_training_learns_and_ends_in_evaluation(images, model, asked):
    call = nnx.jit(lambda model, x: model(x))
    np.testing.assert_array_equal(call(model, asked.x), call(model, asked.x))
    untrained = Network((64, 8, 10), RECIPE.rates, nnx.Rngs(0))
    untrained.eval()
    loss = lambda model: metrics.negative_log_likelihood(call(model, asked.x), asked.y)
    assert loss(model) < loss(untrained)


def test_a_seed_decides_everything(images, model):
    leaves = lambda model: jax.tree.leaves(nnx.state(model, nnx.Param))
    same = train(RECIPE, images.train, seed=0)
    other = train(RECIPE, images.train, seed=1)
    for a, b, c in zip(leaves(model), leaves(same), leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
        assert (np.asarray(a) != np.asarray(c)).any()


def test_rates_are_of_the_pixels_and_of_hidden_layers():
    network = Network((4, 3, 3, 2), (0.1, 0.3), nnx.Rngs(0))
    assert [drop.rate for drop in network.drops] == [0.1, 0.3, 0.3]


def test_one_pass_has_an_entropy_and_no_disagreement(answers, model, asked):
    found = answers[WEIGHT_SCALING][0]
    probs = special.softmax(nnx.jit(lambda model, x: model(x))(model, asked.x), -1)
    np.testing.assert_allclose(found.probs, probs, rtol=1e-5)
    entropy = -(probs * np.log(probs)).sum(-1)
    np.testing.assert_allclose(found.entropy, entropy, rtol=1e-4)
    assert np.isnan(found.information).all()


def test_samples_disagree_by_less_than_their_mean_is_unsure(answers):
    found = answers[MC_DROPOUT][0]
    probs = np.asarray(found.probs)
    np.testing.assert_allclose(probs.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        found.entropy, -(probs * np.log(probs)).sum(-1), rtol=1e-4
    )
    assert ((found.information > 0) & (found.information < found.entropy)).all()


@pytest.mark.slow
def test_errors_by_count_are_those_of_all_samples_at_once(model, asked):
    keys = jax.random.split(jax.random.key(2), 3)
    errors = errors_by_count(keys, model, asked.x, asked.y)
    assert errors.shape == (len(COUNTS), 3)
    for row in (0, 2, len(COUNTS) - 1):
        stats = mc.predict(
            jaxdrop.nnx.mc_apply,
            keys[1],
            model,
            asked.x,
            num_samples=COUNTS[row],
            reducers=mc.categorical(num_groups=0),
        ).stats
        wrong = (stats["mean"].argmax(-1) != asked.y).mean()
        assert float(errors[row, 1]) == pytest.approx(float(wrong), abs=0.02)


def test_strange_images_are_the_pixels_of_others_in_disorder(images):
    strange = example._others("digits", images, None)
    np.testing.assert_array_equal(
        np.sort(strange, axis=1), np.sort(images.test.x, axis=1)
    )
    moved = (strange != images.test.x).any(1)
    assert moved.all()
    assert len({tuple(np.argsort(row, kind="stable")) for row in strange[:9]}) == 9


def test_the_table_has_what_the_metrics_say(answers, asked):
    lines = printed(example.scores(answers, asked.y, "a title")).splitlines()
    rows = {
        name: next(line for line in lines if name in line).split()
        for name in (WEIGHT_SCALING, MC_DROPOUT)
    }
    for name, (known, strange) in answers.items():
        error = 100 * (known.probs.argmax(-1) != asked.y).mean()
        nll = metrics.negative_log_likelihood(jnp.log(known.probs), asked.y)
        entropies = jnp.concatenate([known.entropy, strange.entropy])
        by_entropy = metrics.auroc(entropies, np.arange(100) >= 60)
        cells = rows[name][2:]
        assert cells[:2] == [f"{error:.2f}", f"{nll:.3f}"]
        assert cells[4] == f"{by_entropy:.3f}"
    assert rows[WEIGHT_SCALING][-1] == "–" and rows[MC_DROPOUT][-1] != "–"


def test_a_smaller_tolerance_asks_for_more_samples(model, asked, monkeypatch):
    monkeypatch.setattr(example, "TOLERANCES", (0.1, 0.008))
    lines = lines_of(example.tolerances(jax.random.key(0), model, asked.x, asked.y))
    cells = [line for line in lines if "yes" in line]
    assert [row[0] for row in cells] == ["0.1", "0.008"]
    assert int(cells[0][1]) < int(cells[1][1]) < 1024
    assert all(float(row[2]) <= float(row[0]) for row in cells)


def test_the_figure_has_four_panels(answers, asked):
    errors = {count: np.array([0.2, 0.3]) for count in COUNTS}
    figure = draw(answers, asked.y, errors, "a title")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["Averaging samples", "Calibration", "Rejection", "Strange images"]


def test_fewer_images_than_a_batch_are_learned_all_the_same():
    images = Split(np.ones((3, 4), np.float32), np.zeros(3, np.int32))
    recipe = ImageRecipe(
        hidden=(4,), rates=(0.0, 0.0), batch_size=50, learning_rate=0.1, epochs=3
    )
    logits = train(recipe, images, seed=0)(images.x)
    untrained = Network((4, 4, 10), (0.0, 0.0), nnx.Rngs(0))(images.x)
    assert (logits[:, 0] > untrained[:, 0]).all()
