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
from jax.experimental import xla_metadata
from jax.extend.core import Primitive, primitives
from jax.interpreters import mlir

import jaxdrop
from jaxdrop import _programs, diagnostics, mc
from jaxdrop._programs import Call, Choice, Loop, Unknown, structure_of
from jaxdrop.mc._trunk import is_stochastic
from tests.programs.equations import first, traced

KEY, X = jax.random.key(0), jnp.ones((4, 3))


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
        "metadata": lambda x: xla_metadata.set_xla_metadata(
            jnp.sin(x), inlineable="false"
        ),
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
if hasattr(xla_metadata, "xla_metadata_call"):
    CALLS["marked"] = xla_metadata.xla_metadata_call(jnp.sin, inlineable="false")


@pytest.mark.parametrize("name", CALLS)
def test_calls_hold_one_program_of_all_their_operands(name):
    equation = traced(CALLS[name], X).jaxpr.eqns[0]
    assert isinstance(structure_of(equation), Call), (
        f"{equation.primitive.name} is not known as a call, or does not hold exactly "
        "one program that takes all its operands"
    )


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
FREE = dict(length="steps", jaxpr="program", num_consts="consts", ft_in="groups")


def bound(args, params):
    back = {new: old for old, new in FREE.items()}
    params = {back.get(name, name): value for name, value in params.items()}
    return lambda *args: primitives.scan_p.bind(*args, **params)


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


def test_known_primitives_with_other_operands_are_unknown():
    choose = lambda x: lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x)
    for names, function, args in (
        ({"scan"}, scanned, (X, 2.0)),
        ({"while"}, looped, (X, 9.0)),
        ({"cond"}, choose, (X,)),
        ({"jit", "pjit"}, jax.jit(jnp.sin), (X,)),
    ):
        equation = first(names, function, *args)
        other = equation.replace(invars=equation.invars[:-1])
        assert isinstance(structure_of(other), Unknown), names
    scan, cond = first({"scan"}, scanned, X, 2.0), first({"cond"}, choose, X)
    counts = {"num_consts": 0, "num_carry": 99}
    hidden = {"branches": None, "others": cond.params["branches"]}
    for equation, params in ((scan, {**scan.params, **counts}), (cond, hidden)):
        assert isinstance(structure_of(equation.replace(params=params)), Unknown)
