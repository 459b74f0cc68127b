"""Any argument of any public function is taken, or refused by its name.

``pytest tests/properties --hypothesis-profile=slow`` tries many more of them.
"""

import re
import traceback
from pathlib import Path

import host_arguments as table
import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties.anything import anything
from test_host_arguments import public_functions

import jaxdrop

LIBRARY = str(Path(jaxdrop.__file__).parent)

OTHERS = {
    "constraints.decay_mask": {
        **{"params": table.TREE, "exclude": (), "include": (), "stacked": ()},
        "allow_empty": False,
    },
    "diagnostics.assert_active": {
        **{"fn_or_model": lambda key: table.drop(key, table.X), "args": table.KEY},
    },
    "diagnostics.assert_inactive": {
        **{"fn_or_model": lambda x: jax.numpy.abs(x), "args": table.X},
    },
    "diagnostics.audit": {
        **{"fn_or_model": lambda key: table.drop(key, table.X), "args": table.KEY},
    },
    "diagnostics.describe_mask": {"params": table.TREE, "mask": {"kernel": True}},
    "keys.shard": {"key": table.KEY, "axis_names": "data"},
    "mc.votes": {},
    "prng.fuse": {"key": table.KEY},
    "prng.light": {"key": table.KEY},
}
"""Calls of functions that take no numbers, of which the other table has no row."""

NAMES = sorted({*table.CALLS, *OTHERS})
PUBLIC = {name.rsplit(".", 1)[-1] for name in NAMES}
OF_FUNCTIONS = {"apply_fn", "fn", "function", "penalty", "branch"}


def parameters(name):
    """The arguments to try: those of a call, and those with a default."""
    found = table.parameters_of(table.function_of(name))
    return [p for p in found if p not in ("mesh", "best_params", "kwargs")]


@pytest.fixture(autouse=True, scope="module")
def frames():
    """Keeps the frames of JAX in tracebacks, to tell whose error it is."""
    before = jax.config.jax_traceback_filtering
    jax.config.update("jax_traceback_filtering", "off")
    yield
    jax.config.update("jax_traceback_filtering", before)


def test_every_public_function_has_a_row():
    assert set(NAMES) == public_functions()


def is_refusal(error, name):
    """Whether the library raised it on purpose, and says for which argument."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    first = next((i for i, f in enumerate(files) if f.startswith(LIBRARY)), 0)
    if {table.__file__, __file__} & {*files[first:]}:  # by a function that was given
        return True
    named, _, rest = str(error).partition(": ")
    inner = named != name.rsplit(".", 1)[-1] and named in PUBLIC
    words = {*parameters(name), *(p.rstrip("_") for p in parameters(name))}
    words |= {"input"}  # of a technique, whatever it is called
    return (
        isinstance(error, TypeError | ValueError)
        and files[-1].startswith(LIBRARY)
        and (inner or bool(words & set(re.findall(r"\w+", rest))))
    )


def check(name, parameter, value):
    """Fails unless a function takes a value, or refuses it by the argument's name."""
    given = {**OTHERS.get(name, {}), parameter: value}
    try:
        jax.block_until_ready(jax.tree.leaves(table.call(name, **given)))
    except Exception as error:
        if not is_refusal(error, name):
            raise


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_any_argument_is_taken_or_refused_by_name(name, data):
    parameter = data.draw(st.sampled_from([*parameters(name), None]))
    if parameter is not None:
        check(name, parameter, data.draw(anything))


AWKWARD = [
    *([[0.5, 0.5], [1]], 2**70, (2**70,), b"bytes", slice(None), np.True_),
    *(np.array([None, 1], object), np.zeros(2, [("a", np.float32)])),
]
"""What NumPy or JAX would refuse without a name, or read as something else."""


@pytest.mark.parametrize("name", NAMES)
def test_what_numpy_and_jax_refuse_by_no_name_has_one(name):
    for parameter in parameters(name):
        for value in AWKWARD:
            check(name, parameter, value)
