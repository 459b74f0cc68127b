"""The run on an accelerator: its checks, its clock, and what stops it."""

import dataclasses
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import accelerator
import checks
from accelerator import Clock, Result, Row, Session
from checks import Check


@pytest.fixture
def session(tmp_path):
    return Session(60, tmp_path / "found.json", {"machine": "a test"})


def test_a_row_that_fails_says_why_and_stops_no_other(session):
    def fails():
        raise RuntimeError("out of memory\nand more")

    good = Result("second", "jaxdrop", 1.0, 2.0, 1.0)
    session.run([Row("first", fails), Row("second", lambda: [good])])
    assert [r.row for r in session.results] == ["first", "second"]
    assert session.results[0].failure == "RuntimeError: out of memory"
    written = json.loads(session.output.read_text())
    assert written["machine"] == "a test" and len(written["results"]) == 2


def strictly(path):
    """The content of a file, as readers other than Python's see it."""

    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_rows_are_skipped_and_named_when_the_budget_is_used_up(tmp_path):
    session = Session(0.05, tmp_path / "found.json", {})
    ran = []

    def slow():
        ran.append(1)
        time.sleep(0.1)
        return []

    session.run([Row("first", slow), Row("second", slow), Row("third", slow)])
    assert ran == [1] and session.skipped == ["second", "third"]
    session.write()
    assert json.loads(session.output.read_text())["skipped"] == ["second", "third"]


def test_checks_and_times_are_kept_apart(session, capsys):
    found = [Check("right", 1e-9, 1e-4), Check("wrong", float("nan"), 1e-4)]
    session.run([Row("checks", lambda: found)])
    assert session.compared == found and not session.results
    held = strictly(session.output)["checks"]
    assert [check["holds"] for check in held] == [True, False]
    assert [check["error"] for check in held] == [1e-9, None]
    accelerator.print_checks(session.compared)
    accelerator.print_results([Result("a", "b", failure="Error: c")])
    out = capsys.readouterr().out
    assert "NO" in out and "Error: c" in out


def test_a_contender_that_fails_leaves_the_others_their_times():
    def fails():
        raise ValueError("no kernel")

    clock = Clock(rounds=1, bytes_per_second=1e9)
    found = accelerator.timed({"bad": fails, "jaxdrop": lambda: jnp.ones(3)}, 1)
    bad, good = clock.results("a row", found, moved=1000)
    assert bad.failure == "ValueError: no kernel" and good.of_first == 1
    assert good.of_copy == pytest.approx(good.milliseconds * 1e-3 / 1e-6)


def test_a_contender_that_cannot_be_traced_leaves_the_others_too():
    def wrong(key, x):
        raise TypeError("not today")

    program = accelerator.techniques(64, jnp.float32)["dropout"]
    program = dataclasses.replace(program, peers={"flax.nnx": wrong})
    for passing in program.passes:
        found = Clock(rounds=1).compare("a row", program, passing)
        failures = {result.contender: result.failure for result in found}
        assert failures["flax.nnx"] == "TypeError: not today"
        assert not failures["jaxdrop"] and not failures["light"]


def test_a_wrong_gradient_is_seen():
    program = accelerator.techniques(64, jnp.float32)["dropout"]
    assert checks.technique("dropout", program).holds

    @jax.custom_jvp
    def wrong(x):
        return x

    wrong.defjvp(lambda primals, tangents: (primals[0], 1.001 * tangents[0]))
    ours = program.ours

    def broken(key, x):  # only where it runs in single precision
        return wrong(ours(key, x)) if x.dtype == jnp.float32 else ours(key, x)

    assert not checks.technique("", dataclasses.replace(program, ours=broken)).holds


def test_the_formula_of_attention_is_that_of_jax():
    case = checks.Case(9, 4, 2, 8, True, True, jnp.float32)
    shapes = [(2, 9, 4, 8), (2, 9, 2, 8), (2, 9, 2, 8), (2, 9, 4, 8), (1, 4, 9, 9)]
    arrays = checks.data(tuple(jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes))
    q, k, v, ct, bias = arrays

    def attend(q, k, v, bias):
        return jax.nn.dot_product_attention(q, k, v, bias, is_causal=True)

    @jax.jit
    def both(ct, *arrays):
        y, pull = jax.vjp(attend, *arrays)
        return y, *pull(ct)

    keep = np.full((2, 4, 9, 9), 1 - checks.RATE)  # nothing dropped, nothing scaled
    wanted = checks._formula(case, keep, *(np.asarray(a) for a in arrays))
    for found, value in zip(both(ct, q, k, v, bias), wanted, strict=True):
        np.testing.assert_allclose(found, value, atol=2e-5)


@pytest.mark.slow
def test_the_quick_run_checks_times_and_writes(tmp_path, capsys):
    path = tmp_path / "accelerator.json"
    arguments = ["--quick", "--budget", "300", "--output", str(path)]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        session = accelerator.main(arguments)  # jax.nn and Flax need both
    assert session.compared and all(check.holds for check in session.compared)
    assert not [result for result in session.results if result.failure]
    assert {r.contender for r in session.results} >= {"jaxdrop", "light", "flax.nnx"}
    assert "All checks hold." in capsys.readouterr().out
    assert json.loads(path.read_text())["quick"]
