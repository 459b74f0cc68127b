"""A module adds state and nothing else: the knobs and numbers of its function."""

import copy
import dataclasses
import inspect
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import jaxdrop
from family import ROWS, Row

RATE = 0.4
MODULES = {name: row.module for name, row in ROWS.items() if row.module}
WITHOUT_MODULE = {  # tested in files of their own, or not called with one array
    "drop_connect": "its modules are layers",
    "drop_head": "a part of attention",
    "embedding_dropout": "called with ids as well",
    "mixout": "for trees of parameters",
    "shake_drop": "its evaluation is an expectation",
    "zoneout": "its module is a cell",
}
ROWS_OF_MODULES = [
    pytest.param(ROWS[row], name, id=row) for row, name in MODULES.items()
]
for_every_module = pytest.mark.parametrize("row, name", ROWS_OF_MODULES)
SHARED = {"rate", "deterministic", "rng_collection", "rngs", "parent", "name"}


def in_nnx(name: str, row: Row, **kwargs):
    return getattr(jaxdrop.nnx, name)(RATE, **row.knobs, **kwargs)


def in_linen(name: str, row: Row, **kwargs):
    return getattr(jaxdrop.linen, name)(RATE, **row.knobs, **kwargs)


def knobs_of(function) -> dict:
    """The keywords particular to a function, with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {
        p.name: p.default
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.name not in SHARED
    }


def test_every_function_has_its_modules():
    assert {*MODULES, *WITHOUT_MODULE} == set(ROWS)


@pytest.mark.whole
@for_every_module
def test_the_knobs_are_those_of_the_function(row, name):
    fields = dataclasses.fields(getattr(jaxdrop.linen, name))
    linen_knobs = {f.name: f.default for f in fields if f.name not in SHARED}
    assert linen_knobs == knobs_of(row.function)
    assert knobs_of(getattr(jaxdrop.nnx, name).__init__) == knobs_of(row.function)


@pytest.mark.whole
@for_every_module
def test_calls_have_one_signature(row, name):
    nnx_call = inspect.signature(getattr(jaxdrop.nnx, name).__call__)
    assert str(nnx_call).replace("'", "").startswith("(self, inputs: ")
    assert list(nnx_call.parameters) == [
        "self",
        "inputs",
        "deterministic",
        "rngs",
        "rate",
    ]
    linen_call = inspect.signature(getattr(jaxdrop.linen, name).__call__)
    assert list(linen_call.parameters) == [
        "self",
        "inputs",
        "deterministic",
        "rng",
        "rate",
    ]
    assert linen_call.parameters["rate"].kind is inspect.Parameter.KEYWORD_ONLY
    for signature in (nnx_call, linen_call):
        assert all(signature.parameters[p].default is None for p in ("deterministic",))


@for_every_module
def test_nnx_computes_the_function_with_its_next_key(row, name):
    module = in_nnx(name, row, rngs=nnx.Rngs(dropout=1))
    stream = nnx.Rngs(dropout=1).dropout.fork()
    x = jnp.ones(row.shape)
    for _ in range(2):
        np.testing.assert_array_equal(module(x), row(stream(), x, RATE))
    assert module.rngs.count[...] == 2
    key = jax.random.key(3)
    for source in (key, nnx.Rngs(dropout=key)):
        used = key if source is key else nnx.Rngs(dropout=key).dropout()
        np.testing.assert_array_equal(module(x, rngs=source), row(used, x, RATE))
    np.testing.assert_array_equal(
        module(x, rngs=key, rate=0.7), row(key, x, 0.7), err_msg="rate at call time"
    )


@for_every_module
def test_linen_computes_the_function_with_its_key(row, name, key):
    module, x = in_linen(name, row), jnp.ones(row.shape)
    given = module.apply({}, x, False, key)
    np.testing.assert_array_equal(given, row(key, x, RATE))
    drawn = module.apply({}, x, deterministic=False, rngs={"dropout": key})
    again = module.apply({}, x, deterministic=False, rngs={"dropout": key})
    np.testing.assert_array_equal(drawn, again)
    assert (drawn != x).any()
    np.testing.assert_array_equal(
        module.apply({}, x, False, key, rate=0.7), row(key, x, 0.7)
    )


@for_every_module
def test_the_mode_is_followed_and_no_key_is_used_in_evaluation(row, name, key):
    x = jnp.ones(row.shape)
    module = in_nnx(name, row, rngs=nnx.Rngs(1))
    module.eval()
    assert module(x) is x
    assert in_nnx(name, row)(x, deterministic=True) is x
    training = nnx.view(module, deterministic=False)
    assert (training(x) != x).any()
    module.train()
    assert module(x, deterministic=True) is x
    assert module(x, rate=0.0) is x
    assert module.rngs.count[...] == training.rngs.count[...] == 1
    assert (module(x) != x).any()
    bound = in_linen(name, row, deterministic=True)
    assert bound.apply({}, x) is x
    assert in_linen(name, row).apply({}, x, True) is x


@for_every_module
def test_a_traced_mode_and_a_traced_rate_compile_once(row, name, key):
    x = jnp.ones(row.shape)
    modules = [in_nnx(name, row), in_linen(name, row)]
    calls = [
        lambda d, r: modules[0](x, deterministic=d, rngs=key, rate=r),
        lambda d, r: modules[1].apply({}, x, d, key, rate=r),
    ]
    for call in calls:
        step = jax.jit(call)
        assert (step(jnp.bool_(True), 0.4) == x).all()
        np.testing.assert_array_equal(
            step(jnp.bool_(False), 0.4), row(key, x, jnp.float32(0.4))
        )


@for_every_module
def test_what_is_missing_is_said_with_the_ways_to_mend_it(row, name):
    x = jnp.ones(row.shape)
    with pytest.raises(ValueError, match=rf"{name}: there are no keys.*rngs=.*eval"):
        in_nnx(name, row)(x)
    with pytest.raises(ValueError, match=f"{name}: the mode is not known"):
        in_nnx(name, row, deterministic=None, rngs=nnx.Rngs(0))(x)
    with pytest.raises(TypeError, match="a key is given at call time"):
        in_nnx(name, row, rngs=jax.random.key(0))
    with pytest.raises(TypeError, match="rngs must be"):
        in_nnx(name, row)(x, rngs=0)
    with pytest.raises(ValueError, match="rate is the probability"):
        getattr(jaxdrop.nnx, name)(1.5)
    with pytest.raises(ValueError, match="rate is the probability"):
        getattr(jaxdrop.linen, name)(1.5)


@for_every_module
def test_a_module_holds_no_array_unless_it_was_given_one(row, name):
    assert not jax.tree.leaves(nnx.state(in_nnx(name, row)))
    with_keys = nnx.state(in_nnx(name, row, rngs=nnx.Rngs(0)))
    assert len(jax.tree.leaves(with_keys)) == 2  # the key and the count of a stream
    assert not in_linen(name, row).init(
        {"dropout": jax.random.key(0)}, jnp.ones(row.shape), False
    )


@for_every_module
def test_copies_and_pickles_draw_alike_and_apart(row, name):
    x = jnp.ones(row.shape)
    module = in_nnx(name, row, rngs=nnx.Rngs(5))
    twins = [copy.deepcopy(module), nnx.clone(module)]
    graph, state = nnx.split(module)
    twins.append(nnx.merge(graph, state, copy=True))
    expected = [module(x), module(x)]
    for twin in twins:
        np.testing.assert_array_equal(twin(x), expected[0])
        np.testing.assert_array_equal(twin(x), expected[1])
    linen = pickle.loads(pickle.dumps(in_linen(name, row)))
    assert linen == in_linen(name, row)
    stateless = pickle.loads(pickle.dumps(in_nnx(name, row)))
    key = jax.random.key(0)
    np.testing.assert_array_equal(stateless(x, rngs=key), row(key, x, RATE))


@pytest.mark.whole
@for_every_module
def test_modules_show_their_rate(row, name):
    assert "0.4" in repr(in_nnx(name, row)) and "0.4" in repr(in_linen(name, row))
    assert inspect.getdoc(getattr(jaxdrop.nnx, name)).startswith(":func:`jaxdrop.")
    assert inspect.getdoc(getattr(jaxdrop.linen, name)).startswith(":func:`jaxdrop.")


def test_lists_of_knobs_are_taken_as_tuples_so_that_modules_can_be_hashed():
    from_list = jaxdrop.linen.DropBlock(0.1, block_size=[3, 2])
    assert from_list == jaxdrop.linen.DropBlock(0.1, block_size=(3, 2))
    assert hash(from_list) == hash(jaxdrop.linen.DropBlock(0.1, block_size=(3, 2)))
    assert hash(jaxdrop.linen.Dropout(0.1, [0])) == hash(
        jaxdrop.linen.Dropout(0.1, (0,))
    )


BROADCAST = [(), (0,), (1,), (-1,), (0, 2), (1, 2), (0, 1, 2)]


def assert_like_flax(ours, theirs) -> None:
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    np.testing.assert_array_equal(ours == 0, theirs == 0)
    if ours.dtype == jnp.float32:
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("axes", BROADCAST)
def test_shared_axes_are_those_of_flax(axes, key):
    x = jnp.ones((6, 7, 8))
    ours = jaxdrop.nnx.Dropout(0.5, broadcast_dims=axes)(x, rngs=key)
    assert_like_flax(ours, nnx.Dropout(0.5, broadcast_dims=axes)(x, rngs=key))
    linens = (
        module(0.5, axes, False).apply({}, x, rng=key)
        for module in (jaxdrop.linen.Dropout, linen.Dropout)
    )
    assert_like_flax(*linens)
