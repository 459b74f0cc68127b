"""Active learning: what is labelled, what is asked for, and how it is summed up."""

from dataclasses import replace

import active_learning
import jax
import jax.numpy as jnp
import legible
import numpy as np
import pytest
from active_learning import STRATEGIES
from flax import nnx
from reading import content_of, lines_of, rows_of

from chance import normal
from data import Split, load
from labelling import figures, summary
from labelling.learner import Labelled, PoolRecipe
from labelling.rounds import Protocol, Run, learn, run, samples, start
from study import files

RECIPE = PoolRecipe(hidden=(8,), rates=(0.1, 0.3), learning_rate=1e-2, num_steps=20)
PROTOCOL = Protocol(recipe=RECIPE, initial=2, step=3, budget=29, num_samples=4)


@pytest.fixture(scope="module")
def pool():
    return load("digits", train_size=60).train


@pytest.fixture(scope="module")
def runs(pool):
    """Two strategies with one seed."""
    return {
        name: run(
            STRATEGIES[name], PROTOCOL, pool, pool, seed=0, after_round=lambda: None
        )
        for name in ("random", "BatchBALD")
    }


def labelled(*rows, size=PROTOCOL.budget):
    padded = np.zeros(size, np.int32)
    padded[: len(rows)] = rows
    return Labelled(jnp.array(padded), jnp.int32(len(rows)))


def test_added_rows_follow_those_there_are():
    more = labelled(5, 3).add(jnp.array([7, 1]))
    assert int(more.count) == 4
    assert more.rows[:4].tolist() == [5, 3, 7, 1]


def test_padding_is_not_labelled():
    assert labelled(5, 3).flags(8).nonzero()[0].tolist() == [3, 5]


def test_images_are_drawn_from_those_with_labels_only(key):
    drawn = labelled(5, 3).draw(key, 100)
    assert set(drawn.tolist()) == {3, 5}


def test_candidates_are_all_images_without_label_in_random_order(key):
    first, second = (
        labelled(5, 3).candidates(k, 8, 6).tolist() for k in jax.random.split(key)
    )
    assert sorted(first) == sorted(second) == [0, 1, 2, 4, 6, 7]
    assert first != second


def test_a_network_learns_from_labels_that_are_known_alone(pool, key):
    wrong = Split(pool.x, (pool.y + 1) % 10)
    known = labelled(4, 9)
    wrong.y[[4, 9]] = pool.y[[4, 9]]
    one, other = (learn(key, p, known, recipe=RECIPE) for p in (pool, wrong))
    weights = (jax.tree.leaves(nnx.state(n, nnx.Param)) for n in (one, other))
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_all_rounds_of_all_strategies_learn_in_one_program(runs):
    assert len(PROTOCOL.counts) == 4 and len(runs) == 2
    assert learn._cache_size() == 1


def test_each_sample_is_one_function_for_all_images(pool, key):
    network = learn(key, pool, labelled(4, 9), recipe=RECIPE)
    twins = np.stack([pool.x[0], pool.x[0]])
    logits = samples(key, network, twins, 4)
    assert logits.shape == (4, 2, 10)
    np.testing.assert_allclose(logits[:, 0], logits[:, 1], atol=1e-5)
    assert not np.allclose(logits[0], logits[1])


def test_the_start_has_as_many_images_of_each_class_and_depends_on_the_seed(pool):
    one, other = (start(seed, pool.y, PROTOCOL) for seed in (0, 1))
    assert np.bincount(pool.y[one.rows[:20]]).tolist() == [2] * 10
    assert one.rows[:20].tolist() != other.rows[:20].tolist()


@pytest.mark.slow
def test_no_image_is_asked_for_twice(runs):
    for one in runs.values():
        assert len(one.rows) == len(set(one.rows.tolist())) == 29


def test_strategies_start_alike_and_then_ask_for_other_images(runs):
    random, batch_bald = runs.values()
    assert random.accuracy[0] == batch_bald.accuracy[0]
    assert random.rows[:20].tolist() == batch_bald.rows[:20].tolist()
    assert random.rows[20:].tolist() != batch_bald.rows[20:].tolist()


def three_kinds_of_candidates():
    """Certain; in doubt whatever the sample; and samples that contradict each other."""
    sure = np.tile([9.0, -9.0], (4, 1))
    doubt = np.zeros((4, 2))
    disputed = np.array([[9.0, -9.0], [-9.0, 9.0]] * 2)
    return jnp.array(np.stack([sure, doubt, disputed], axis=1), jnp.float32)


@pytest.mark.parametrize("name", ["BALD", "BatchBALD"])
def test_bald_asks_where_samples_contradict_each_other(name, key):
    logits = three_kinds_of_candidates()
    assert STRATEGIES[name](key, logits, 1).tolist() == [2]


def test_entropy_does_not_tell_doubt_from_contradiction(key):
    chosen = STRATEGIES["max entropy"](key, three_kinds_of_candidates(), 2)
    assert sorted(chosen.tolist()) == [1, 2]


def test_batch_bald_asks_for_no_copy(key):
    logits = np.asarray(3 * normal(50, 2, 3))
    copies = np.repeat(logits, 2, axis=1)
    pairs = {
        name: {index // 2 for index in STRATEGIES[name](key, copies, 2).tolist()}
        for name in ("BALD", "BatchBALD")
    }
    assert len(pairs["BALD"]) == 1 and len(pairs["BatchBALD"]) == 2


COUNTS = np.array([20, 30, 40])


@pytest.mark.parametrize(
    ("curve", "labels"),
    [
        ([0.5, 0.7, 0.9], 35),
        ([0.8, 0.9, 0.9], 20),
        ([0.5, 0.9, 0.7], np.nan),
        ([0.85, 0.5, 1.1], 35),  # one lucky round is not enough
    ],
)
def test_labels_needed_are_those_from_which_a_curve_stays_up(curve, labels):
    needed = summary.stays_from(COUNTS, np.array(curve), 0.8)
    assert needed == pytest.approx(labels, nan_ok=True)


def test_the_standard_error_of_labels_needed_is_that_of_resampled_seeds():
    strategy = np.array([[0.0, 0.6, 1.0], [0.0, 0.8, 1.0]])
    reference = np.full((2, 3), 0.7)
    needed = summary.labels_needed(COUNTS, strategy, reference, resamples=4000)
    assert needed.labels == pytest.approx(30)
    # (0, 0): 32.5, (0, 1): 30 twice, (1, 1): 20 + 10 * 7 / 8
    values = np.array([32.5, 30, 30, 28.75])
    assert needed.stderr == pytest.approx(values.std(), rel=0.05)
    alone = summary.labels_needed(COUNTS, strategy[:1], reference[:1])
    assert np.isnan(alone.stderr)


def made_up():
    rows = np.arange(40)
    random = [
        Run(np.array([0.5, 0.6, 0.7]), rows),
        Run(np.array([0.5, 0.6, 0.9]), rows),
    ]
    better = [
        Run(np.array([0.5, 0.8, 0.9]), rows),
        Run(np.array([0.5, 0.8, 0.9]), rows),
    ]
    worse = [Run(np.array([0.5, 0.5, 0.5]), rows)] * 2
    return {"random": random, "better": better, "worse": worse}


def test_the_table_has_means_standard_errors_and_labels_needed():
    table = summary.table(COUNTS, made_up(), "random", title="a title")
    rows = {line[0]: line[1:] for line in lines_of(table)}
    assert rows["random"] == ["50.0±0.0", "60.0±0.0", "80±10", "40"]
    assert rows["better"][:3] == ["50.0±0.0", "80.0±0.0", "90±0"]
    assert rows["better"][3].startswith("30±")
    assert rows["worse"][3:] == [">", "40"]


def test_the_headline_is_a_share_of_the_labels_or_says_that_there_is_none():
    first, second = summary.headline(COUNTS, made_up(), "random").splitlines()
    assert first.startswith("better reaches random's final accuracy with 75 ± ")
    assert second == "worse does not reach random's final accuracy."


def test_the_verdict_is_on_all_rounds_and_not_on_two_seeds():
    two = summary.verdict(made_up(), "random")
    assert two == "Over all rounds, two seeds or fewer are too few to compare methods."
    alone = summary.verdict({"random": made_up()["random"]}, "random")
    assert alone == "There is nothing to compare: name another one with --strategies."
    noise = np.array([0.0, 0.01, -0.01, 0.02, -0.02])
    curves = {"random": [0.5, 0.6, 0.6], "better": [0.5, 0.6, 0.9]}
    shifts = {"random": noise, "better": noise[::-1]}
    runs = {
        name: [Run(np.add(curve, shift), np.arange(40)) for shift in shifts[name]]
        for name, curve in curves.items()
    }
    said = summary.verdict(runs, "random")
    assert said.startswith("Over all rounds, better lowers the error most (10.0 points")


def test_validation_images_judge_or_are_in_the_pool():
    images = load("digits")
    pool, judged = active_learning.split(images, "validation")
    assert len(pool.y) == 500 and (judged.x == images.validation.x).all()
    pool, judged = active_learning.split(images, "test")
    assert len(pool.y) == 797 and (judged.x == images.test.x).all()


def test_figures_have_a_line_and_a_row_for_each_strategy(pool):
    efficiency = figures.label_efficiency(COUNTS, made_up(), "random", title="a title")
    (axes,) = efficiency.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [
        f"random, mean at {COUNTS[-1]} labels",
        *("random", "better", "worse"),
        f"band: ± standard error of {len(made_up()['random'])} runs",
    ]
    asked = figures.first_asked(
        made_up(), pool, (8, 8), first=20, number=4, title="a title"
    )
    assert len(asked.axes) == 12
    assert asked.get_figwidth() == 7.0 and legible.faults(asked) == []
    assert asked.axes[0].get_title() == str(pool.y[20])


def test_the_record_has_every_seed_and_the_labels_needed(tmp_path):
    path = tmp_path / "active_learning.json"
    protocol = replace(PROTOCOL, step=10, budget=40)
    assert protocol.counts.tolist() == COUNTS.tolist()
    files.write_json(path, summary.record(protocol, made_up(), "random"))
    found = content_of(path)
    assert found["labels"] == [20, 30, 40] and found["protocol"]["budget"] == 40
    random, better, worse = found["strategies"]
    assert random["accuracy"] == [[0.5, 0.6, 0.7], [0.5, 0.6, 0.9]]
    assert (better["name"], better["labels"]) == ("better", 30)
    assert worse["labels"] is None


def test_a_table_of_everything_is_written(tmp_path):
    path = tmp_path / "active_learning.csv"
    protocol = Protocol(recipe=RECIPE, initial=2, step=10, budget=40, num_samples=4)
    active_learning.write(path, protocol, made_up())
    rows = rows_of(path)
    assert len(rows) == 3 * 2 * 3
    assert rows[2] == dict(strategy="random", seed="0", labels="40", accuracy="0.7")
