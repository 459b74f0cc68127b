"""The data sets of the examples: splits are fixed, and what is missing is said."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from data import DataError, load


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=1))


def write_notmnist(root, *, num_distinct=9804):
    """Letters of which some are there twice; the first pixels number them."""
    (root / "notmnist").mkdir()
    number = np.r_[np.arange(num_distinct), np.arange(100)].astype(">u4")
    pixels = np.zeros((len(number), 784), np.uint8)
    pixels[:, :4] = number.view(np.uint8).reshape(-1, 4)
    images = pixels.reshape(-1, 28, 28)
    write_idx(root / "notmnist" / "t10k-images-idx3-ubyte.gz", images)
    labels = (number % 10).astype(np.uint8)
    write_idx(root / "notmnist" / "t10k-labels-idx1-ubyte.gz", labels)


def rows(*splits):
    """The images of some splits as a sorted list."""
    return sorted(map(bytes, np.concatenate([split.x for split in splits])))


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_the_splits_of_digits_are_all_of_its_images_each_in_one_split(digits):
    assert [len(split.y) for split in digits[:3]] == [500, 297, 1000]
    everything = (load_digits().data / 16).astype(np.float32)
    assert rows(*digits[:3]) == sorted(map(bytes, everything))


def test_the_splits_of_digits_are_the_ones_that_results_are_quoted_for(digits):
    checksums = [zlib.crc32(split.y.astype("<i4").tobytes()) for split in digits[:3]]
    assert checksums == [3344177826, 3770749407, 478721813]


def test_labels_stay_with_their_images(digits):
    source = load_digits()
    images = map(bytes, (source.data / 16).astype(np.float32))
    label_of = dict(zip(images, source.target, strict=True))
    for split in digits[:3]:
        assert [label_of[bytes(x)] for x in split.x] == split.y.tolist()


def test_pixels_are_single_precision_from_zero_to_one(digits):
    for x, y in digits[:3]:
        assert x.dtype == np.float32 and y.dtype == np.int32
        assert x.min() == 0 and x.max() == 1


def test_a_smaller_training_size_is_a_part_of_a_larger_one(digits):
    small = load("digits", train_size=100)
    assert (small.train.x == digits.train.x[:100]).all()
    assert (small.train.y == digits.train.y[:100]).all()
    assert (small.validation.x == digits.validation.x).all()
    assert (small.test.x == digits.test.x).all()


@pytest.mark.parametrize("size", [0, -1, 501])
def test_a_training_size_that_is_not_there_names_the_limit(size):
    with pytest.raises(DataError, match=rf"from 1 to 500, got {size}\."):
        load("digits", train_size=size)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(DataError, match="'digits', 'mnist', 'notmnist'"):
        load("cifar")


def test_standardized_pixels_are_those_of_the_training_split(digits):
    standardized = digits.standardized()
    np.testing.assert_allclose(standardized.train.x.mean(), 0, atol=1e-5)
    np.testing.assert_allclose(standardized.train.x.std(), 1, atol=1e-5)
    scale = standardized.test.x.std() / digits.test.x.std()
    np.testing.assert_allclose(scale * digits.train.x.std(), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["mnist", "notmnist"])
def test_without_a_folder_one_sentence_says_what_to_put_where(name, monkeypatch):
    monkeypatch.delenv("JAXDROP_DATA", raising=False)
    with pytest.raises(DataError) as caught:
        load(name)
    sentence = str(caught.value)
    assert (
        "t10k-images-idx3-ubyte.gz" in sentence and f"folder named {name}" in sentence
    )
    assert "--data-dir" in sentence and "JAXDROP_DATA" in sentence
    assert "\n" not in sentence and sentence.endswith(".")


def test_a_missing_file_is_named_with_its_folder(tmp_path):
    write_notmnist(tmp_path)
    (tmp_path / "notmnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError) as caught:
        load("notmnist", tmp_path)
    assert "put t10k-labels-idx1-ubyte.gz into" in str(caught.value)
    assert str(tmp_path / "notmnist") in str(caught.value)


def test_a_letter_that_is_there_twice_is_in_one_split(tmp_path):
    write_notmnist(tmp_path)
    letters = load("notmnist", tmp_path)
    assert [len(split.y) for split in letters[:3]] == [7000, 804, 2000]
    assert len(set(rows(*letters[:3]))) == 9804


def test_a_folder_given_by_name_comes_before_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXDROP_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match="elsewhere"):
        load("notmnist")
    write_notmnist(tmp_path)
    assert load("notmnist", tmp_path).shape == (28, 28)
    monkeypatch.setenv("JAXDROP_DATA", str(tmp_path))
    assert load("notmnist").shape == (28, 28)


def test_a_file_with_other_images_is_refused(tmp_path):
    write_notmnist(tmp_path, num_distinct=9000)
    with pytest.raises(DataError, match="expected 9804 images, got 9000"):
        load("notmnist", tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    write_notmnist(tmp_path)
    path = tmp_path / "notmnist" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"images-idx3-ubyte\.gz is not a gzipped idx"):
        load("notmnist", tmp_path)


def test_mnist_keeps_the_order_of_its_files(tmp_path):
    (tmp_path / "mnist").mkdir()
    for part, number in (("train", 60_000), ("t10k", 10_000)):
        images = np.arange(number * 4, dtype=np.uint32).astype(np.uint8)
        labels = (np.arange(number) % 7).astype(np.uint8)
        prefix = str(tmp_path / "mnist" / part)
        write_idx(Path(f"{prefix}-images-idx3-ubyte.gz"), images.reshape(number, 2, 2))
        write_idx(Path(f"{prefix}-labels-idx1-ubyte.gz"), labels)
    images = load("mnist", tmp_path, train_size=5000)
    assert (images.train.y == np.arange(5000) % 7).all()
    assert (images.validation.y == np.arange(50_000, 60_000) % 7).all()
    assert (images.test.y == np.arange(10_000) % 7).all()
