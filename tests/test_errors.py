"""Every error of the library starts with the name of what was called, once."""

import ast
import copy
import functools
import inspect
import pathlib
import pickle
import re
import traceback
import types
import typing

import host_arguments as table
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen as nn
from flax import nnx
from properties.test_arguments import NAMES, OTHERS
from test_host_arguments import public_functions
from test_public_api import IN_NAMESPACE

import jaxdrop
import specimens
from jaxdrop import _errors, constraints, mc, schedules

KEY, X = jax.random.key(0), jnp.ones((4, 3))
PACKAGE = pathlib.Path(jaxdrop.__file__).parent
WHERE_CALLED = {  # by another public function, which names the error
    "diagnostics.assert_active": "audit",
    "diagnostics.assert_inactive": "audit",
    "mc.joint": "mc.predict",
    "prng.normal": "random_bits",
    "prng.uniform": "random_bits",
}
TAKES_ANYTHING_FIRST = {  # functions of trees; another argument, which may be refused
    "concrete_penalty": "weight_regularizer",
    "constraints.decay_mask": "exclude",
    "variational_sparsity": "threshold",
}


def refusable(name):
    """The name of an argument that a function does not take anything as."""
    first = table.parameters_of(table.function_of(name))[0]
    return TAKES_ANYTHING_FIRST.get(name, first)


def name_in_errors(name):
    """The name with which errors start: functions of ``mc`` keep its name."""
    if name in WHERE_CALLED:
        return WHERE_CALLED[name]
    samples = ("mc.predict", "mc.samples", "mc.joint", "mc.function_draw")
    return name if name in samples else name.rsplit(".", 1)[-1]


def message_of(function, /, *args, **kwargs):
    with pytest.raises((TypeError, ValueError, AssertionError)) as caught:
        function(*args, **kwargs)
    shown = "".join(traceback.format_exception(caught.value))
    assert "During handling" not in shown
    return str(caught.value)


def is_decorated(function):
    """Whether the decorator is one of the wrappers of a function."""
    own = str(pathlib.Path(_errors.__file__))
    while hasattr(function, "__wrapped__"):
        if function.__code__.co_filename == own:
            return True
        function = function.__wrapped__
    return False


@pytest.mark.parametrize("name", sorted(public_functions()))
def test_every_public_function_is_decorated(name):
    function = table.function_of(name)
    if isinstance(function, type):
        function = function.update
    assert is_decorated(function), f"{name} has no decorator of jaxdrop._errors"


@pytest.mark.parametrize("name", sorted(IN_NAMESPACE["plots"]))
def test_every_plot_is_decorated(name):
    assert is_decorated(getattr(jaxdrop.plots, name))


@pytest.mark.parametrize("framework", ["nnx", "linen"])
def test_every_public_method_of_a_module_is_decorated(framework):
    room = getattr(jaxdrop, framework)
    missing = [
        f"{cls.__name__}.{name}"
        for module in IN_NAMESPACE[framework]
        if inspect.isclass(getattr(room, module))
        for cls in getattr(room, module).__mro__
        if cls.__module__.startswith("jaxdrop")
        for name, method in vars(cls).items()
        if inspect.isfunction(method)
        and (not name.startswith("_") or name in ("__call__", "__post_init__"))
        and method.__module__.startswith("jaxdrop")
        and not is_decorated(method)
    ]
    assert missing == []


class Strange:
    """Not a number, array, key, function or tree of them."""


@pytest.mark.parametrize("name", NAMES)
def test_an_error_starts_with_the_name_of_the_function(name):
    given = {**OTHERS.get(name, {}), refusable(name): Strange()}
    message = message_of(table.call, name, **given)
    assert message.startswith(f"{name_in_errors(name)}: "), message
    assert message.count(f"{name_in_errors(name)}: ") == 1, message


def test_no_message_starts_with_a_name_by_itself():
    """Otherwise the name would be there twice."""
    public = {name.rsplit(".", 1)[-1] for name in NAMES}
    public |= IN_NAMESPACE["nnx"] | IN_NAMESPACE["linen"] | IN_NAMESPACE["plots"]
    found = [
        f"{path.name}:{text.lineno}: {text.value!r}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise) and node.exc
        for text in ast.walk(node.exc)
        if isinstance(text, ast.Constant)
        and isinstance(text.value, str)
        and ": " in text.value
        and text.value.split(": ")[0].removeprefix("mc.") in public
    ]
    assert found == []


def drop_too_much(x):
    return jaxdrop.dropout(KEY, x, rate=2.0)


@pytest.mark.parametrize(
    "transform",
    [
        jax.jit,
        jax.vmap,
        jax.grad,
        jax.checkpoint,
        lambda f: jax.jit(jax.vmap(jax.jit(f))),
        lambda f: lambda x: jax.lax.scan(lambda c, row: (c, f(row)), 0, x),
        lambda f: lambda x: jax.lax.cond(True, f, f, x),
        lambda f: lambda x: jax.eval_shape(f, x),
    ],
    ids=["jit", "vmap", "grad", "checkpoint", "nested", "scan", "cond", "eval_shape"],
)
def test_the_name_is_there_once_under_transforms(transform):
    message = message_of(transform(drop_too_much), X)
    assert message.startswith("dropout: rate is the probability of dropping"), message


def test_the_innermost_function_gives_the_name():
    sample = lambda key, x: jaxdrop.dropout(key, x, rate=2.0)
    message = message_of(mc.predict, sample, KEY, X, num_samples=2)
    assert message.startswith("dropout: rate"), message
    layer = jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0))
    message = message_of(jax.jit(jaxdrop.nnx.mc_apply), KEY, layer, [1])
    assert message.startswith("dropout: the input"), message


def test_what_a_function_returns_has_its_name_in_errors_too():
    schedule = schedules.early(0.5, cutoff=10)
    assert message_of(schedule, 1j).startswith("early: step must be")
    curve = mc.function_draw(lambda key, x: x, KEY, batch_axis=5)
    assert message_of(curve, X).startswith("mc.function_draw: batch_axis")
    limit = constraints.max_norm(2.0)
    params = {"kernel": X}
    assert message_of(limit.update, params, limit.init(params)).startswith(
        "max_norm: params is needed"
    )
    assert message_of(limit.init, {}).startswith("max_norm: there is nothing to act on")
    shape = jax.ShapeDtypeStruct((4,), complex)
    for make in (mc.moments, mc.quantiles, mc.categorical, mc.votes, mc.covariance):
        message = message_of(make().init, shape)
        assert message.startswith(f"{make.__name__}: "), message


def test_errors_of_user_code_and_of_jax_pass_unchanged():
    def fail(key, x):
        raise ValueError("mine")

    assert message_of(mc.predict, fail, KEY, X, num_samples=2) == "mine"
    mismatch = lambda key, x: jax.random.normal(key, (7,)) @ x
    with pytest.raises(TypeError) as expected:
        mismatch(KEY, X)
    found = message_of(mc.predict, mismatch, KEY, X, num_samples=2)
    assert found == str(expected.value)
    assert message_of(jaxdrop.dropout, KEY).startswith("dropout() missing")
    assert message_of(optax.adamw, 1e-3, mask=3, nonsense=1).startswith("adamw() got")


def test_an_error_is_the_same_object_of_the_same_type_with_its_frames():
    with pytest.raises(ValueError, match=r"^dropout: rate") as caught:
        drop_too_much(X)
    assert type(caught.value) is ValueError
    assert caught.value.__cause__ is caught.value.__context__ is None
    frames = [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert frames[-1] == "check_rate"


def test_methods_have_the_name_of_the_class_of_their_object():
    class Noise(jaxdrop.nnx.Dropout):
        pass

    assert message_of(Noise, 2.0).startswith("Noise: rate")
    assert message_of(Noise, p=0.5).startswith("Noise: 'p' is not an argument")
    assert message_of(Noise(0.5), X).startswith("Noise: there are no keys")
    assert message_of(jaxdrop.nnx.Rate, 2.0).startswith("Rate: rate")

    class LinenNoise(jaxdrop.linen.Dropout):
        pass

    assert message_of(LinenNoise, 2.0).startswith("LinenNoise: rate")
    assert message_of(LinenNoise, p=0.5).startswith("LinenNoise: 'p' is not")
    stopping = jaxdrop.early_stopping.EarlyStopping(patience=1)
    assert message_of(stopping.update, "x").startswith("EarlyStopping: metric")


@pytest.mark.parametrize("room", ["nnx", "linen"])
def test_calls_that_do_not_fit_name_the_public_class(room):
    """Not the private base that defines the method."""
    for name, specimen in getattr(specimens, room.upper()).items():
        given = {"rngs": nnx.Rngs(0)} if room == "nnx" else {}
        module = specimen.make(**given)
        cls = type(module).__name__
        keys = {"params": KEY, "dropout": KEY}
        call = module if room == "nnx" else functools.partial(module.init, keys)
        message = message_of(call, unknown=1)
        assert f"{cls}.__call__() got an unexpected" in message, name
        assert cls in message_of(type(module), unknown=1), name


MISFITS = {
    "no input": lambda lib: lib.nnx(0.5)(),
    "a mode by position": lambda lib: lib.nnx(0.5)(X, True),
    "an unknown argument": lambda lib: lib.nnx(0.5)(X, unknown=1),
    "no rate": lambda lib: lib.nnx(),
    "axes by position": lambda lib: lib.nnx(0.5, (0,)),
    "in a class of one's own": lambda lib: type("Own", (lib.nnx,), {})(0.5)(),
    "no input of linen": lambda lib: lib.linen(0.5).apply({}),
    "an unknown argument of linen": lambda lib: lib.linen(0.5).apply({}, X, unknown=1),
    "five arguments of linen": lambda lib: lib.linen(0.5).apply({}, X, True, KEY, 1),
    "an unknown field": lambda lib: lib.linen(0.5, unknown=1),
    "no field": lambda lib: lib.linen(),
}


@pytest.mark.parametrize("name", MISFITS)
def test_calls_that_do_not_fit_are_errors_in_the_words_of_flax(name):
    def said_by(nnx_class, linen_class):
        lib = types.SimpleNamespace(nnx=nnx_class, linen=linen_class)
        with pytest.raises(TypeError) as caught:
            MISFITS[name](lib)
        return str(caught.value)

    ours = said_by(jaxdrop.nnx.Dropout, jaxdrop.linen.Dropout)
    assert ours == said_by(nnx.Dropout, nn.Dropout)


MISCALLED = {
    "no key": lambda: jaxdrop.dropout(X, 0.5),
    "a rate by position": lambda: jaxdrop.dropout(KEY, X, 0.5),
    "a key by name": lambda: jaxdrop.dropout(key=KEY, x=X, rate=0.5),
    "a misspelt option": lambda: jaxdrop.dropout(KEY, X, rate=0.5, axis=0),
    "no rate": lambda: jaxdrop.dropout(KEY, X),
}


@pytest.mark.parametrize("call", MISCALLED.values(), ids=MISCALLED)
def test_a_note_says_how_a_function_is_called(call):
    with pytest.raises(TypeError, match=r"^dropout\(\)") as caught:
        call()
    assert caught.value.__notes__ == [
        "It is called as dropout(key, x, /, *, rate, broadcast_dims=(), "
        "deterministic=False)."
    ]


@pytest.mark.parametrize(
    "call, note",
    [
        (lambda: jaxdrop.dropout(KEY, X, p=0.5), "'p' is not .* rate="),
        (lambda: jaxdrop.dropout(KEY, X, keep_prob=0.5), "rate=, which is 1 - keep"),
        (lambda: jaxdrop.dropout(KEY, X, rate=0.5, training=True), "deterministic="),
        (lambda: jaxdrop.dropout(X, rate=0.5, rng=KEY), "first argument"),
        (lambda: jaxdrop.nnx.Dropout(0.5)(X, train=True), "deterministic="),
        (lambda: jaxdrop.linen.Dropout(0.5).apply({}, X, train=True), "deterministic="),
        (lambda: jaxdrop.nnx.Dropout(), r"as Dropout\(rate, \*, .*, rngs=None\)\.$"),
        (lambda: jaxdrop.nnx.Dropout(0.5)(), r"as Dropout\.__call__\(inputs, \*, "),
        (lambda: jaxdrop.penalties.l2({}, p=0.5), r"as l2\(params, /, \*, coeff"),
        (lambda: jaxdrop.metrics.aurc(X, X, n_bins=3), r"as aurc\(confidence"),
        (
            lambda: jaxdrop.metrics.calibration_bins(X, X, n_bins=3),
            r"'n_bins' is not an argument: pass num_bins=\.$",
        ),
    ],
)
def test_keywords_of_other_libraries_are_noted_where_ours_is_an_argument(call, note):
    with pytest.raises(TypeError) as caught:
        call()
    assert re.search(note, caught.value.__notes__[0]), caught.value.__notes__
    assert "()" in str(caught.value) or ": " in str(caught.value)


def test_arguments_that_are_bound_in_a_wrapper_are_named_too():
    message = message_of(jaxdrop.metrics.calibration_bins, X, X, nonsense=3)
    assert message == "calibration_bins: got an unexpected keyword argument 'nonsense'"


def test_an_error_of_a_function_that_is_passed_is_not_explained():
    """Also where it binds arguments itself."""

    def bind(key, x):
        return inspect.signature(lambda: None).bind(x)

    with pytest.raises(TypeError) as caught:
        jaxdrop.mc.predict(bind, KEY, X, num_samples=2)
    assert not any("called as" in n for n in getattr(caught.value, "__notes__", []))


def test_a_call_that_does_not_fit_is_named_by_the_innermost_function():
    typo = functools.partial(jaxdrop.dropout, x=X)
    with pytest.raises(TypeError, match=r"^dropout\(\)"):
        jaxdrop.multi_sample(KEY, typo, num_samples=2)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: jaxdrop.dropout(X, KEY, rate=0.5), "its key as the first argument"),
        (
            lambda: jaxdrop.dropout(nnx.Rngs(0), X, rate=0.5),
            r"rngs\.dropout\(\) of nnx\.Rngs, got an object of type Rngs: ",
        ),
        (
            lambda: jaxdrop.embedding_dropout(KEY, jnp.arange(4), X, rate=0.5),
            "ids must be integers",
        ),
    ],
)
def test_arguments_in_another_order_are_named(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_python_names_functions_whose_arguments_do_not_fit_by_itself():
    assert message_of(jaxdrop.dropout).startswith("dropout() missing 2")
    for function in (constraints.soft_threshold, jaxdrop.penalties.l1):
        name = function.__name__
        assert message_of(function).startswith(f"{name}() missing")
    assert message_of(jaxdrop.nnx.Rate).startswith("Rate.__init__() missing 1")


def test_flax_names_the_calls_of_decorated_modules_as_before():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            return jaxdrop.linen.Dropout(0.5, deterministic=False)(x)

    calls = []

    def note(next_call, args, kwargs, context):
        calls.append((type(context.module).__name__, context.method_name))
        return next_call(*args, **kwargs)

    with nn.intercept_methods(note):
        Model().apply({}, X, rngs={"dropout": KEY})
    assert calls == [("Model", "__call__"), ("Dropout", "__call__")]


@pytest.mark.parametrize("name", sorted(public_functions()))
def test_a_decorated_function_looks_like_itself(name):
    function = table.function_of(name)
    if isinstance(function, type):
        return
    inner = inspect.unwrap(function)
    assert inspect.signature(function) == inspect.signature(inner)
    assert typing.get_type_hints(function) == typing.get_type_hints(inner)
    for attribute in ("__doc__", "__module__", "__name__", "__qualname__"):
        assert getattr(function, attribute) == getattr(inner, attribute)
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.deepcopy(function) is function
    assert {function: name}[function] == name


def test_a_message_has_one_line_whatever_was_given():
    model = nnx.Sequential(*(nnx.Linear(2, 2, rngs=nnx.Rngs(0)) for _ in range(9)))
    wrong = (
        lambda: jaxdrop.dropout(model, jnp.ones(2), rate=0.5),
        lambda: jaxdrop.dropout(None, jnp.ones(2), rate=model),
        lambda: jaxdrop.dropout(None, jnp.ones(2), rate=0.5, deterministic=model),
        lambda: jaxdrop.keys.site(jax.random.key(0), model),
        lambda: jaxdrop.masks.exact(jax.random.key(0), (2,), num_dropped=model),
        lambda: jaxdrop.prng.light([model]),
    )
    for call in wrong:
        with pytest.raises(TypeError) as caught:
            call()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
