"""Our modules in the place of Flax's: what Flax's tools see, and the keys they use."""

import copy
import itertools
import pickle
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import jaxdrop
import specimens
from family import ROWS

KEY = jax.random.key(7)
X = jnp.linspace(-3.0, 4.0, 60, dtype=jnp.float32).reshape(12, 5)
DROPPERS = sorted({row.module for row in ROWS.values() if row.module})
ANYTHING = {
    "an integer array": jnp.arange(3),
    "a boolean array": jnp.array([True, False]),
    "an array of doubles": np.ones(3, np.float64),
    "a list": [1.0, 2.0],
    "a tree": {"a": (1, None), "b": "text"},
    "a number": 3,
    "None": None,
}


IDENTITIES = [
    pytest.param(room, table[name], id=f"{room}-{name}")
    for name in DROPPERS
    for room, table in (("nnx", specimens.NNX), ("linen", specimens.LINEN))
]
"""The modules of both frameworks that are the identity in evaluation."""


@pytest.mark.parametrize("room, specimen", IDENTITIES)
def test_in_evaluation_anything_passes_untouched(room, specimen):
    for x in ANYTHING.values():
        if room == "nnx":
            assert specimen.make()(x, deterministic=True) is x
            assert specimen.make()(x, rate=0.0) is x
        else:
            assert specimen.make().apply({}, x, True) is x
            assert specimen.make().apply({}, x, False, rate=0) is x


@pytest.mark.whole
@pytest.mark.parametrize("x", [[1.0, 2.0], np.arange(3), None])
@pytest.mark.parametrize("room, specimen", IDENTITIES)
def test_in_training_only_floats_are_taken(room, specimen, x):
    with pytest.raises(TypeError, match=r"must be an array|must be floating"):
        if room == "nnx":
            specimen.make()(x, rngs=KEY)
        else:
            specimen.make().apply({}, x, False, KEY)


def test_integers_pass_the_relatives_in_evaluation():
    ids = np.arange(12).reshape(2, 3, 2)
    tokens, indices = jaxdrop.nnx.TokenDropout(0.5, return_indices=True)(
        ids, deterministic=True
    )
    assert tokens is ids and indices.tolist() == [[0, 1, 2]] * 2
    assert jaxdrop.nnx.EmbeddingDropout(0.5)(ids, None, deterministic=True) is ids
    assert jaxdrop.nnx.ShakeDrop(0.5)(ids, rate=0.0) is ids
    subset = jaxdrop.nnx.SubsetStochasticDepth(lambda x: x, 0.5)
    assert subset(ids, deterministic=True) is ids
    tree = {"kernel": ids}
    assert jaxdrop.drop_connect(None, ids, rate=0.5, deterministic=True) is ids
    assert jaxdrop.mixout(None, tree, tree, rate=0) is tree


@pytest.mark.parametrize("room, specimen", IDENTITIES)
def test_rate_one_needs_no_key(room, specimen):
    """What is dropped for sure is dropped alike by every key."""
    name = type(specimen.make()).__name__
    (x,) = specimen.data
    if name == "GaussianDropout":
        return  # has no rate 1
    if room == "nnx":
        run = lambda **source: specimen.make()(x, rate=1.0, **source)
        own = specimen.make(rngs=nnx.Rngs(0))
        own(x, rate=1)
        assert own.rngs.count[...] == 0
        given = run(rngs=KEY)
    else:
        run = lambda **rngs: specimen.make(deterministic=False).apply(
            {}, x, rate=1.0, **rngs
        )
        given = run(rngs={"dropout": KEY})
    np.testing.assert_array_equal(run(), given)


@pytest.mark.parametrize("room", [jaxdrop.nnx, jaxdrop.linen])
def test_a_branch_that_is_shaken_at_rate_one_needs_a_key(room):
    with pytest.raises(Exception, match=r"dropout|no keys"):
        if room is jaxdrop.nnx:
            room.ShakeDrop(1.0)(X)
        else:
            room.ShakeDrop(1.0, deterministic=False).apply({}, X)


def test_rate_one_of_the_relatives_needs_no_key():
    rngs = nnx.Rngs(0)
    layer = jaxdrop.nnx.DropConnectLinear(5, 4, 1.0, rngs=rngs)
    np.testing.assert_array_equal(layer(X), jnp.zeros((12, 4)))
    assert layer.rngs.count[...] == 0
    assert jaxdrop.nnx.TokenDropout(1.0)(X).shape == (0, 5)
    assert not jaxdrop.nnx.EmbeddingDropout(1.0)(X, jnp.arange(12)).any()
    assert not jaxdrop.nnx.SubsetStochasticDepth(jnp.sin, 1.0)(X).any()


AXES = [0, [0], (np.int64(0),), {0}, range(1), np.array([0]), jnp.array([0]), {0: None}]


@pytest.mark.parametrize("axes", [*AXES, pytest.param(iter((0,)), id="iter")], ids=repr)
def test_axes_may_be_any_iterable(axes):
    axes = list(axes) if not isinstance(axes, int | np.ndarray | jax.Array) else axes
    expected = nnx.Dropout(0.5, broadcast_dims=(0,))(X, rngs=KEY)
    ours = jaxdrop.nnx.Dropout(0.5, broadcast_dims=axes)
    assert ours.broadcast_dims == (0,)
    np.testing.assert_array_equal(ours(X, rngs=KEY), expected)
    layer = jaxdrop.linen.Dropout(0.5, axes)
    assert layer.broadcast_dims == (0,) and hash(layer)
    np.testing.assert_array_equal(layer.apply({}, X, False, KEY), expected)
    np.testing.assert_array_equal(
        jaxdrop.dropout(KEY, X, rate=0.5, broadcast_dims=axes), expected
    )


def test_the_argument_is_called_inputs():
    ours = jaxdrop.nnx.Dropout(0.5)(inputs=X, rngs=KEY)
    np.testing.assert_array_equal(ours, nnx.Dropout(0.5)(inputs=X, rngs=KEY))
    for module in (jaxdrop.linen.Dropout(0.5), linen.Dropout(0.5)):
        y = module.apply({}, inputs=X, deterministic=False, rng=KEY)
        np.testing.assert_array_equal(y, ours)


# The keys that a call uses.

MODES = list(itertools.product([True, False, None], repeat=2))
SOURCES = ("nothing", "rngs", "stream", "key")


def nnx_use(cls, rate, own, source, modes):
    """The output of a call, and how far it moved each stream; or its error."""
    at_start, at_call = modes
    rngs = nnx.Rngs(3)
    module = cls(rate, deterministic=at_start, rngs=nnx.Rngs(1) if own else None)
    given = {"rngs": rngs, "stream": rngs.dropout, "key": KEY, "nothing": None}[source]
    try:
        y = module(X, deterministic=at_call, rngs=given)
    except ValueError:
        return "ValueError"
    counts = [int(s.count[...]) for s in (module.rngs, rngs.default) if s is not None]
    return np.asarray(y).tolist(), counts


@pytest.mark.parametrize("modes", MODES, ids=str)
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0, 0, 1])
def test_nnx_moves_the_streams_that_flax_moves(rate, modes):
    for own, source in itertools.product([True, False], SOURCES):
        ours = nnx_use(jaxdrop.nnx.Dropout, rate, own, source, modes)
        assert ours == nnx_use(nnx.Dropout, rate, own, source, modes), (own, source)


class Twice(linen.Module):
    """A site, and what the next key of its collection draws."""

    drop: linen.Module

    @linen.compact
    def __call__(self, x, *args):
        """The output of the site, and the next draw."""
        y = self.drop(x, *args)
        return y, jax.random.uniform(self.make_rng("dropout"))


@pytest.mark.parametrize("modes", MODES, ids=str)
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_linen_draws_the_keys_that_flax_draws(rate, modes):
    def use(cls, args):
        module = Twice(cls(rate, deterministic=modes[0]))
        try:
            y, following = module.apply({}, X, *args, rngs={"dropout": KEY})
        except ValueError:
            return "ValueError"
        return np.asarray(y).tolist(), float(following)

    for args in ((modes[1],), (modes[1], jax.random.key(5))):
        assert use(jaxdrop.linen.Dropout, args) == use(linen.Dropout, args)


# What the tools of Flax see of a module.


def public(cls) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def test_a_module_shows_the_methods_that_flax_shows():
    assert public(jaxdrop.nnx.Dropout) == public(nnx.Dropout)
    assert public(jaxdrop.linen.Dropout) == public(linen.Dropout)


OFFERED = {"penalty", "sparsity", "rate", "set_view"}
"""Of our modules beside those of Flax."""


@pytest.mark.parametrize("room, base", [("nnx", nnx.Module), ("linen", linen.Module)])
def test_no_module_has_public_helpers(room, base):
    package = getattr(jaxdrop, room)
    known = public(base) | public(nnx.Conv) | public(nnx.OptimizedLSTMCell) | OFFERED
    for name in package.__all__:
        cls = getattr(package, name)
        if not isinstance(cls, type) or not issubclass(cls, base):
            continue
        attributes = set(getattr(cls, "__dataclass_fields__", ()))
        methods = {n for n in public(cls) if callable(getattr(cls, n))}
        assert methods - attributes <= known, name


@pytest.mark.parametrize("name", sorted(specimens.LINEN))
def test_interceptors_see_calls_and_nothing_else(name):
    specimen = specimens.LINEN[name]
    module = specimen.make(deterministic=False)
    seen = set()

    def note(call, args, kwargs, context):
        if type(context.module).__module__.startswith("jaxdrop."):
            seen.add(context.method_name)
        return call(*args, **kwargs)

    keys = {"params": KEY, "dropout": KEY}
    with linen.intercept_methods(note):
        jax.eval_shape(lambda: module.init_with_output(keys, *specimen.data))
    of_rnn = {"scan_fn", "<lambda>"} if isinstance(module, linen.RNN) else set()
    assert "__call__" in seen and seen <= {"__call__", "setup", *of_rnn}


def test_intermediates_and_tables_are_those_of_flax():
    def shown(cls):
        module = linen.Sequential([linen.Dense(5), cls(0.5, deterministic=False)])
        keys = {"params": KEY, "dropout": KEY}
        table = linen.tabulate(module, keys, show_repeated=True)(X)
        variables = module.init(keys, X)
        _, state = module.apply(
            variables, X, rngs=keys, capture_intermediates=lambda *_: True
        )
        return table, jax.tree.map(jnp.shape, state["intermediates"])

    assert shown(jaxdrop.linen.Dropout) == shown(linen.Dropout)


def test_hooks_of_ones_own_modules_are_hidden_too():
    class Halve(jaxdrop.linen.DropoutModule):
        def _regularize(self, key, x, rate, deterministic):
            return x if deterministic else x / 2

    module = Halve(0.5, deterministic=False)
    _, state = module.apply(
        {}, X, rngs={"dropout": KEY}, capture_intermediates=lambda *_: True
    )
    assert set(state["intermediates"]) == {"__call__"}


# The same uses of both, side by side.

USES = {
    "a view": lambda lib: nnx.view(lib.drop, deterministic=True)(X),
    "attributes": lambda lib: sorted(vars(lib.drop)),
    "attributes that are set": lambda lib: (
        lib.drop.set_attributes(deterministic=None, rate=0.25, broadcast_dims=[0]),
        lib.drop(X, deterministic=False),
    ),
    "evaluation": lambda lib: (lib.drop.eval(), lib.drop(X)),
    "the state": lambda lib: [
        (path, type(leaf).__name__)
        for path, leaf in nnx.to_flat_state(nnx.state(lib.drop))
    ],
    "split and merged": lambda lib: nnx.merge(*nnx.split(lib.drop))(X),
    "a clone": lambda lib: nnx.clone(lib.drop)(X),
    "a deep copy": lambda lib: copy.deepcopy(lib.drop)(X),
    "a pickle": lambda lib: pickle.loads(pickle.dumps(lib.nnx(0.25)))(X, rngs=KEY),
    "a pickle of linen": lambda lib: pickle.loads(pickle.dumps(lib.linen(0.25))).rate,
    "a sequence": lambda lib: nnx.Sequential(lib.drop, nnx.relu)(X),
    "a sequence of linen": lambda lib: linen.Sequential(
        [lib.linen(0.5, deterministic=False), linen.relu]
    ).apply({}, X, rngs={"dropout": KEY}),
    "linen in nnx": lambda lib: nnx.bridge.ToNNX(
        lib.linen(0.5), rngs=nnx.Rngs(0)
    ).lazy_init(X, False)(X, False),
    "nnx in linen": lambda lib: in_linen(lib.nnx),
    "a table": lambda lib: nnx.tabulate(lib.drop, X),
    "complex numbers": lambda lib: lib.drop(X + 1j * X),
    "float16": lambda lib: lib.drop(X.astype(jnp.float16)),
    "NumPy": lambda lib: lib.drop(np.asarray(X)),
    "a raw key": lambda lib: lib.nnx(0.3)(X, rngs=jax.random.key_data(KEY)),
    "no rngs of that name": lambda lib: lib.nnx(0.5, rngs=nnx.Rngs(params=0)),
    "gradients": lambda lib: jax.jit(
        jax.grad(lambda x: (lib.nnx(0.3)(x, rngs=KEY) ** 2).sum())
    )(X),
    "gradients at rate 1": lambda lib: jax.grad(lambda x: lib.nnx(1.0)(x).sum())(X),
}


def in_linen(cls):
    module = nnx.bridge.ToLinen(cls, args=(0.5,))
    variables = module.init({"params": KEY, "dropout": KEY}, X)
    return module.apply(variables, X, rngs={"dropout": KEY}), jax.tree.map(
        jnp.shape, variables
    )


def outcome(use, *classes):
    lib = types.SimpleNamespace(nnx=classes[0], linen=classes[1])
    lib.drop = lib.nnx(0.5, rngs=nnx.Rngs(2))
    try:
        return jax.tree.map(
            lambda leaf: np.asarray(leaf).tolist() if hasattr(leaf, "dtype") else leaf,
            use(lib),
        )
    except Exception as error:  # whatever Flax raises, ours is to raise too
        return type(error).__name__


@pytest.mark.parametrize("name", sorted(USES))
def test_a_use_of_ours_is_that_of_flax(name):
    ours = outcome(USES[name], jaxdrop.nnx.Dropout, jaxdrop.linen.Dropout)
    assert ours == outcome(USES[name], nnx.Dropout, linen.Dropout)
