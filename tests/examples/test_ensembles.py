"""Ensembles beside Monte-Carlo dropout: who answers, how that is judged, the report."""

import sys

import compare_regularizers
import jax
import jax.numpy as jnp
import legible
import numpy as np
import pytest
from reading import content_of, printed

from comparison import arguments, ensembles
from comparison.ensembles import ENSEMBLE, MC_AS_LONG, MEMBERS, Answers, Judged
from data import load
from study import gains

NAMES = ("one network", MC_AS_LONG, ENSEMBLE)


def judged(name, *, error, nll, seeds=4):
    """Scores that are easy to recognize; confidence is as it should be."""
    rng = np.random.default_rng(0)
    wrong = rng.random((seeds, 500)) < error
    losses = nll + 0.1 * rng.normal(size=(seeds, 500))
    confidence = np.full((seeds, 500), 1 - error)
    auroc = np.linspace(0.8, 0.84, seeds)
    information = auroc if name != "one network" else np.full(seeds, np.nan)
    return Judged(
        *(name, 5, 5, wrong, losses, confidence),
        np.full(seeds, 0.01),
        auroc,
        information,
    )


FOUND = [
    judged(name, error=error, nll=nll)
    for name, error, nll in zip(NAMES, (0.2, 0.2, 0.1), (0.5, 0.4, 0.3), strict=True)
]


def test_an_ensemble_answers_with_the_mean_of_its_members(monkeypatch):
    logits = jax.random.normal(jax.random.key(0), (2, MEMBERS, 4, 10))
    each = np.asarray(jax.nn.log_softmax(logits))
    entropy = -(np.exp(each) * each).sum(-1)
    one_pass = [part.reshape(2 * MEMBERS, *part.shape[2:]) for part in (each, entropy)]
    monkeypatch.setattr(
        ensembles.answers, "by_one_pass", lambda *_: Answers(*one_pass, one_pass[1])
    )
    answers = ensembles._members(None, None)
    probs = np.exp(each).mean(1)
    np.testing.assert_allclose(np.exp(answers.log_probs), probs, rtol=1e-5)
    entropy = -(probs * np.log(probs)).sum(-1)
    np.testing.assert_allclose(answers.entropy, entropy, rtol=1e-5)
    own = -(np.exp(each) * each).sum(-1).mean(1)
    np.testing.assert_allclose(answers.information, entropy - own, rtol=1e-4)
    assert (answers.information > 0).all()


def test_scores_are_of_the_labels_and_of_strange_images():
    probs = np.array([[[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]])
    known = Answers(np.log(probs), np.array([[0.1, 0.5, 0.3]]), np.full((1, 3), 0.1))
    unknown = known._replace(entropy=np.array([[0.6, 0.6, 0.4]]))
    wrong, nll, confidence, ece, by_entropy, by_information = ensembles._judge(
        known, unknown, np.array([0, 0, 1])
    )
    assert wrong.tolist() == [[False, True, False]]
    np.testing.assert_allclose(nll, -np.log([[0.9, 0.4, 0.8]]))
    np.testing.assert_allclose(confidence, [[0.9, 0.6, 0.8]])
    assert ece.shape == (1,) and by_information.tolist() == [0.5]
    np.testing.assert_allclose(by_entropy, 8 / 9)  # of 9 pairs one is in disorder


def test_strange_images_have_the_pixels_of_the_test_images():
    images = load("digits", train_size=20)
    others = arguments.shuffled(images)
    np.testing.assert_array_equal(np.sort(others), np.sort(images.test.x))
    assert (others != images.test.x).any(1).mean() > 0.99


def test_the_table_and_the_sentence_compare_at_the_same_compute():
    lines = printed(ensembles.table(FOUND, title="a title"), width=120)
    lines = lines.splitlines()
    one = next(line for line in lines if line.strip().startswith("one network"))
    assert one.split()[-1] == "–" and "0.820±" in one
    said = ensembles.conclusion(FOUND)
    assert said.startswith(f"What an {ENSEMBLE} gains over {MC_AS_LONG}")
    assert said.count("better") == 2 and "error 1" in said  # error and NLL
    few = [judged(name, error=0.2, nll=0.4, seeds=2) for name in NAMES]
    assert "at least three seeds" in ensembles.conclusion(few)


def test_records_leave_out_what_one_pass_does_not_have():
    one, *_, ensemble = ensembles.records(FOUND)
    assert "auroc_information" not in one["scores"]
    assert "auroc_information" in ensemble["scores"]
    assert set(ensembles.advantages(FOUND)) == {"error", "NLL", "ECE", "AUROC"}


def test_the_figure_shows_every_way():
    figure = ensembles.figure(FOUND, title="a title")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == list(NAMES) and len(figure.axes) == 3
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said[-1] == "bar: ± standard error over networks or ensembles"
    assert legible.faults(figure) == []


def test_verdicts_are_corrected_for_the_number_of_scores(monkeypatch):
    gain = gains.Gain("", 0.1, 0.01, 0.19, 0.02, gains.BETTER)
    alone = {"error": gain}
    four = {
        name: gain._replace(p=p)
        for name, p in zip("abcd", (0.02, 1, 1, 1), strict=True)
    }
    for found, verdict in ((alone, "better"), (four, gains.NOT_DISTINGUISHABLE)):
        monkeypatch.setattr(ensembles, "advantage", lambda _, f=found: f)
        said = ensembles.conclusion(FOUND)
        assert f": {verdict}" in said
        assert ("better" in said) == (verdict == "better")


@pytest.mark.slow
def test_a_quick_study_of_ensembles_trains_five_times_as_long(
    monkeypatch, tmp_path, capsys
):
    argv = ["compare_regularizers.py", "--study", "ensemble", "--quick"]
    monkeypatch.setattr(sys, "argv", [*argv, "--output", str(tmp_path)])
    compare_regularizers.main()
    output = capsys.readouterr().out
    assert MC_AS_LONG in output and "What an ensemble" in output
    folder = tmp_path / "ensemble-digits"
    written = {path.name for path in folder.iterdir()}
    assert written == {"ensemble.png", "results.csv", "results.json"}
    ways = content_of(folder / "results.json")["results"]["ways"]
    at_once = {way["name"]: way for way in ways}
    assert len(at_once) == len(ways)
    assert at_once[ENSEMBLE]["trainings"] == at_once[MC_AS_LONG]["trainings"] == MEMBERS
    assert len(at_once[ENSEMBLE]["scores"]["nll"]) == 3
    assert jnp.isfinite(jnp.array(at_once[ENSEMBLE]["scores"]["nll"])).all()
