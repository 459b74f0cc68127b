"""What an audit finds: a program with each fault, and one without it."""

import functools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diagnostics.cases import (
    IMAGES,
    KEY,
    TOKENS,
    Normalized,
    W,
    X,
    batch_norm,
    drop,
    for_ours_and_handwritten,
    kinds,
    recurrence,
)
from flax import linen, nnx
from jax import lax

import jaxdrop
from jaxdrop import diagnostics
from jaxdrop.diagnostics._audit.findings import KNOWN
from jaxdrop.diagnostics._audit.report import Kind


def test_batch_normalisation_of_linen_and_its_evaluation():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x, *, use_running_average):
            """Runs it."""
            x = jaxdrop.linen.Dropout(0.5, deterministic=False)(linen.Dense(8)(x))
            norm = linen.BatchNorm(use_running_average=use_running_average)
            return linen.Dense(3)(norm(x))

    variables = Net().init(KEY, X, use_running_average=True)
    audit = functools.partial(kinds, Net(), variables, X, rngs={"dropout": KEY})
    found = audit(use_running_average=False, mutable=["batch_stats"])
    assert found == {"batch norm"}
    assert not audit(use_running_average=True)


def test_what_is_published_with_batch_normalisation_behind_it_is_no_fault():
    paths = lambda k, x: batch_norm(x + jaxdrop.stochastic_depth(k, x, rate=0.2)) @ W
    assert not kinds(paths, KEY, X)
    norm = lambda k, x: batch_norm(jaxdrop.drop_block(k, x, rate=0.1)).sum((1, 2))
    assert not kinds(norm, KEY, jnp.ones((2, 9, 9, 3)))
    per_example = lambda k, x: jnp.where(
        jax.random.bernoulli(k, 0.5, (4, 1)), x / 0.5, 0.0
    )
    assert not kinds(lambda k, x: batch_norm(x + per_example(k, x)) @ W, KEY, X)


@for_ours_and_handwritten
def test_an_output_that_is_dropped(drop):
    assert kinds(lambda k, x: drop(k, x @ W), KEY, X) == {"output"}
    for after in (jax.nn.softmax, jax.nn.log_softmax, lambda y: y.reshape(-1) / 2.0):
        assert kinds(lambda k, x, f=after: f(drop(k, x @ W)), KEY, X) == {"output"}
    assert not kinds(lambda k, x: drop(k, x) @ W, KEY, X)
    assert not kinds(lambda k, x: x + drop(k, x @ W), KEY, X)
    assert not kinds(lambda k, x: drop(k, x).mean(), KEY, X)


def test_an_output_of_weights_or_flags_is_no_prediction():
    assert not kinds(lambda k, w: jaxdrop.drop_connect(k, w, rate=0.5), KEY, W)
    assert not kinds(lambda k: jaxdrop.layer_drop(k, 6, rate=0.5), KEY)
    assert not kinds(
        lambda k, x: jaxdrop.inputs.gaussian_noise(k, x, stddev=0.1), KEY, X
    )


def test_a_fresh_mask_for_a_state_at_every_step():
    xs = jnp.ones((5, 4, 8))
    assert kinds(functools.partial(recurrence, fresh=True), KEY, xs) == {"recurrent"}
    assert not kinds(functools.partial(recurrence, fresh=False), KEY, xs)  # as in Gal


def test_dropout_of_what_goes_into_or_out_of_a_recurrence_is_no_fault():
    def network(key, xs):
        def step(h, inputs):
            k, x = inputs
            first, second = jax.random.split(k)
            h = jnp.tanh(drop(first, x) + h @ W)
            return h, drop(second, h) @ W

        return lax.scan(step, jnp.zeros((4, 8)), (jax.random.split(key, 5), xs))

    assert not kinds(network, KEY, jnp.ones((5, 4, 8)))


class Recurrent(nnx.Module):
    """An RNN over tokens whose cell drops its state, once a step or once a sequence."""

    def __init__(self, cell):
        rngs = nnx.Rngs(0)
        self.rnn = nnx.RNN(cell(rngs))
        self.head = nnx.Linear(8, 2, rngs=rngs)

    def __call__(self, x):
        """Runs it."""
        return self.head(self.rnn(x)[:, -1])


class Forgetful(nnx.SimpleCell):
    """A cell with dropout written into it."""

    def __init__(self, rngs):
        super().__init__(8, 8, rngs=rngs)
        self.drop = jaxdrop.nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, carry, x):
        """Runs it."""
        return super().__call__(self.drop(carry), x)


def test_cells_of_recurrent_models():
    assert kinds(Recurrent(Forgetful), TOKENS) == {"recurrent"}
    variational = lambda rngs: jaxdrop.nnx.VariationalCell(
        nnx.LSTMCell(8, 8, rngs=rngs), input_rate=0.2, state_rate=0.5, rngs=rngs
    )
    assert not kinds(Recurrent(variational), TOKENS)
    zoned = lambda rngs: jaxdrop.nnx.ZoneoutCell(
        nnx.LSTMCell(8, 8, rngs=rngs), state_rate=0.1, rngs=rngs
    )
    assert "recurrent" not in kinds(Recurrent(zoned), TOKENS)


@for_ours_and_handwritten
def test_a_rate_near_1_may_be_a_keep_probability(drop):
    assert kinds(lambda k, x: drop(k, x, rate=0.9) @ W, KEY, X) == {"high rate"}
    assert not kinds(lambda k, x: drop(k, x, rate=0.85) @ W, KEY, X)


def test_rates_that_are_arrays_and_schedules_are_read_where_they_are_known():
    rates = lambda k, x: jaxdrop.dropout(k, x, rate=jnp.linspace(0, 0.95, 8)) @ W
    assert kinds(rates, KEY, X) == {"high rate"}
    schedule = jaxdrop.schedules.early(0.5, cutoff=100)
    scheduled = lambda k, x, step: jaxdrop.dropout(k, x, rate=schedule(step)) @ W
    assert not kinds(scheduled, KEY, X, jnp.int32(10))
    (now,) = diagnostics.audit(scheduled, KEY, X, jnp.int32(200)).findings
    assert now.kind == "rate 0"
    assert "for these arguments" in now.message and "ever" not in now.message
    unknown = jax.ShapeDtypeStruct((), jnp.int32)
    assert not kinds(scheduled, KEY, X, unknown)


@pytest.mark.parametrize("module", [jaxdrop.nnx.Dropout, nnx.Dropout])
def test_modules_with_a_rate_of_zero(module):
    head = nnx.Linear(8, 8, rngs=nnx.Rngs(0))
    for rate, expected in ((0.0, {"rate 0"}), (0.1, set())):
        model = nnx.Sequential(module(rate, rngs=nnx.Rngs(0)), head)
        assert kinds(model, X) == expected


@for_ours_and_handwritten
def test_one_key_at_two_sites(drop):
    def two(a, b, x):
        return drop(b, jax.nn.relu(drop(a, x) @ W)) @ W

    assert kinds(lambda k, x: two(k, k, x), KEY, X) == {"same key"}
    assert not kinds(lambda k, x: two(*jax.random.split(k), x), KEY, X)
    folded = lambda k, x: two(jax.random.fold_in(k, 1), jax.random.fold_in(k, 1), x)
    assert kinds(folded, KEY, X) == {"same key"}
    apart = lambda k, x: two(jax.random.fold_in(k, 1), jax.random.fold_in(k, 2), x)
    assert not kinds(apart, KEY, X)
    again = lambda k, x: two(jax.random.split(k)[0], jax.random.split(k)[0], x)
    assert kinds(again, KEY, X) == {"same key"}
    named = lambda k, x: two(jaxdrop.keys.site(k, "a"), jaxdrop.keys.site(k, "b"), x)
    assert not kinds(named, KEY, X)


def test_one_key_in_raw_words_in_nested_calls_and_in_two_branches():
    @jax.jit
    def block(key, x):
        return jax.checkpoint(lambda k, x: drop(k, x) @ W)(key, x)

    raw = jax.random.PRNGKey(0)
    assert kinds(lambda k, x: block(k, block(k, x)), raw, X) == {"same key"}
    either = lambda k, x, p: lax.cond(p, block, lambda k, x: drop(k, x) @ W, k, x)
    assert not kinds(either, KEY, X, jnp.bool_(True))


def test_words_of_a_key_that_are_wrapped_again_are_the_key():
    def rewrapped(key, x):
        again = jax.random.wrap_key_data(jax.random.key_data(key))
        return drop(again, drop(key, x) @ W) @ W

    assert kinds(rewrapped, KEY, X) == {"same key"}


def test_two_modules_from_equal_seeds_share_their_masks():
    def model(*seeds):
        rngs = nnx.Rngs(9)
        layers = [
            part
            for seed in seeds
            for part in (
                jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(seed)),
                nnx.Linear(8, 8, rngs=rngs),
            )
        ]
        return nnx.Sequential(*layers)

    found = diagnostics.audit(model(0, 0), X)
    assert [(f.kind, f.sites) for f in found.findings] == [
        ("same key", ("layers/0", "layers/2"))
    ]
    assert not kinds(model(0, 1), X)


@for_ours_and_handwritten
def test_an_output_that_is_thrown_away(drop):
    def forgotten(key, x):
        drop(key, x)
        return x @ W

    assert kinds(forgotten, KEY, X) == {"unused"}
    assert kinds(jax.jit(forgotten), KEY, X) == {"unused"}
    assert not kinds(lambda k, x: drop(k, x) @ W, KEY, X)


class Step(linen.Module):
    """A step of a recurrence, which drops its input."""

    @linen.compact
    def __call__(self, state, x):
        """Runs it."""
        x = jaxdrop.linen.Dropout(0.5, deterministic=False)(x)
        state = linen.Dense(8)(x + state)
        return state, state


@pytest.mark.parametrize("split", [True, False])
def test_what_linen_traces_twice_is_one_site(split):
    splits = {"params": False, "dropout": split}
    scanned = linen.scan(
        Step, variable_broadcast="params", split_rngs=splits, in_axes=1, out_axes=1
    )()
    start = jnp.zeros((2, 8))
    variables = scanned.init({"params": KEY, "dropout": KEY}, start, TOKENS)
    result = diagnostics.audit(scanned, variables, start, TOKENS, rngs={"dropout": KEY})
    assert [site.steps for site in result.sites] == [5]
    assert "unused" not in result.kinds


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_one_mask_for_all_heads(shared, ours):
    rooms = (jaxdrop.nnx, jaxdrop.linen)
    fns = [{"attention_fn": room.attention_fn} if ours else {} for room in rooms]
    module = nnx.MultiHeadAttention(
        num_heads=2,
        in_features=8,
        dropout_rate=0.1,
        broadcast_dropout=shared,
        decode=False,
        deterministic=False,
        rngs=nnx.Rngs(0),
        **fns[0],
    )
    assert kinds(module, TOKENS) == ({"heads"} if shared else set())
    layer = linen.MultiHeadDotProductAttention(
        2,
        dropout_rate=0.1,
        broadcast_dropout=shared,
        deterministic=False,
        **fns[1],
    )
    variables = layer.init({"params": KEY, "dropout": KEY}, TOKENS)
    found = kinds(layer, variables, TOKENS, rngs={"dropout": KEY})
    assert found == ({"heads"} if shared else set())


def test_heads_of_functions():
    def attend(key, q, k, v, axes):
        weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k))
        weights = jaxdrop.dropout(key, weights, rate=0.1, broadcast_dims=axes)
        return jnp.einsum("bhqk,bkhd->bqhd", weights, v)

    qkv = [jnp.ones((2, 5, 3, 4))] * 3
    assert kinds(functools.partial(attend, axes=(0, 1)), KEY, *qkv) == {"heads"}
    assert not kinds(functools.partial(attend, axes=(0,)), KEY, *qkv)
    assert not kinds(functools.partial(attend, axes=()), KEY, *qkv)


class HalfSwitched(nnx.Module):
    """One site follows the mode, and one is a function that does not."""

    def __init__(self, *, follows):
        self.drop = jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0))
        self.follows = follows

    def __call__(self, x, key):
        """Runs it."""
        off = self.drop.deterministic and self.follows
        x = jaxdrop.dropout(key, x, rate=0.1, deterministic=off)
        return self.drop(x) @ W


def test_a_site_that_stays_on_in_evaluation():
    for follows, expected in ((False, {"evaluation"}), (True, set())):
        model = HalfSwitched(follows=follows)
        assert not kinds(model, X, KEY)
        model.eval()
        assert kinds(model, X, KEY) == expected


def test_a_call_that_says_it_evaluates():
    follows = lambda k, x, *, train: jaxdrop.dropout(
        k, x, rate=0.5, deterministic=not train
    ).sum()
    ignores = lambda k, x, *, train: drop(k, x).sum()
    assert not kinds(ignores, KEY, X, train=True)
    for off in (False, np.False_):
        assert kinds(ignores, KEY, X, train=off) == {"evaluation"}
    assert not kinds(follows, KEY, X, train=False)


def test_monte_carlo_on_purpose_is_no_fault():
    model = Normalized(nnx.BatchNorm, before=False)
    model.eval()
    assert not kinds(jaxdrop.nnx.mc_apply, KEY, model, X)


@for_ours_and_handwritten
def test_a_mask_that_is_the_same_in_every_call(drop):
    assert kinds(lambda x: drop(jax.random.key(0), x) @ W, X) == {"frozen"}
    assert kinds(lambda x: drop(KEY, x) @ W, X) == {"frozen"}
    assert not kinds(lambda k, x: drop(k, x) @ W, KEY, X)


def call(model, x, *args):
    return model(x, *args)


@pytest.mark.parametrize("layer", [jaxdrop.nnx.Dropout, nnx.Dropout])
@pytest.mark.parametrize("wrap", [jax.jit, jax.checkpoint])
def test_a_stream_that_advances_where_it_is_lost(layer, wrap):
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(layer(0.5, rngs=rngs), nnx.Linear(8, 3, rngs=rngs))
    lost = diagnostics.audit(wrap(call), model, X)
    assert lost.kinds == {"lost stream"} and lost.findings[0].sites == ("layers/0",)
    for keeps in (call, nnx.jit(call)):
        assert not kinds(keeps, model, X)
    by_rngs = wrap(lambda model, x, rngs: model(x, rngs=rngs) @ W)
    assert kinds(by_rngs, layer(0.5), X, nnx.Rngs(1)) == {"lost stream"}
    reseeded = wrap(jaxdrop.nnx.mc_apply)
    assert not kinds(reseeded, KEY, model, X)


@pytest.mark.parametrize("layer", [jaxdrop.nnx.Dropout, nnx.Dropout])
def test_a_stream_in_the_state_of_a_model_that_was_split(layer):
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(layer(0.5, rngs=rngs), nnx.Linear(8, 3, rngs=rngs))
    graph, state = nnx.split(model)

    def forgets(state, x):
        return nnx.merge(graph, state)(x)

    def returns(state, x):
        model = nnx.merge(graph, state)
        return model(x), {"rest": nnx.state(model, nnx.RngState)}

    def returns_weights(state, x):
        model = nnx.merge(graph, state)
        return model(x), nnx.state(model, nnx.Param)

    for loses in (forgets, returns_weights):
        assert kinds(jax.jit(loses), state, X) == {"lost stream"}
    assert not kinds(jax.jit(returns), state, X)
    assert not kinds(forgets, state, X)  # variables change in place outside of jit
    by_key = lambda s, x, key: nnx.merge(graph, s).layers[0](x, rngs=key) @ W
    assert not kinds(jax.jit(by_key), state, X, KEY)

    def whole(state, x):
        model = nnx.merge(graph, state)
        y = model(x)
        return nnx.state(model), y

    loop = lambda state, xs: lax.scan(whole, state, xs)
    assert not kinds(loop, state, X[None])
    assert kinds(lambda s, xs: loop(s, xs)[1], state, X[None]) == {"lost stream"}


def test_one_stream_of_two_may_be_lost():
    def both(first, second, x):
        return jax.jit(call)(second, first(x)) @ W

    layers = [jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(i)) for i in range(2)]
    found = diagnostics.audit(both, *layers, X)
    assert found.kinds == {"lost stream"} and len(found.findings) == 1


def test_a_training_step_in_evaluation():
    def step(model, x):
        loss = lambda model: model(x).sum()
        return nnx.grad(loss)(model)

    rngs = nnx.Rngs(0)
    model = nnx.Sequential(
        jaxdrop.nnx.Dropout(0.5, rngs=rngs),
        nnx.Dropout(0.5, rngs=rngs),
        nnx.Linear(8, 3, rngs=rngs),
    )
    assert "no dropout" not in kinds(step, model, X)
    model.layers[0].deterministic = True
    assert "no dropout" not in kinds(step, model, X)
    model.eval()
    assert kinds(step, model, X) == {"no dropout"}
    assert kinds(nnx.jit(step), model, X) == {"no dropout"}
    found = diagnostics.audit(model, X)
    assert not found.kinds and "nothing is dropped" in str(found)


def test_a_sequence_that_is_taken_for_one_image():
    spatial = functools.partial(jaxdrop.spatial_dropout, rate=0.3)
    block = functools.partial(jaxdrop.drop_block, rate=0.3, block_size=3)
    for technique in (spatial, block):
        run = lambda k, x, d, f=technique: f(k, x, num_spatial_dims=d).sum()
        for dims, expected in ((2, {"whole batch"}), (1, set())):
            assert kinds(run, KEY, jnp.ones((4, 9, 6)), dims) == expected
        assert not kinds(run, KEY, IMAGES, 2)


def test_every_kind_of_finding_has_a_message_with_a_reference_and_its_link():
    assert set(KNOWN) == set(get_args(Kind))
    documented = diagnostics.audit.__doc__
    for kind, known in KNOWN.items():
        assert f'``"{kind}"``' in documented
        assert "https://" in known.reference
        assert known.message.endswith((".", "?"))


class Attend(nnx.Module):
    """An attention function that is a module."""

    def __call__(self, *arrays, **options):
        """The attention of jaxdrop."""
        return jaxdrop.nnx.attention_fn(*arrays, **options)


class LinenAttend(linen.Module):
    """One of Linen, which is given the arguments whose names it takes."""

    @linen.compact
    def __call__(
        self,
        *arrays,
        dropout_rng=None,
        dropout_rate=0.0,
        broadcast_dropout=True,
        deterministic=False,
    ):
        """The attention of jaxdrop."""
        return jaxdrop.linen.attention_fn(
            *arrays,
            dropout_rng=dropout_rng,
            dropout_rate=dropout_rate,
            broadcast_dropout=broadcast_dropout,
            deterministic=deterministic,
        )


@pytest.mark.parametrize("deterministic", [True, False])
def test_an_attention_that_another_module_computes(deterministic):
    options = {"dropout_rate": 0.1, "broadcast_dropout": False}
    options["deterministic"] = deterministic
    module = nnx.MultiHeadAttention(
        2, 8, decode=False, attention_fn=Attend(), rngs=nnx.Rngs(0), **options
    )
    layer = linen.MultiHeadDotProductAttention(2, attention_fn=LinenAttend(), **options)
    variables = layer.init({"params": KEY, "dropout": KEY}, TOKENS)
    for result in (
        diagnostics.audit(module, TOKENS),
        diagnostics.audit(layer, variables, TOKENS, rngs={"dropout": KEY}),
    ):
        modes = [site.mode for site in result.sites]
        assert modes == ["evaluation" if deterministic else "active"]
        assert "evaluation" not in result.kinds
