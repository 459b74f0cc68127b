"""The table of differences from Flax in the documentation, by running both."""

import inspect
import pathlib
import re
import types

import flax.linen
import flax.nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "coming_from" / "flax.md"
X, KEY = jnp.ones(8), jax.random.key(0)
SIDES = {
    "Flax": (flax.nnx.Dropout, flax.linen.Dropout),
    "jaxdrop": (jaxdrop.nnx.Dropout, jaxdrop.linen.Dropout),
}


def rows():
    table = PAGE.read_text().split("## Where they differ")[1]
    for line in table.splitlines():
        cells = re.findall(r"(?<=\| )`([^`]*)`(?= \|)", line)
        if len(cells) == 3:
            yield cells


ROWS = list(rows())


def with_dropout(library, dropout):
    """A library in which Dropout is another class."""
    names = {n: getattr(library, n) for n in dir(library) if not n.startswith("_")}
    return types.SimpleNamespace(**{**names, "Dropout": dropout})


def count(module):
    """How many keys of its stream a module has drawn after a call."""
    module(X)
    return int(module.rngs.count[...])


def outcome(use, side):
    in_nnx, in_linen = SIDES[side]

    def same_in_x64():
        data = jnp.ones(1000, jnp.float32)
        draw = lambda: np.asarray(in_nnx(0.3)(data, rngs=KEY) == 0)
        with jax.enable_x64(True):
            wide = draw()
        return bool((wide == draw()).all())

    names = {
        "nnx": with_dropout(flax.nnx, in_nnx),
        "nn": with_dropout(flax.linen, in_linen),
        "drop": in_nnx(0.5, rngs=flax.nnx.Rngs(0)),
        **{"flax": flax, "jax": jax, "jnp": jnp, "np": np, "key": KEY, "x": X},
        **{"count": count, "same_in_x64": same_in_x64, "inspect": inspect},
    }
    try:
        return repr(eval(use, names))
    except Exception as error:  # the table names its type
        return type(error).__name__


@pytest.mark.parametrize("use, in_flax, in_jaxdrop", ROWS)
def test_a_difference_is_as_documented(use, in_flax, in_jaxdrop):
    assert outcome(use, "Flax") == in_flax
    assert outcome(use, "jaxdrop") == in_jaxdrop
    assert in_flax != in_jaxdrop


def test_the_table_is_read():
    assert len(ROWS) > 20
