"""What is read of programs: calls, operands, scopes and lines; and what is built."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop import _programs
from tests.programs.equations import first, traced

KEY, X = jax.random.key(0), jnp.ones((4, 3))


MESH = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
SPEC = jax.sharding.PartitionSpec("d")


def test_a_jitted_call_has_a_name_and_the_names_of_its_arguments():
    def technique(key, x, keep):
        return x * keep * jax.random.uniform(key)

    equation = first({"jit", "pjit"}, jax.jit(technique), KEY, X, 0.5)
    assert _programs.jitted_name(equation) == "technique", (
        "the parameter name of jit is not the function's name"
    )
    assert _programs.argument_names(equation) == ["key", "x", "keep"], (
        "debug_info.arg_names does not hold the names of the arguments"
    )
    assert _programs.inlinable(equation) is not None, (
        "the parameters in_shardings and out_shardings of jit are not there"
    )
    place = jax.sharding.NamedSharding(MESH, SPEC)
    equation = first({"jit"}, jax.jit(jnp.sin, in_shardings=place), X)
    assert _programs.inlinable(equation) is None, (
        "a sharding that jit was given does not stand in its parameters"
    )


def test_operands_have_types_that_can_be_told_apart():
    equation = first({"add"}, lambda x: x[0, 0] + 1.0, X)
    assert [_programs.is_literal(atom) for atom in equation.invars] == [False, True], (
        "a number in a program is not a Literal"
    )
    program = traced(lambda k, x: (k, x, jax.new_ref(x)[...]), KEY, X).jaxpr
    assert [_programs.is_key(v) for v in program.invars] == [True, False], (
        "the dtype of a key variable is not a PRNG key dtype"
    )
    references = [v for e in program.eqns for v in (*e.invars, *e.outvars)]
    assert not all(map(_programs.is_array, references)), (
        "a reference has the same type of aval as an array"
    )


def test_equations_know_scopes_and_lines():
    def function(x):
        with jax.named_scope("outer"), jax.named_scope("inner"):
            return jnp.sin(x)

    equation = first({"sin"}, function, X)
    assert _programs.scopes_of(equation) == "outer/inner", (
        "source_info.name_stack is not the names of the scopes, joined by slashes"
    )
    files = [file for file, _ in _programs.source_frames(equation)]
    assert any(file.endswith("test_reading.py") for file in files), (
        "source_info.traceback has no frames with file_name and line_num"
    )


def test_programs_are_rebuilt_and_run():
    program = traced(lambda x: jnp.sin(x) @ np.ones((3, 2), np.float32), X)
    jaxpr = program.jaxpr
    constants = list(zip(jaxpr.constvars, program.consts, strict=True))
    again = _programs.built(
        program,
        inputs=jaxpr.invars,
        outputs=jaxpr.outvars,
        equations=jaxpr.eqns,
        constants=constants,
    )
    (y,) = _programs.run(again, X)
    np.testing.assert_allclose(
        y,
        np.sin(np.ones((4, 3))) @ np.ones((3, 2)),
        rtol=1e-6,
        err_msg="a jaxpr made by replace, with constants, computes something else",
    )
