"""Which outputs of a program are inputs that are passed through."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxdrop import _programs

KEY, X = jax.random.key(0), jnp.ones((4, 3))


def traced(function, *args):
    return _programs.traced(function, *args)[0]


def test_unchanged_inputs_are_followed_through_everything():
    def function(a, b, c):
        a, b = jax.jit(lambda a, b: (a, 2 * b))(a, b)
        (a, c), rows = lax.scan(lambda s, r: ((s[0], s[1] + 1), r), (a, c), b)
        a = lax.cond(c[0, 0] > 0, lambda a, c: a, lambda a, c: a, a, c)
        a = jax.checkpoint(lambda a: a)(a)
        d = lax.while_loop(lambda s: s[0, 0] < 3, lambda s: s + 1, a)
        return a, b, rows, c, d, lax.scan(lambda s, _: (s, a), b, length=4)[1]

    found = _programs.forwarded(traced(function, X, X, X))
    assert found == [0, None, None, None, None, None]
    rows = lambda x: lax.scan(lambda s, r: (s, r), 0.0, x)[1]
    assert _programs.forwarded(traced(rows, X)) == [0]
    swap = lambda a, b: lax.scan(lambda s, _: (s[::-1], None), (a, b), length=1)[0]
    assert _programs.forwarded(traced(swap, X, X)) == [None, None]


def test_branches_that_differ_hand_nothing_on():
    either = lambda a, b: lax.cond(a[0, 0] > 0, lambda a, b: a, lambda a, b: b, a, b)
    assert _programs.forwarded(traced(either, X, X)) == [None]
    first = lambda a, b: lax.cond(a[0, 0] > 0, lambda a, b: a, lambda a, b: a, a, b)
    assert _programs.forwarded(traced(first, X, X)) == [0]
