"""What is assumed of JAX's jaxprs, each with a sentence for the day it breaks.

The tests stand for all that reads programs. Where one fails with a new release of JAX,
``jaxdrop/_programs`` is the place to change.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import Primitive, primitives
from jax.interpreters import mlir

import jaxdrop
from jaxdrop import _programs, diagnostics, mc
from jaxdrop._programs import Call, Choice, Loop, Unknown, structure_of
from jaxdrop.mc._trunk import is_stochastic

KEY, X = jax.random.key(0), jnp.ones((4, 3))


def traced(function, *args):
    return _programs.traced(function, *args)[0]


def first(name, function, *args):
    """The first equation of a program with a primitive of this name."""
    equations = traced(function, *args).jaxpr.eqns
    found = [e for e in equations if e.primitive.name in name]
    assert found, f"JAX calls none of {name} here, but {[str(e) for e in equations]}"
    return found[0]


def scanned(x, c):
    return lax.scan(lambda h, row: (h + c, 2 * row), x[0], x)


def looped(x, c):
    return lax.while_loop(lambda h: h[0, 0] < c, lambda h: h + x, x)


def test_a_scan_has_constants_then_its_state_then_what_it_reads():
    loop = structure_of(first({"scan"}, scanned, X, 2.0))
    assert isinstance(loop, Loop), (
        "the parameters of scan have other names: neither num_consts and num_carry, "
        "nor three groups in ft_in"
    )
    slices = loop.constants, loop.carry, loop.read
    assert slices == (slice(0, 1), slice(1, 2), slice(2, 3)), (
        "the operands of scan are in another order than constants, state, read"
    )
    assert loop.length == 4, "the parameter length of scan is not its number of steps"
    assert loop.condition is None and loop.num_carry == 1


def test_a_while_loop_has_two_kinds_of_constants_then_its_state():
    loop = structure_of(first({"while"}, looped, X, 9.0))
    assert isinstance(loop, Loop), "the parameters of while have other names"
    slices = loop.tested, loop.constants, loop.carry
    assert slices == (slice(0, 1), slice(1, 2), slice(2, 3)), (
        "the operands of while are in another order: of the condition, of the body, "
        "state"
    )
    assert loop.length is None and loop.condition is not None


def test_a_cond_has_its_index_first_and_its_branches_in_a_tuple():
    function = lambda x: lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x)
    choice = structure_of(first({"cond"}, function, X))
    assert isinstance(choice, Choice), "cond has no parameter branches any more"
    names = [_programs.program_of(b).eqns[0].primitive.name for b in choice.branches]
    assert names == ["cos", "sin"], "the branches of cond are in another order"
    assert not choice.by_platform, "branches_platforms of cond is not None here"


def test_a_choice_by_platform_says_so_also_after_a_transformation():
    function = lambda x: lax.platform_dependent(x, cpu=jnp.sin, default=jnp.cos)
    mapped = jax.vmap(function)
    for run in (function, mapped, lambda x: jax.vjp(mapped, x)[1](x)):
        choice = structure_of(first({"cond"}, run, X))
        assert isinstance(choice, Choice) and choice.by_platform, (
            "cond has no parameter branches_platforms any more"
        )
    index = first({"platform_index"}, function, X)
    assert index.primitive.name in _programs.CHEAP


def test_what_is_said_to_the_compiler_leaves_values_as_they_are():
    said = {
        "barrier": lax.optimization_barrier,
        "metadata": lambda x: set_xla_metadata(jnp.sin(x), inlineable="false"),
        "name": lambda x: checkpoint_name(x, "x"),
    }
    for name, function in said.items():
        found = traced(function, X).jaxpr.eqns[-1].primitive.name
        assert found in _programs.IDENTITIES, f"{name} is the primitive {found}"


@jax.custom_jvp
def with_jvp(x):
    return jnp.sin(x)


with_jvp.defjvp(lambda primals, tangents: (with_jvp(*primals), tangents[0]))


@jax.custom_vjp
def with_vjp(x):
    return jnp.sin(x)


with_vjp.defvjp(lambda x: (with_vjp(x), None), lambda _, g: (g,))

MESH = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
SPEC = jax.sharding.PartitionSpec("d")
CALLS = {
    "jit": jax.jit(jnp.sin),
    "jit in jit": jax.jit(jax.jit(jnp.sin)),
    "remat": jax.checkpoint(jnp.sin),
    "custom_jvp": with_jvp,
    "custom_vjp": with_vjp,
    "shard_map": jax.shard_map(jnp.sin, mesh=MESH, in_specs=SPEC, out_specs=SPEC),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_hold_one_program_of_all_their_operands(name):
    equation = traced(CALLS[name], X).jaxpr.eqns[0]
    assert isinstance(structure_of(equation), Call), (
        f"{equation.primitive.name} is not known as a call, or does not hold exactly "
        "one program that takes all its operands"
    )


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
    assert any(file.endswith("test_structure.py") for file in files), (
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


def test_the_table_names_primitives_that_exist():
    known = {
        getattr(getattr(primitives, name), "name", None)
        for name in dir(primitives)
        if name.endswith("_p")
    }
    elsewhere = {"copy_p", "optimization_barrier", "pcast", "pvary", "reshard"}
    elsewhere |= {"platform_index", "xla_metadata_value"}  # see the tests of each
    missing = (_programs.CHEAP | _programs.LAYOUT) - known - elsewhere
    assert not missing, f"JAX has no primitives of these names any more: {missing}"


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


MADE_UP = Primitive("made_up_by_a_test")
MADE_UP.def_impl(lambda key, x: x + jax.random.normal(key, x.shape))
MADE_UP.def_abstract_eval(lambda key, x: x)
mlir.register_lowering(
    MADE_UP, mlir.lower_fun(lambda k, x: x + jax.random.normal(k, x.shape), False)
)


def made_up(key, x):
    return 2 * MADE_UP.bind(key, x) + x @ jnp.ones((3, 3))


def test_a_made_up_primitive_depends_on_its_operands_and_is_reported():
    program = traced(made_up, KEY, X)
    assert is_stochastic(program)
    drawn = mc.samples(made_up, KEY, X, num_samples=3)
    for t, sample in enumerate(drawn):
        expected = made_up(jax.random.fold_in(KEY, t), X)
        np.testing.assert_allclose(sample, expected, rtol=1e-5)
    found = diagnostics.audit(made_up, KEY, X)
    assert [(s.technique, s.mode) for s in found.sites] == [
        ("made_up_by_a_test", "unknown")
    ]
    assert found.kinds == {"unknown"}
    with pytest.raises(AssertionError, match="unknown"):
        diagnostics.assert_inactive(made_up, KEY, X)
    with pytest.raises(AssertionError, match="no site draws"):
        diagnostics.assert_active(made_up, KEY, X)


def test_a_made_up_primitive_without_keys_is_no_finding():
    plain = Primitive("made_up_without_keys")
    plain.def_impl(lambda x: x)
    plain.def_abstract_eval(lambda x: x)
    function = lambda k, x: plain.bind(jaxdrop.dropout(k, x, rate=0.5)).sum()
    assert not diagnostics.audit(function, KEY, X).findings


RENAMED = Primitive("scan")
RENAMED.multiple_results = True
FREE = dict(length="steps", jaxpr="program", num_consts="consts", ft_in="groups")


def bound(args, params):
    back = {new: old for old, new in FREE.items()}
    params = {back.get(name, name): value for name, value in params.items()}
    return lambda *args: primitives.scan_p.bind(*args, **params)


RENAMED.def_impl(lambda *args, **params: bound(args, params)(*args))
RENAMED.def_abstract_eval(
    lambda *args, **params: [
        jax.core.ShapedArray(out.shape, out.dtype)
        for out in jax.eval_shape(bound(args, params), *args)
    ]
)
mlir.register_lowering(
    RENAMED,
    mlir.lower_fun(lambda *args, **params: bound(args, params)(*args), True),
)


def renamed(function):
    """The function with scans whose parameters have other names."""

    def run(key, x):
        program = traced(function, key, x)
        equations = [
            e.replace(
                primitive=RENAMED,
                params={FREE.get(name, name): p for name, p in e.params.items()},
            )
            if e.primitive.name == "scan"
            else e
            for e in program.jaxpr.eqns
        ]
        again = _programs.Program(program.jaxpr.replace(eqns=equations), program.consts)
        return _programs.run(again, key, x)[0]

    return run


def test_a_scan_with_other_parameters_depends_on_its_operands_and_is_reported():
    def steps(key, x):
        def step(h, key):
            return jaxdrop.dropout(key, jnp.tanh(h), rate=0.5), None

        return lax.scan(step, x, jax.random.split(key, 3))[0]

    function = renamed(steps)
    equation = first({"scan"}, function, KEY, X)
    assert isinstance(structure_of(equation), Unknown)
    assert is_stochastic(traced(function, KEY, X))
    drawn = mc.samples(function, KEY, X, num_samples=2)
    expected = [steps(jax.random.fold_in(KEY, t), X) for t in range(2)]
    np.testing.assert_allclose(drawn, jnp.stack(expected), rtol=1e-6)
    found = diagnostics.audit(function, KEY, X)
    assert [(s.technique, s.mode) for s in found.sites] == [("scan", "unknown")]
    assert found.kinds == {"unknown"}
    without = renamed(lambda key, x: lax.scan(lambda h, _: (2 * h, None), x, x)[0])
    assert not diagnostics.audit(without, KEY, X).sites


def test_a_scan_whose_parameters_mean_something_else_is_unknown():
    equation = first({"scan"}, scanned, X, 2.0)
    params = {
        name: value
        for name, value in equation.params.items()
        if name not in ("num_consts", "num_carry", "ft_in")
    }
    other = equation.replace(params={**params, "num_consts": 0, "num_carry": 1})
    assert isinstance(structure_of(other), Unknown)
    for missing in ("jaxpr", "length"):
        rest = {n: v for n, v in equation.params.items() if n != missing}
        found = structure_of(equation.replace(params=rest))
        assert found is None or isinstance(found, Unknown)
    loop = first({"while"}, looped, X, 9.0)
    for name in ("cond_nconsts", "body_jaxpr", "cond_jaxpr"):
        rest = {n: v for n, v in loop.params.items() if n != name}
        assert isinstance(structure_of(loop.replace(params=rest)), Unknown)
