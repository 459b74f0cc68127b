"""Tracing for an audit leaves nothing behind."""

import threading

import jax
import numpy as np
from diagnostics.cases import KEY, TOKENS, Net, X, audit, transformer
from flax import nnx

import jaxdrop


def test_jitted_functions_that_were_traced_before_are_read_anew():
    module, variables = transformer()
    predict = jax.jit(lambda v, x: module.apply(v, x, train=False))
    predict(variables, TOKENS)
    assert len(audit(predict, variables, TOKENS).inactive) == 6


def test_auditing_leaves_programs_as_they_are():
    """Names and lines in the program, too: nothing of an audit stays in a cache."""
    module, variables = transformer()
    texts = []
    for audited in (False, True):
        train = jax.jit(
            lambda v, x, k: module.apply(v, x, train=True, rngs={"dropout": k})
        )
        if audited:
            audit(train, variables, TOKENS, KEY)
        lowered = train.lower(variables, TOKENS, KEY)
        texts.append(lowered.as_text(debug_info=True))
    assert texts[0] == texts[1]


def test_threads_audit_side_by_side():
    model = Net(nnx.Rngs(0))
    expected, results = str(audit(model, X)), []
    run = lambda: results.append(str(audit(model, X)))
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_what_is_no_array_is_passed_on_as_it_is():
    others = [np.array(["a"]), np.array(["2020"], "M8[D]"), np.array([5], "m8[s]")]

    def forward(key, x, *given):
        assert all(a is b for a, b in zip(given, others, strict=True))
        return jaxdrop.dropout(key, x, rate=0.5).sum()

    assert len(audit(forward, KEY, X, *others).active) == 1
