"""Regularizers of a residual network: their places, their rates, and the report."""

import image_regularizers
import jax
import jax.numpy as jnp
import legible
import numpy as np
import pytest
from flax import nnx
from jax import lax
from reading import content_of, lines_of, rows_of
from rich.console import Console
from rich.measure import Measurement

from chance import normal
from data import Images, Split, load
from residual import figures, report
from residual.methods import ALL_METHODS, METHODS, TIMED_METHODS, cutout, mixup
from residual.network import Shape, by_matrix_product
from residual.training import (
    Program,
    ResidualRecipe,
    Scores,
    Trainer,
    evaluate,
    predict,
)

METHOD = {method.key: method for method in METHODS}
SHAPE = Shape(width=2, blocks_per_stage=1)
RECIPE = ResidualRecipe(
    shape=SHAPE,
    train_size=20,
    epochs=2,
    batch_size=10,
    learning_rate=1e-2,
)
one_of_each_place = pytest.mark.parametrize(
    "name", ["mixup", "dropout", "dropblock", "subset-stochastic-depth"]
)


@pytest.fixture(scope="module")
def images():
    digits = image_regularizers.as_maps(load("digits", train_size=20).standardized())
    few = Split(digits.test.x[:130], digits.test.y[:130])
    return Images(digits.train, few, few, digits.shape)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("sides", "window"), [((8, 5), 3), ((7, 6), 1), ((7, 6), 3)])
def test_a_convolution_is_a_matrix_product(sides, window, stride):
    x, kernel = normal(2, *sides, 3), normal(window, window, 3, 4, seed=1)
    layout = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    expected = lax.conv_general_dilated(
        x, kernel, strides, "SAME", dimension_numbers=layout
    )
    of_both = jax.jit(by_matrix_product, static_argnums=(2, 3))
    product = of_both(x, kernel, strides, "SAME")
    np.testing.assert_allclose(product, expected, rtol=1e-4, atol=1e-4)


def rates_of(name, step, strength=0.4):
    rates = METHOD[name].rates(strength, jnp.int32(step), 10, 4)
    return np.asarray(rates).round(6).tolist()


def test_rates_follow_depth_and_time_as_published():
    assert rates_of("spatial-dropout", 0) == pytest.approx([0.4] * 4)
    assert rates_of("dropblock", 0) == [0] * 4
    assert rates_of("dropblock", 5) == pytest.approx([0.2] * 4)
    assert rates_of("stochastic-depth", 0) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert rates_of("subset-stochastic-depth", 9) == rates_of("stochastic-depth", 0)
    assert rates_of("scheduled-drop-path", 5) == pytest.approx([0.05, 0.1, 0.15, 0.2])


@pytest.fixture(scope="module")
def networks():
    """One of each method, with rates that drop a lot."""
    made = {}
    for method in METHODS:
        network = method.network(0.5, SHAPE, nnx.Rngs(0))
        network.set_rates(jnp.full(SHAPE.num_blocks, 0.5), 0.5)
        made[method.key] = nnx.split(network)
    return made


@jax.jit
def twice(graphdef, state, x):
    network = nnx.merge(graphdef, state, copy=True)
    return network(x), network(x)


@pytest.mark.slow
@one_of_each_place
def test_passes_differ_if_there_is_noise_in_the_network(name, networks, images):
    first, second = twice(*networks[name], images.train.x[:6])
    assert bool((first != second).any()) == (METHOD[name].augment is None)


def test_noise_in_the_last_stage_leaves_the_first_alone(networks):
    network = nnx.merge(*networks["spatial-dropout"])
    has_rate = [hasattr(block.branch.noise, "rate") for block in network.blocks]
    assert has_rate == [False, True]


def test_the_noise_of_a_branch_comes_after_its_last_normalization(networks, images):
    graphdef, state = networks["stochastic-depth"]
    network = nnx.merge(graphdef, state, copy=True)
    network.set_rates(jnp.ones(SHAPE.num_blocks), 0.0)
    of_branch = nnx.jit(lambda net, x: net.blocks[0].branch(net.maps(x)))
    np.testing.assert_array_equal(of_branch(network, images.train.x), 0)


def test_a_branch_on_a_subset_sees_a_part_of_the_batch(networks):
    network = nnx.merge(*networks["subset-stochastic-depth"])
    assert [block.branch.rate for block in network.blocks] == [0.25, 0.5]
    out = nnx.jit(lambda net, x: net.blocks[0].branch(x))(network, normal(8, 4, 4, 2))
    out = np.asarray(out)
    assert int((out != 0).any(axis=(1, 2, 3)).sum()) == 6


def test_cutout_erases_to_the_mean_and_leaves_labels(key):
    x, labels = jnp.ones((5, 8, 8)), jnp.eye(10)[:5]
    erased, same = cutout(key, x, labels, 3)
    assert (same == labels).all()
    lost = (erased == 0).sum(axis=(1, 2))
    assert lost.min() >= 4 and lost.max() <= 9


def test_mixup_mixes_images_and_labels_alike(key):
    labels = jnp.eye(10)[:5]
    x = jnp.broadcast_to(jnp.arange(5.0)[:, None, None], (5, 8, 8))
    mixed, shares = mixup(key, x, labels, 0.4)
    np.testing.assert_allclose(
        mixed[:, 0, 0], shares[:, :5] @ jnp.arange(5.0), rtol=1e-5
    )


@pytest.fixture(scope="module")
def trainer(images):
    return Trainer(METHOD["stochastic-depth"], RECIPE, images)


@pytest.fixture(scope="module")
def trained(trainer):
    ticks = []
    one = trainer.train(0, 0.5, lambda: ticks.append(0))
    assert len(ticks) == RECIPE.epochs
    return one


@pytest.mark.slow
def test_all_seeds_and_strengths_are_one_program(trainer, trained):
    weaker = trainer.train(0, 0.0, lambda: None)
    other = trainer.train(1, 0.5, lambda: None)
    assert len(trainer.compiled) == 1
    for one in (weaker, other):
        pairs = zip(
            jax.tree.leaves(one.state.params),
            jax.tree.leaves(trained.state.params),
            strict=True,
        )
        assert any(bool((a != b).any()) for a, b in pairs)


@pytest.mark.slow
def test_rates_in_the_end_are_those_of_the_last_step(trained):
    rates = [float(rate[...]) for rate in trained.state.network.rates]
    assert rates == pytest.approx([0.25, 0.5])


@pytest.mark.slow
def test_normalizations_have_seen_data_and_checks_are_of_the_network(trained, images):
    network = trained.state.network
    assert (network.stem_norm.mean[...] != 0).any()
    scores = evaluate(trained.state, images.validation)
    assert scores.error == trained.checks.error[-1]
    assert trained.checks.nll.shape == (RECIPE.epochs,)
    assert trained.seconds > 0


@pytest.mark.slow
def test_scores_in_chunks_are_those_of_the_whole(trained, images):
    scores = evaluate(trained.state, images.test)
    logits = predict(trained.state, images.test.x)
    log_probs = jax.nn.log_softmax(logits)
    rows = np.arange(130)
    assert float(scores.nll) == pytest.approx(
        -float(log_probs[rows, images.test.y].mean()), rel=1e-4
    )
    assert scores.error == pytest.approx(
        float((logits.argmax(-1) != images.test.y).mean())
    )


def test_methods_start_with_the_same_weights():
    starts = [
        jax.tree.leaves(Program(METHOD[name], RECIPE).init(3, 0.5).params)
        for name in ("none", "dropblock")
    ]
    for a, b in zip(*starts, strict=True):
        assert (a == b).all()


def outcome(name, *, error, nll=0.5, strength=None):
    method = METHOD[name]
    error = np.array(error)
    wrong = np.arange(400) < 400 * error[:, None]
    checks = Scores(
        np.stack([error + 0.1, error], 1), np.full((len(error), 2), nll), wrong
    )
    return report.Outcome(
        method,
        method.strength if strength is None else strength,
        checks,
        Scores(error, np.full(len(error), nll), wrong),
        Scores(error / 2, np.full(len(error), nll / 2), wrong),
        np.full(len(error), 0.02),
    )


OUTCOMES = [
    outcome("none", error=[0.10, 0.12, 0.11]),
    outcome("mixup", error=[0.02, 0.04, 0.03]),
    outcome("cutout", error=[0.10, 0.12, 0.11]),
    outcome("dropblock", error=[0.30, 0.33, 0.31]),
]


def test_the_table_has_gains_over_the_first_method_seed_by_seed():
    rows = {
        line[0]: line[1:]
        for line in lines_of(report.scores(OUTCOMES, title="t"), width=120)
    }
    assert rows["none"][1:4] == ["11.0±0.6", "–", "–"]
    assert rows["mixup"][2:4] == ["3.0±0.6", "8.0"]
    assert rows["DropBlock"][2:4] == ["31.3±0.9", "−20.3"]


def test_the_table_of_all_methods_fits_100_columns():
    rows = [
        OUTCOMES[0],
        *(OUTCOMES[3]._replace(method=method) for method in ALL_METHODS[1:]),
    ]
    table = report.scores(rows, title="a title")
    assert Measurement.get(Console(), Console().options, table).maximum <= 100


def test_the_verdict_says_what_is_more_than_chance():
    said = report.verdict(OUTCOMES, where="On digits")
    assert said.startswith("On digits, mixup lowers the error most (8.0 points")
    rest = said.split(". ", 1)[1]
    assert "cutout" in rest.lower() and "DropBlock" in rest


def test_there_is_no_verdict_on_two_seeds_and_none_of_one_method():
    few = [
        outcome("none", error=[0.10, 0.12]),
        outcome("mixup", error=[0.02, 0.04]),
    ]
    assert "too few to compare" in report.verdict(few, where="On digits")
    assert "nothing to compare" in report.verdict(few[:1], where="On digits")


def test_tuning_stars_the_lowest_loss_of_each_method():
    tried = [
        outcome("none", error=[0.1, 0.1]),
        outcome("mixup", error=[0.1, 0.1], nll=0.4, strength=0.1),
        outcome("mixup", error=[0.1, 0.1], nll=0.3, strength=0.2),
    ]
    lines = lines_of(report.tuning(tried, title="a title"), width=120)
    assert [line[1:3] for line in lines if line[0] == "mixup"] == [
        ["alpha", "0.1"],
        ["alpha", "0.2*"],
    ]


def test_the_json_file_has_every_seed_and_the_gains(tmp_path):
    path = tmp_path / "results.json"
    report.write_json(path, OUTCOMES, title="a title", recipe={"epochs": 3})
    kept = content_of(path)
    none, mixup = kept["methods"][:2]
    assert none["gain"] is None and kept["test_images"] == 400
    assert mixup["gain"]["estimate"] == pytest.approx(0.08)
    assert mixup["gain"]["verdict"] == "better"
    assert mixup["train_error"] == pytest.approx([0.01, 0.02, 0.015])


def test_noise_that_is_early_or_late_is_off_in_the_other_half():
    for method in TIMED_METHODS:
        shares = [float(method.when(jnp.int32(step), 10)) for step in range(10)]
        is_early = method.name.startswith("early")
        first, second = shares[:5], shares[5:]
        if is_early:
            assert first == pytest.approx([1, 0.75, 0.5, 0.25, 0]) and not any(second)
        else:
            assert not any(first) and second == [1] * 5
        assert method.candidates and method.key in {m.key for m in ALL_METHODS}


@pytest.mark.slow
def test_early_dropout_drops_features_early_and_none_in_the_end(images):
    method = next(m for m in TIMED_METHODS if m.key == "early-dropout")
    program = Program(method, RECIPE)
    state, batch = program.init(0, 0.5), images.train.take(slice(10))
    step = jax.jit(lambda state, number: program.step(0.5, state, *number, batch))
    for number, rate in ((0, 0.5), (3, 0.0)):
        state = step(state, (jax.random.key(number), jnp.int32(number)))
        assert float(state.network.head_rate[...]) == rate


def test_the_file_has_a_row_for_each_method_strength_and_seed(tmp_path):
    report.write_csv(tmp_path / "a.csv", OUTCOMES)
    rows = rows_of(tmp_path / "a.csv")
    assert len(rows) == 12
    assert rows[4]["method"] == "mixup" and rows[4]["seed"] == "1"
    assert float(rows[4]["test_error"]) == pytest.approx(0.04)


def test_strengths_are_among_those_that_were_tried():
    for method in METHODS[1:]:
        assert method.strength in method.candidates


@pytest.mark.slow
def test_figures_have_a_panel_for_each_method_and_mask(images):
    curves = figures.learning_curves(OUTCOMES, steps=np.arange(1, 3), title="a title")
    assert [axes.get_title() for axes in curves.axes] == [
        "mixup",
        "cutout",
        "DropBlock",
    ]
    maps = jnp.ones((8, 8, 4))
    masks = figures.masks(jax.random.key(0), maps, images.test.x[:4], title="a title")
    assert len(masks.axes) == 4 * 8
    assert masks.get_figwidth() == 7.0 and legible.faults(masks) == []
    spatial = [axes.get_title() for axes in masks.axes[8:12]]
    assert set(spatial) <= {"0 % dropped", "100 % dropped"}
