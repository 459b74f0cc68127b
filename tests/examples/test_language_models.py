"""The language models of characters: their networks, training, schedules, reports."""

import io
from dataclasses import replace

import char_rnn
import char_transformer
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from reading import content_of, lines_of, rows_of
from rich.console import Console
from rich.measure import Measurement

from chance import normal
from data import Text
from jaxdrop.nnx import Rate
from text import report
from text.recurrent import METHODS, StepDropoutCell, WeightDroppedLSTM
from text.training import Curves, Scores, TextRecipe, Trainer
from text.transformer import CharacterTransformer, Rates
from text.windows import one_pass, windows_at
from text.writing import write

METHOD = {method.key: method for method in METHODS}
TINY = TextRecipe(
    rounds=2, steps=3, batch_size=8, length=6, context=2, learning_rate=1e-2
)
RATES = Rates(embedding=0.1, attention=0.1, residual=0.2, depth=0.1)


@pytest.fixture(scope="module")
def text():
    """Ten characters in a pattern with noise."""
    noise = np.random.default_rng(0).integers(3, size=400)
    ids = ((np.arange(400) + noise) % 10).astype(np.int32)
    return Text("abcdefghij", *np.split(ids, [300, 350]))


def lstm(method, key):
    return METHOD[method].network(10, 4, 8, nnx.Rngs(key))


def transformer(key, rates=RATES):
    return CharacterTransformer(
        10, length=6, width=8, num_blocks=1, heads=2, rates=rates, rngs=nnx.Rngs(key)
    )


BUILDS = {
    method: (lambda key, method=method: lstm(method, key)) for method in METHOD
} | {"transformer": transformer}
by_network = pytest.mark.parametrize("build", list(BUILDS.values()), ids=list(BUILDS))


@nnx.jit
def passes(network, *ids):
    """One pass of a network for each array of characters."""
    return [network(each) for each in ids]


@by_network
def test_a_network_is_random_if_it_has_a_rate(build, text, key):
    network, ids = build(key), text.test[None, :6]
    rates = jax.tree.leaves(nnx.state(network, Rate))
    first, second = np.asarray(passes(network, ids, ids))
    differ = bool((first != second).any())
    assert differ == any(float(rate) > 0 for rate in rates)


@by_network
def test_no_noise_is_left_in_evaluation(build, text, key):
    network, ids = build(key), text.test[None, :6]
    network.eval()
    first, second = passes(network, ids, ids)
    np.testing.assert_array_equal(first, second)


@by_network
def test_a_network_does_not_see_what_it_predicts(build, text, key):
    network, ids = build(key), text.test[None, :6]
    network.eval()
    changed = ids.copy()
    changed[0, 4:] = (changed[0, 4:] + 1) % 10
    before, after = np.asarray(passes(network, ids, changed))
    np.testing.assert_allclose(before[:, :4], after[:, :4], atol=1e-5)
    assert np.abs(before[:, 4:] - after[:, 4:]).max() > 1e-3


def test_methods_around_the_loop_evaluate_as_the_plain_network(text, key):
    """Zoneout alone evaluates otherwise, by an expectation."""
    ids, equal = text.test[None, :6], {}
    plain = lstm("none", key)
    params = jax.tree.leaves(nnx.state(plain, nnx.Param))
    plain.eval()
    expected = passes(plain, ids)
    for method in METHOD:
        network = lstm(method, key)
        graphdef, own, rest = nnx.split(network, nnx.Param, ...)
        own = jax.tree.unflatten(jax.tree.structure(own), params)
        network = nnx.merge(graphdef, own, rest)
        network.eval()
        equal[method] = np.allclose(passes(network, ids), expected, atol=1e-6)
    assert [method for method, same in equal.items() if not same] == ["zoneout"]


class Remembers(nnx.RNNCellBase):
    """Keeps its state, and gives it out."""

    num_feature_axes = 1

    def initialize_carry(self, input_shape, rngs=None):
        """Ones."""
        return (jnp.ones(input_shape), jnp.ones(input_shape))

    def __call__(self, carry, inputs):
        """Gives out what it got."""
        return (carry[0], jnp.ones_like(carry[1])), carry[1]


def test_the_naive_cell_draws_a_mask_at_every_step(key):
    cell = StepDropoutCell(Remembers(), Rate(0.5), rngs=nnx.Rngs(key))
    (outputs,) = passes(nnx.RNN(cell), jnp.zeros((1, 40, 64)))
    outputs = np.asarray(outputs)
    assert set(np.unique(outputs)) == {0.0, 2.0}
    assert len(np.unique(outputs[0], axis=0)) == 40


def test_weight_drop_masks_the_recurrent_kernel_once_a_sequence(key):
    """An LSTM without the recurrent kernel treats equal inputs equally but for memory.

    With all of that kernel dropped the outputs are those of a kernel of zeros.
    """
    layer = WeightDroppedLSTM((3, 4), Rate(1.0), rngs=nnx.Rngs(key))
    x = normal(2, 5, 3)
    dropped = np.asarray(passes(layer, x))
    layer.eval()
    whole = np.asarray(passes(layer, x))
    layer.rnn.cell.dense_h.kernel[...] = jnp.zeros((4, 16))
    np.testing.assert_allclose(dropped, passes(layer, x), atol=1e-6)
    assert np.abs(whole - dropped).max() > 1e-3


def test_weight_drop_leaves_the_parameters_as_they_are(key):
    layer = WeightDroppedLSTM((3, 4), Rate(0.5), rngs=nnx.Rngs(key))
    before = jax.device_get(jax.tree.leaves(nnx.state(layer, nnx.Param)))
    passes(layer, jnp.ones((2, 5, 3)))
    for old, new in zip(
        before, jax.tree.leaves(nnx.state(layer, nnx.Param)), strict=True
    ):
        assert (old == new).all()


@pytest.fixture(scope="module")
def seeds():
    return jax.random.split(jax.random.key(3), 2)


def trainer_of(build, text, seeds, **options):
    """A trainer whose networks come from a function of a key."""
    return Trainer(lambda rngs: build(rngs.params()), TINY, text, seeds, **options)


def share(value, runs=2):
    return np.full((runs, TINY.num_steps), value)


def nothing():
    """Moves no progress bar."""


@pytest.fixture(scope="module")
def trained(text, seeds):
    """A transformer's trainer, and what it gives by three schedules."""
    trainer = trainer_of(transformer, text, seeds, devices=jax.devices()[:1])
    by_share = {value: trainer.run(share(value), nothing) for value in (0.0, 1.0)}
    steps = np.linspace(1, 0, TINY.num_steps)
    by_share["early"] = trainer.run(np.tile(steps, (2, 1)), nothing)
    return trainer, by_share


@pytest.mark.slow
def test_schedules_share_one_compilation_and_differ(trained):
    trainer, by_share = trained
    assert trainer.num_traces == 1
    last = [curves.train[0, -1] for _, curves, _ in by_share.values()]
    assert len(set(last)) == 3


@pytest.mark.slow
def test_at_a_strength_of_zero_nothing_is_dropped(trained, text):
    states = trained[1][1.0][0]
    state = jax.tree.map(lambda leaf: leaf[0], states)
    ids = text.test[None, :6]
    logits = {share: state.network(state.params, share)(ids) for share in (0.0, 1.0)}
    network = state.network(state.params)
    network.eval()
    np.testing.assert_allclose(network(ids), logits[0.0], atol=1e-5)
    assert jnp.abs(network(ids) - logits[1.0]).max() > 1e-3


@pytest.mark.slow
def test_training_on_eight_devices_is_training_on_one(trained, text, seeds):
    trainer = trainer_of(transformer, text, seeds, devices=jax.devices())
    assert trainer.program.mesh.size == 8
    state, curves, _ = trainer.run(share(1.0), nothing)
    one_state, one_curves, _ = trained[1][1.0]
    np.testing.assert_allclose(curves.validation, one_curves.validation, rtol=1e-4)
    for a, b in zip(
        jax.tree.leaves(state.params), jax.tree.leaves(one_state.params), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.slow
def test_seeds_trained_together_are_as_each_trained_alone(text, seeds):
    build = BUILDS["locked+weight-drop"]
    together = trainer_of(build, text, seeds).run(share(1.0), nothing)[1]
    alone = trainer_of(build, text, seeds[1:]).run(share(1.0, 1), nothing)[1]
    np.testing.assert_allclose(together.train[1:], alone.train, rtol=1e-4)
    assert (together.train[0] != together.train[1]).all()


@pytest.mark.slow
def test_training_learns_and_the_best_parameters_are_those_of_the_best_round(
    trained, text
):
    trainer, by_share = trained
    state, curves, _ = by_share[0.0]
    assert (curves.train[:, 1] < curves.train[:, 0]).all()
    np.testing.assert_allclose(state.best.best, curves.validation.min(1), rtol=1e-6)
    again = trainer._score(state, state.best.best_params, trainer.watched[1:])[0]
    np.testing.assert_allclose(again, curves.validation.min(1), rtol=1e-5)


def test_early_dropout_goes_from_all_to_nothing_in_half_the_time():
    methods = char_transformer.schedules_of(10)
    assert methods["early dropout"].tolist() == [1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0, 0]
    assert not methods["none"].any() and methods["dropout"].all()


def test_tuning_gives_each_run_the_rate_that_it_says(
    text, seeds, monkeypatch, tmp_path
):
    given = []

    class Recorder:
        """Trains nothing; the rate itself is the score."""

        def __init__(self, build, recipe, text, seeds):
            self.seeds = seeds

        def run(self, strengths, after_round):
            """Scores that are easy to recognize."""
            given.append(strengths)
            scores = 1 + strengths[:, :2]
            return None, Curves(scores, scores), 0.0

    monkeypatch.setattr(char_rnn, "Trainer", Recorder)
    monkeypatch.setattr(char_rnn, "RATES", np.array([0.1, 0.4]))
    console = Console(width=100, record=True, file=io.StringIO())
    methods = [METHOD["none"], METHOD["locked"]]
    char_rnn.tune(methods, TINY, text, seeds, console, tmp_path, "a title")
    (strengths,) = given
    rates = METHOD["locked"].locked * strengths
    np.testing.assert_allclose(rates[:, 0], [0.1, 0.1, 0.4, 0.4])
    assert (rates == rates[:, :1]).all()
    shares = [1 + rate / METHOD["locked"].locked for rate in (0.1, 0.4)]
    cells = [f"{share:.3f}±0.000" for share in shares]
    assert all(cell in console.export_text(clear=False) for cell in cells)
    assert (tmp_path / "char_rnn_rates.png").stat().st_size > 1000


class Successor(nnx.Module):
    """Is sure that the next number follows the last."""

    def __call__(self, ids):
        """Logits."""
        return 100 * jax.nn.one_hot((ids + 1) % 10, 10)


def test_writing_goes_on_from_the_prompt(key):
    ids = write(key, Successor(), jnp.array([3, 9, 4]), count=8)
    assert ids.tolist() == [5, 6, 7, 8, 9, 0, 1, 2]


@pytest.mark.slow
def test_what_is_written_is_of_the_alphabet(trained, text):
    state = trained[1][1.0][0]
    written = char_transformer.continue_text(state, text, TINY, count=20)
    prompt, new = written.split(" ▸▸▸ ")
    assert prompt == text.read(text.test[:6])
    assert len(new) == 20 and set(new) <= set(text.alphabet)


def outcomes(names=("none", "dropout")):
    """Methods with scores that are easy to recognize, of two seeds."""
    validation = np.array([[3.0, 2.0, 2.5], [3.0, 2.2, 2.1]])
    curves = Curves(validation - 1, validation)
    return [
        report.Outcome(
            name,
            curves._replace(validation=validation + number),
            Scores(np.array([2.0, 2.2]) + number, np.array([2.4, 2.6]) + number),
            7.2,
        )
        for number, name in enumerate(names)
    ]


def test_the_table_has_means_standard_errors_and_the_step_of_the_best():
    lines = lines_of(report.table(outcomes(), title="a title", round_steps=10))
    row = next(line for line in lines if line[0] == "dropout")
    expected = ["3.05±0.05", "3.10±0.10", "3.50±0.10", "1.30", "25", "7"]
    assert row == ["dropout", *expected]


def test_the_verdict_is_of_the_parameters_that_are_asked_for():
    few = outcomes(("none", "dropout"))
    assert "too few to compare" in report.verdict(few, where="On a text")
    runs = np.array([2.0, 2.1, 2.2])
    far = [
        few[0]._replace(scores=Scores(runs, runs)),
        few[1]._replace(scores=Scores(runs - 1, runs)),
    ]
    said = report.verdict(far, where="On a text")
    assert said.startswith("On a text, dropout lowers the bits per test character")
    said = report.verdict(far, where="On a text", last=True)
    assert said.startswith("On a text, dropout does not lower")
    assert "nothing to compare" in report.verdict(few[:1], where="On a text")


def test_the_json_file_has_every_seed(tmp_path):
    path = tmp_path / "results.json"
    report.write_json(path, outcomes(), title="a title", recipe={"rounds": 3})
    none, dropout = content_of(path)["methods"]
    assert (none["name"], dropout["name"]) == ("none", "dropout")
    assert none["strength"] is None and dropout["strength"] is None
    assert dropout["best_test"] == pytest.approx([3.0, 3.2])
    assert dropout["best_validation"] == pytest.approx([3.0, 3.1])


def test_the_strength_of_a_method_is_its_rates():
    assert METHOD["none"].strength == {}
    assert METHOD["naive"].strength == {"rate": 0.4}
    assert METHOD["locked"].strength == {"locked": 0.1}
    assert METHOD["locked+weight-drop"].strength == {"rate": 0.3, "locked": 0.3}


def test_in_one_pass_no_target_is_seen_twice(key):
    starts = one_pass(key, 100, steps=3, count=4, length=8)
    windows = windows_at(starts.ravel(), jnp.arange(100), length=8)
    targets = windows.targets.ravel().tolist()
    assert len(set(targets)) == len(targets) == 3 * 4 * 8
    assert (windows.targets == windows.inputs + 1).all()
    with pytest.raises(ValueError, match="take fewer steps"):
        one_pass(key, 96, steps=3, count=4, length=8)


def test_a_recipe_of_one_pass_has_as_many_steps_as_the_text(text):
    small = replace(char_transformer.RECIPE, length=6, batch_size=2)
    recipe = char_transformer.of_one_pass(small, text, 4)
    windows, of_a_round = (len(text.train) - 1) // 6, 2 * recipe.rounds
    used = recipe.num_steps * recipe.batch_size
    assert recipe.one_pass and windows - of_a_round < used <= windows


@pytest.mark.slow
def test_one_pass_trains_on_other_windows_by_the_same_code(trained, text, seeds):
    recipe = replace(TINY, one_pass=True)
    trainer = Trainer(
        lambda rngs: transformer(rngs.params()),
        recipe,
        text,
        seeds,
        devices=jax.devices()[:1],
    )
    _, curves, _ = trainer.run(share(1.0), nothing)
    other = trained[1][1.0][1]
    assert (curves.train[:, 1] < curves.train[:, 0]).all()
    assert (curves.train != other.train).any()


def test_the_table_of_all_methods_fits_80_columns():
    rows = outcomes([method.name for method in METHODS])
    rows = [row._replace(seconds=151.2) for row in rows]
    measured = report.table(rows, title="a title", round_steps=400)
    assert Measurement.get(Console(), Console().options, measured).maximum <= 80


def test_the_file_has_a_row_for_each_method_and_seed(tmp_path):
    report.write_csv(tmp_path / "results.csv", outcomes())
    rows = rows_of(tmp_path / "results.csv")
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("none", "0"),
        ("none", "1"),
        ("dropout", "0"),
        ("dropout", "1"),
    ]
    assert float(rows[3]["best_validation"]) == pytest.approx(3.1)
    assert float(rows[3]["best_test"]) == pytest.approx(3.2)
    assert float(rows[3]["last_test"]) == pytest.approx(3.6)


def test_the_figures_show_every_method():
    curves = report.learning_curves(outcomes(), title="a title", round_steps=10)
    assert [len(axes.lines) for axes in curves.axes] == [2, 2]
    assert curves.axes[1].lines[1].get_ydata().tolist() == [4.0, 3.1, 3.3]
    assert curves.axes[1].lines[1].get_xdata().tolist() == [10, 20, 30]
    scores = report.test_scores(outcomes(), title="a title")
    names = [label.get_text() for label in scores.axes[0].get_yticklabels()]
    assert names == ["none", "dropout"]
