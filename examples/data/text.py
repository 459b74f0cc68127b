"""A text as numbers, with a validation and a test part at its end.

Without a file it is the help that Python's own ``help()`` shows about its language
(``pydoc_data.topics``), about 370 000 characters in Python 3.11; a little more or less
in other versions. Paragraphs that stand in several topics are kept once, so that no
part holds another's.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.files import DataError

HELD_OUT = 15_000
_MIN_SIZE, _MIN_TRAIN = 2_000, 1_000


class Text(NamedTuple):
    """Parts of a text, as the numbers of their characters.

    Attributes:
      alphabet: every character of the whole text, in order; its place is its number.
      train: ``(n,)``, int32.
      validation: what follows on it, a tenth of the whole text, and at most
        ``HELD_OUT`` characters.
      test: what follows on that, as long.
    """

    alphabet: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def read(self, ids: np.ndarray) -> str:
        """The characters of numbers."""
        return "".join(self.alphabet[number] for number in ids)

    def numbers(self, text: str) -> np.ndarray:
        """The numbers of characters, each of which must be in the alphabet."""
        place = {character: number for number, character in enumerate(self.alphabet)}
        return np.array([place[character] for character in text], np.int32)


def load_text(path: str | Path | None = None, *, train_size: int | None = None) -> Text:
    """Loads a text.

    Args:
      path: a file in UTF-8; by default Python's own help.
      train_size: how many characters to train on, those next to the validation part;
        by default all that there are.

    Returns:
      The text. A smaller ``train_size`` gives a part of what a larger one does, and
      changes neither alphabet, validation nor test.

    Raises:
      DataError: if the file cannot be read, is not UTF-8 or too short, or there are not
        so many characters.
    """
    text = python_help() if path is None else _read(Path(path).expanduser())
    name = "Python's help" if path is None else str(path)
    if len(text) < _MIN_SIZE:
        raise DataError(
            f"{name} has {len(text)} characters; give a text of at least {_MIN_SIZE}."
        )
    held_out = min(HELD_OUT, len(text) // 10)
    most = len(text) - 2 * held_out
    size = most if train_size is None else train_size
    if not _MIN_TRAIN <= size <= most:
        raise DataError(
            f"{name}: the number of training characters must be from {_MIN_TRAIN} to "
            f"{most}, got {size}."
        )
    alphabet = "".join(sorted(set(text)))
    whole = Text(alphabet, *[np.zeros(0, np.int32)] * 3)
    ids = whole.numbers(text[most - size :])
    return Text(alphabet, *np.split(ids, [size, size + held_out]))


def python_help() -> str:
    """What ``help()`` knows of the language; a paragraph that repeats is left out."""
    from pydoc_data import topics

    paragraphs: dict[str, str] = {}
    for topic in sorted(topics.topics):
        for paragraph in topics.topics[topic].split("\n\n"):
            paragraphs.setdefault(paragraph.strip(), paragraph.rstrip())
    return "\n\n".join(filter(None, paragraphs.values()))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); name a text file with --text."
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 (byte {error.start}); convert it, for example with "
            "iconv."
        ) from None
