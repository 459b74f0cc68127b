"""A text in parts, and windows of it: nothing is lost, and nothing counts twice."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from data import DataError, load_text
from data.text import python_help
from text.windows import (
    Windows,
    bits_per_character,
    random_windows,
    scoring_windows,
)


def write_text(path, size, alphabet="abcdefghij"):
    numbers = np.random.default_rng(0).integers(len(alphabet), size=size)
    path.write_text("".join(alphabet[number] for number in numbers), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return load_text(write_text(tmp_path_factory.mktemp("text") / "a.txt", 2000))


def test_the_parts_of_a_text_are_the_whole_text_in_order(tmp_path):
    path = write_text(tmp_path / "a.txt", 2005)
    text = load_text(path)
    assert [len(part) for part in text[1:]] == [1605, 200, 200]
    assert "".join(map(text.read, text[1:])) == path.read_text()
    assert text.alphabet == "abcdefghij"
    assert all(part.dtype == np.int32 for part in text[1:])


def test_validation_and_test_are_not_longer_than_they_need_be():
    text = load_text()
    assert len(text.validation) == len(text.test) == 15_000


def test_fewer_training_characters_change_nothing_else(text, tmp_path):
    small = load_text(write_text(tmp_path / "a.txt", 2000), train_size=1000)
    assert (small.train == text.train[-1000:]).all()
    assert small.alphabet == text.alphabet
    assert (small.validation == text.validation).all()
    assert (small.test == text.test).all()


def test_numbers_are_characters_again(text):
    assert text.read(text.numbers("badge")) == "badge"


def test_no_paragraph_of_the_help_of_python_stands_in_two_parts():
    paragraphs = [part.strip() for part in python_help().split("\n\n")]
    assert len(set(paragraphs)) == len(paragraphs) > 1000


@pytest.mark.parametrize("size", [0, 999, 1601])
def test_a_training_size_that_is_not_there_names_the_limits(size, tmp_path):
    path = write_text(tmp_path / "a.txt", 2000)
    with pytest.raises(DataError, match=rf"from 1000 to 1600, got {size}\."):
        load_text(path, train_size=size)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no\.txt cannot be read \(No such file"):
        load_text(tmp_path / "no.txt")


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        load_text(tmp_path)


def test_a_short_text_is_refused_with_its_length(tmp_path):
    path = write_text(tmp_path / "a.txt", 1999)
    with pytest.raises(DataError, match="has 1999 characters; give a text of at least"):
        load_text(path)


def test_bytes_that_are_no_text_are_refused_with_their_place(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"good" * 1000 + b"\xff")
    with pytest.raises(DataError, match=r"a\.txt is not UTF-8 \(byte 4000\)"):
        load_text(path)


@pytest.mark.parametrize(
    ("size", "length", "context"),
    list(itertools.product((8, 9, 10, 29, 30, 31, 32), (7,), (0, 3, 6))),
)
def test_every_character_but_the_first_counts_once(size, length, context):
    ids = np.arange(size, dtype=np.int32)
    windows = scoring_windows(ids, length=length, context=context)
    counted = windows.targets[windows.weights > 0]
    assert sorted(counted) == list(range(1, size))
    assert (windows.targets == windows.inputs + 1).all()
    enough = np.arange(length) >= context
    assert (enough | (windows.weights[1:] == 0)).all()


def test_windows_that_fill_up_count_for_nothing():
    ids = np.arange(30, dtype=np.int32)
    plain = scoring_windows(ids, length=7, context=2)
    filled = scoring_windows(ids, length=7, context=2, multiple=8)
    assert len(plain.inputs) == 6 and len(filled.inputs) == 8
    assert filled.weights.sum() == plain.weights.sum() == 29


@pytest.mark.parametrize(("length", "context"), [(5, 5), (30, 2), (5, -1)])
def test_windows_that_do_not_fit_are_refused(length, context):
    with pytest.raises(ValueError, match="0 <= context < length < number"):
        scoring_windows(np.arange(30), length=length, context=context)


def test_random_windows_are_pieces_from_all_places(key):
    ids = jnp.arange(10)
    windows = random_windows(key, ids, count=200, length=4)
    assert (windows.targets == windows.inputs + 1).all()
    assert set(np.asarray(windows.inputs[:, 0]).tolist()) == set(range(6))
    assert windows.weights.shape == (200, 4) and (windows.weights == 1).all()


def test_guessing_among_characters_costs_their_logarithm():
    windows = Windows(*np.zeros((2, 3, 5), np.int32), np.ones((3, 5), np.float32))
    bits = bits_per_character(jnp.zeros((3, 5, 8)), windows)
    assert float(bits) == pytest.approx(3)


def test_only_targets_that_count_are_scored():
    targets = np.array([[0, 1]], np.int32)
    windows = Windows(targets, targets, np.array([[0, 1]], np.float32))
    logits = jnp.log(jnp.array([[[0.01, 0.99], [0.75, 0.25]]]))
    assert float(bits_per_character(logits, windows)) == pytest.approx(2)
