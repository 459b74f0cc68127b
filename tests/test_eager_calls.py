"""An eager call of every public function is the compiled one.

Most other tests compile their calls, since that is cheaper.
"""

import functools

import host_arguments as table
import jax
import pytest

NAMES = sorted({*table.CALLS, "mc.votes"})


@pytest.mark.parametrize("name", NAMES)
def test_eager_and_compiled_calls_agree(name):
    arrays = table.arrays_of(name)
    compiled = jax.jit(functools.partial(table.numbers, name))(arrays)
    table.assert_same(table.numbers(name, arrays), compiled)
