"""The training step that is written three times."""

import sys

import jax
import jax.numpy as jnp
import pytest
import train_step


def test_the_three_steps_agree(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train_step.py", "--steps", "3"])
    train_step.main()
    output = capsys.readouterr().out
    assert "losses agree at each of 3 steps" in output
    errors = output.splitlines()[-1].split()
    assert errors[0] == "error:" and errors[1] == errors[2] == errors[3]


def test_the_script_notices_a_step_that_differs(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train_step.py", "--steps", "3"])
    monkeypatch.setattr(train_step, "nnx_step", lambda *_: jnp.float32(1.0))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        train_step.main()


def test_dropout_is_on_with_a_key_and_off_without():
    params = {
        "hidden": train_step.dense(jax.random.key(0), 64, 256),
        "output": train_step.dense(jax.random.key(1), 256, 10),
    }
    x = jnp.ones((2, 64))
    first, second = (train_step.apply(params, x, jax.random.key(n)) for n in (2, 3))
    assert (first != second).any()
    network = train_step.LinenNetwork()
    assert jnp.allclose(
        train_step.apply(params, x), network.apply({"params": params}, x)
    )
