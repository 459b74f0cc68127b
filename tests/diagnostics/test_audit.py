"""What an audit lists: the sites of a forward pass, and what they cost."""

import functools
import threading

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from jax import lax

import jaxdrop
from family import for_the_family
from jaxdrop import diagnostics

KEY = jax.random.key(0)
X = jnp.ones((4, 8))
W = jnp.ones((8, 8))
drop = functools.partial(jaxdrop.dropout, rate=0.5)


def audit(function, *args, **kwargs):
    return diagnostics.audit(function, *args, **kwargs)


def only_site(function, *args, **kwargs):
    (site,) = audit(function, *args, **kwargs).sites
    return site


@for_the_family
def test_every_technique_is_seen_with_its_rate_and_mask(row, key):
    x = jnp.ones(row.shape)
    site = only_site(lambda k, x: row(k, x, 0.25), key, x)
    assert site.technique == row.function.__name__
    assert site.mode == "active"
    assert site.rate == 0.25
    assert site.steps == 1
    draws = 3 if row.shakes else 1  # which, and by what forward and backward
    assert site.random_bits == 32 * draws * np.prod(site.mask_shape)
    noise = {"gaussian_dropout": 4, "shake_drop": 1 + 4 + 4}
    assert site.memory == noise.get(site.technique, 1) * np.prod(site.mask_shape)
    assert site.source.startswith("family.py:")
    assert not audit(lambda x: row(None, x, 0.25, True), x).active


def test_relatives_are_seen(key):
    a = jnp.zeros(())
    seen = {
        "concrete_dropout": lambda k: jaxdrop.concrete_dropout(k, X, a),
        "variational_dense": lambda k: jaxdrop.variational_dense(k, X, W, W),
        "hard_concrete": lambda k: jaxdrop.hard_concrete(k, W),
        "layer_drop": lambda k: jaxdrop.layer_drop(k, 6, rate=0.5),
        "shake_drop": lambda k: jaxdrop.shake_drop(k, X, rate=0.5),
        "shake_shake": lambda k: jaxdrop.shake_shake(k, X, X),
        "inputs.cutout": lambda k: jaxdrop.inputs.cutout(
            k, jnp.ones((2, 8, 8, 3)), size=4
        ),
        "inputs.mixup": lambda k: jaxdrop.inputs.mixup(k, X, X, alpha=0.2)[0],
        "inputs.gaussian_noise": lambda k: jaxdrop.inputs.gaussian_noise(
            k, X, stddev=1.0
        ),
        "prng.random_bits": lambda k: jaxdrop.masks.bernoulli(k, (3, 4), rate=0.5),
        "masks.exact": lambda k: jaxdrop.masks.exact(k, (3, 4), num_dropped=1, axis=1),
    }
    for technique, call in seen.items():
        site = only_site(call, key)
        assert site.technique == technique
        assert site.random_bits > 0
    deterministic = [
        lambda: jaxdrop.masksembles(X, jnp.ones((2, 8), bool)),
        lambda: jaxdrop.hard_concrete_penalty(W),
        lambda: jaxdrop.variational_penalty(W, W),
    ]
    assert not any(audit(call).sites for call in deterministic)


def test_rates_that_set_a_size_are_read_from_the_shapes(key):
    tokens = jnp.ones((2, 9, 3))
    some = lambda k, x: jaxdrop.token_dropout(k, x, rate=0.25, num_prefix_tokens=1)[0]
    assert only_site(some, key, tokens).rate == 0.25
    rows = lambda k, x: jaxdrop.subset_stochastic_depth(k, jnp.sin, x, rate=0.5)
    assert only_site(rows, key, X).rate == 0.5


def nested(key, x):
    return jax.jit(jax.jit(drop))(key, x)


def with_derivative(transform):
    """A function that brings its own derivative, which is not asked for here."""
    function = transform(lambda k, x: drop(k, x))
    if transform is jax.custom_jvp:
        function.defjvp(lambda primals, tangents: (drop(*primals), tangents[1]))
    else:
        function.defvjp(lambda k, x: (drop(k, x), None), lambda _, g: (None, g))
    return function


def attend(key, x):
    q = x.reshape(1, 4, 2, 4)
    return jaxdrop.dot_product_attention(key, q, q, q, rate=0.5).reshape(x.shape)


TRANSFORMED = {
    "plain": (drop, 1),
    "jit": (nested, 1),
    "checkpoint": (jax.checkpoint(drop), 1),
    "vmap": (lambda k, x: jax.vmap(drop)(jax.random.split(k, 4), x), 1),
    "vmap of one key": (lambda k, x: jax.vmap(drop, (None, 0))(k, x[None]), 1),
    "grad": (lambda k, x: jax.grad(lambda x: drop(k, x).sum())(x), 1),
    "grad of checkpoint": (
        lambda k, x: jax.grad(jax.checkpoint(lambda x: jnp.sin(drop(k, x)).sum()))(x),
        1,
    ),
    "jvp": (lambda k, x: jax.jvp(lambda x: drop(k, x), (x,), (x,)), 1),
    "scan": (
        lambda k, x: lax.scan(
            lambda c, k: (drop(k, c), None), x, jax.random.split(k, 6)
        ),
        6,
    ),
    "scan in a scan": (
        lambda k, x: lax.scan(
            lambda c, k: (lax.scan(lambda c, k: (drop(k, c), None), c, k)[0], None),
            x,
            jax.random.split(k, (2, 3)),
        ),
        6,
    ),
    "map": (lambda k, x: lax.map(lambda k: drop(k, x), jax.random.split(k, 6)), 6),
    "cond": (lambda k, x: lax.cond(x.sum() > 0, drop, lambda k, x: x, k, x), 1),
    "while": (
        lambda k, x: lax.while_loop(
            lambda s: s[0] < 3,
            lambda s: (s[0] + 1, drop(jax.random.fold_in(k, s[0]), s[1])),
            (0, x),
        ),
        1,
    ),
    "custom_jvp": (with_derivative(jax.custom_jvp), 1),
    "custom_vjp": (with_derivative(jax.custom_vjp), 1),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_a_site_is_seen_under_any_transformation(name):
    function, steps = TRANSFORMED[name]
    site = only_site(function, KEY, X)
    assert (site.technique, site.mode, site.rate) == ("dropout", "active", 0.5)
    assert site.steps == steps
    assert site.random_bits == 32 * steps * np.prod(site.mask_shape)
    assert "unused" not in audit(function, KEY, X).kinds


def over_layers(function, key, x):
    layer = lambda x, k: (function(k, x) @ W, None)
    return lax.scan(jax.checkpoint(layer), x, jax.random.split(key, 3))[0].sum()


def by_hand(key, x):
    return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0)


def by_flax(key, x):
    layer = linen.Dropout(0.5, deterministic=False)
    return layer.apply({}, x, rngs={"dropout": key})


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "recomputed"])
@pytest.mark.parametrize("function", [drop, attend, by_hand, by_flax])
def test_the_rate_is_read_from_the_gradient_of_a_scan(function, kept):
    def loss(weights, key, x):
        layer = lambda x, k: (function(k, x) @ weights, None)
        layer = layer if kept else jax.checkpoint(layer)
        return lax.scan(layer, x, jax.random.split(key, 3))[0].sum()

    for step in (jax.grad(loss), jax.jit(jax.grad(loss))):
        result = audit(step, W, KEY, X)
        assert {(site.rate, site.steps) for site in result.sites} == {(0.5, 3)}
        assert "high rate" not in result.kinds


@for_the_family
def test_a_rate_is_right_or_unknown_in_a_gradient(row, key):
    def once(scale, key, x):
        return row(key, x * scale, 0.3).sum()

    def often(scale, key, x):
        layer = lambda x, k: (row(k, x * scale, 0.3), None)
        return lax.scan(layer, x, jax.random.split(key, 3))[0].sum()

    for loss in (once, often, jax.checkpoint(often)):
        (rate,) = {
            s.rate for s in audit(jax.grad(loss), 0.5, key, jnp.ones(row.shape)).sites
        }
        unknown = ("drop_block", "drop_head", "embedding_dropout", "gaussian_dropout")
        assert rate == 0.3 or (rate is None and row.function.__name__ in unknown)


@pytest.mark.parametrize("function", [drop, attend], ids=["dropout", "attention"])
def test_what_is_drawn_again_for_a_gradient_is_listed_once(function):
    plain = lambda k, x: jax.grad(lambda x: (function(k, x) @ W).sum())(x)
    again = jax.checkpoint(function)
    kept = lambda k, x: jax.grad(lambda x: (again(k, x) @ W).sum())(x)
    stacked = lambda k, x: jax.grad(functools.partial(over_layers, function, k))(x)
    for step in (plain, kept, stacked):
        result = audit(step, KEY, X)
        assert len(result.sites) == 1
        assert "same key" not in result.kinds
    assert audit(stacked, KEY, X).sites[0].steps == 3


def by_platform(tpu, default):
    return lambda k, x: lax.platform_dependent(k, x, tpu=tpu, default=default)


def slope(function):
    return lambda k, x: jax.grad(lambda x: (function(k, x) ** 2).sum())(x)


@pytest.mark.parametrize("transform", [lambda f: f, slope], ids=["plain", "grad"])
def test_draws_for_several_platforms_are_one_site_where_they_are_equal(transform):
    nothing = lambda k, x: 2 * x
    less = functools.partial(jaxdrop.dropout, rate=0.25)
    other_key = lambda k, x: drop(jax.random.fold_in(k, 1), x)
    rates = {
        (drop, drop): [0.5],
        (drop, nothing): [0.5],
        (nothing, drop): [0.5],
        (drop, less): [0.5, 0.25],
        (drop, other_key): [0.5, 0.5],
    }
    for branches, expected in rates.items():
        function = transform(by_platform(*branches))
        over = lambda k, x, f=function: lax.scan(
            lambda x, k: (f(k, x), None), x, jax.random.split(k, 3)
        )
        for run, steps in ((function, 1), (over, 3)):
            result = audit(run, KEY, X)
            seen = [(s.rate, s.steps) for s in result.sites]
            assert seen == [(rate, steps) for rate in expected]
            assert "same key" not in result.kinds


def test_a_choice_costs_what_its_most_expensive_branch_does():
    """One of its branches runs: costs are not those of all of them together."""

    def technique(key, x):
        some = lambda: jaxdrop.prng.uniform(key, (7,)).sum()
        many = lambda: jaxdrop.prng.uniform(key, (9, 2)).sum()
        return lax.cond(x.sum() > 0, some, many) + x

    technique.__name__ = "jaxdrop.dropout"
    site = only_site(lambda k, x: jax.jit(technique)(k, x), KEY, X)
    assert (site.mask_shape, site.random_bits) == ((9, 2), 32 * 18)


def test_masks_drawn_twice_with_one_key_are_two_sites():
    mask = lambda k, x: jaxdrop.masks.bernoulli(k, x.shape, rate=0.5)
    result = audit(lambda k, x: mask(k, x) ^ mask(k, 2 * x), KEY, X)
    assert [s.steps for s in result.sites] == [1, 1]
    assert "same key" in result.kinds


@for_the_family
def test_a_technique_keeps_its_name_and_rate_in_monte_carlo_prediction(row, key):
    predict = functools.partial(
        jaxdrop.mc.predict, lambda k, x: row(k, 2 * x, 0.25), num_samples=5
    )
    (site,) = audit(predict, key, jnp.ones(row.shape)).sites
    assert (site.technique, site.rate) == (row.function.__name__, 0.25)
    assert site.steps == 5


def test_attention_is_one_site_with_its_rates_in_any_derivative():
    def mapped(key, x, rates):
        def one(key, rate):
            q = x.reshape(1, 4, 2, 4)
            return jaxdrop.dot_product_attention(key, q, q, q, rate=rate)

        return jax.vmap(one)(jax.random.split(key, 3), rates)

    rates = jnp.array([0.1, 0.2, 0.3])
    first = lambda k, x: jax.grad(lambda x: mapped(k, x, rates).sum())(x)
    for function in (lambda k, x: mapped(k, x, rates), first):
        site = only_site(function, KEY, X)
        assert (site.rate, site.mask_shape) == ((0.1, 0.2, 0.3), (3, 1, 2, 4, 4))
    assert only_site(slope(slope(attend)), KEY, X).rate == 0.5


def test_attention_draws_its_weights_and_keeps_no_mask():
    q = jnp.ones((1, 1000, 2, 4))
    run = lambda k, q: jaxdrop.dot_product_attention(k, q, q, q, rate=0.1)
    site = only_site(run, KEY, q)
    assert (site.technique, site.rate, site.memory) == ("dot_product_attention", 0.1, 0)
    assert 0.95 < site.random_bits / (32 * 2 * 1000 * 1000) < 1.2
    allowed = lambda k: jaxdrop.drop_key(k, (2, 3, 4, 4), rate=0.2)
    assert only_site(allowed, KEY).mask_shape == (2, 3, 4, 4)


def test_a_site_inside_shard_map_is_seen():
    mesh = jax.make_mesh((4,), ("data",), (jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec
    local = lambda k, x: drop(jaxdrop.keys.shard(k, "data"), x)
    sharded = jax.shard_map(
        local, mesh=mesh, in_specs=(spec(), spec("data")), out_specs=spec("data")
    )
    assert only_site(sharded, KEY, X).mask_shape == (1, 8)


def test_large_masks_cost_what_they_cost():
    site = only_site(lambda k, x: drop(k, x).sum(), KEY, jnp.ones((128, 64)))
    assert (site.random_bits, site.memory) == (32 * 128 * 64, 128 * 64)
    shape = jax.ShapeDtypeStruct((1024, 1024, 1024), jnp.bfloat16)
    assert only_site(drop, KEY, shape).memory == 2**30


def test_draws_of_jax_random_are_listed():
    def noisy(key, x):
        a, b, c = jax.random.split(key, 3)
        x = x + jax.random.normal(a, x.shape)
        x = jnp.where(jax.random.bernoulli(b, 0.8, x.shape), x, 0)
        return x + jax.random.bits(c, x.shape).astype(jnp.float32)

    sites = audit(noisy, KEY, X).sites
    assert [(s.technique, s.rate) for s in sites] == [
        ("jax.random.normal", None),
        ("jax.random.bernoulli", 0.2),
        ("jax.random.bits", None),
    ]
    assert [s.memory for s in sites] == [128, 32, 128]


def test_other_generators_and_raw_keys_are_seen():
    for key in (
        jax.random.PRNGKey(0),
        jax.random.key(0, impl="rbg"),
        jax.random.key(0, impl=jaxdrop.prng.fused_threefry),
    ):
        assert only_site(drop, key, X).random_bits == 32 * X.size


class Block(linen.Module):
    """A transformer block, with a functional site in it."""

    @linen.compact
    def __call__(self, x, *, train):
        """Runs it."""
        off = not train
        attention = linen.MultiHeadDotProductAttention(
            2, dropout_rate=0.1, broadcast_dropout=False, deterministic=off
        )
        x = x + jaxdrop.linen.Dropout(0.2)(attention(x), deterministic=off)
        y = linen.Dropout(0.3)(linen.relu(linen.Dense(8)(x)), deterministic=off)
        y = linen.Dense(8)(y)
        return x + jaxdrop.stochastic_depth(
            self.make_rng("dropout") if train else None,
            y,
            rate=0.4,
            deterministic=off,
        )


class Transformer(linen.Module):
    """Two blocks."""

    @linen.compact
    def __call__(self, x, *, train):
        """Runs it."""
        for _ in range(2):
            x = Block()(x, train=train)
        return linen.Dense(3)(x)


TOKENS = jnp.ones((2, 5, 8))


@functools.cache
def transformer():
    module = Transformer()
    return module, module.init(KEY, TOKENS, train=False)


def test_a_transformer_of_linen_is_listed_in_training_and_in_evaluation():
    module, variables = transformer()
    training = audit(module, variables, TOKENS, train=True, rngs={"dropout": KEY})
    assert [(s.name, s.technique, s.rate) for s in training.active] == [
        site
        for block in ("Block_0", "Block_1")
        for site in (
            (
                f"{block}/MultiHeadDotProductAttention_0",
                "flax.linen.MultiHeadDotProductAttention",
                0.1,
            ),
            (f"{block}/Dropout_0", "dropout", 0.2),
            (f"{block}/Dropout_1", "flax.linen.Dropout", 0.3),
            (block, "stochastic_depth", 0.4),
        )
    ]
    assert not training.findings
    evaluation = audit(module, variables, TOKENS, train=False)
    assert not evaluation.active
    assert not evaluation.findings
    assert [(s.name, s.mode, s.rate) for s in evaluation.sites[:3]] == [
        ("Block_0/MultiHeadDotProductAttention_0", "evaluation", 0.1),
        ("Block_0/Dropout_0", "evaluation", 0.2),
        ("Block_0/Dropout_1", "evaluation", 0.3),
    ]


def test_jitted_functions_that_were_traced_before_are_read_anew():
    module, variables = transformer()
    predict = jax.jit(lambda v, x: module.apply(v, x, train=False))
    predict(variables, TOKENS)
    assert len(audit(predict, variables, TOKENS).inactive) == 6


def test_lifted_layers_of_linen():
    class Layers(linen.Module):
        @linen.compact
        def __call__(self, x):
            """Runs it."""
            layer = linen.scan(
                linen.remat(Layer),
                variable_axes={"params": 0},
                split_rngs={"params": True, "dropout": True},
                length=3,
            )
            return layer()(x, None)[0]

    class Layer(linen.Module):
        @linen.compact
        def __call__(self, x, _):
            """Runs it."""
            drop = jaxdrop.linen.Dropout(0.5, deterministic=False)
            return linen.Dense(8)(drop(x)), None

    variables = Layers().init(KEY, X)
    result = audit(Layers(), variables, X, rngs={"dropout": KEY})
    (site,) = result.sites
    assert (site.technique, site.steps) == ("dropout", 3)
    assert site.name.endswith("Dropout_0")
    assert not result.findings


class Net(nnx.Module):
    """One module of each kind, of which one is never called."""

    def __init__(self, rngs):
        self.layers = nnx.List(
            [
                nnx.Linear(8, 8, rngs=rngs),
                jaxdrop.nnx.GaussianDropout(0.5, rngs=rngs),
                nnx.Dropout(0.25, rngs=rngs),
                jaxdrop.nnx.DropConnectLinear(8, 8, rate=0.5, rngs=rngs),
            ]
        )
        self.idle = nnx.Dropout(0.1, rngs=rngs)

    def __call__(self, x):
        """Runs it."""
        for layer in self.layers:
            x = layer(x)
        return x


def test_an_nnx_model_is_listed_by_path_and_left_as_it_is():
    model = Net(nnx.Rngs(0))
    before = nnx.split(model)
    training = audit(model, X)
    assert [(s.name, s.technique, s.mode) for s in training.sites] == [
        ("layers/1", "gaussian_dropout", "active"),
        ("layers/2", "flax.nnx.Dropout", "active"),
        ("layers/3", "drop_connect", "active"),
    ]
    model.eval()
    evaluation = audit(model, X)
    assert [(s.name, s.mode) for s in evaluation.sites] == [
        (f"layers/{i}", "evaluation") for i in (1, 2, 3)
    ]
    model.train()
    graph, state = nnx.split(model)
    assert graph == before[0]
    jax.tree.map(np.testing.assert_array_equal, *map(_raw, (state, before[1])))
    assert type(model) is Net


def _raw(state):
    keys = lambda x: jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    leaves = jax.tree.leaves(state)
    return [jax.random.key_data(leaf) if keys(leaf) else leaf for leaf in leaves]


def test_lifted_layers_of_nnx():
    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=0, out_axes=0)
    def layers(rngs):
        return nnx.Sequential(
            nnx.Linear(8, 8, rngs=rngs), jaxdrop.nnx.Dropout(0.5, rngs=rngs)
        )

    class Stack(nnx.Module):
        def __init__(self):
            self.layers = layers(nnx.Rngs(0))
            self.head = nnx.Linear(8, 2, rngs=nnx.Rngs(1))

        def __call__(self, x):
            """Runs it."""
            step = nnx.scan(
                nnx.remat(lambda x, layer: layer(x)),
                in_axes=(nnx.Carry, 0),
                out_axes=nnx.Carry,
            )
            return self.head(step(x, self.layers))

    result = audit(nnx.jit(lambda model, x: model(x)), Stack(), X)
    (site,) = result.sites
    assert (site.name, site.technique, site.steps) == ("layers/layers/1", "dropout", 3)
    assert not result.findings


class Reader(linen.Module):
    """Two recurrences: one draws when a sequence starts, one at each step."""

    deterministic: bool

    @linen.compact
    def __call__(self, x):
        """Runs it."""
        off = self.deterministic
        variational = jaxdrop.linen.VariationalCell(
            linen.LSTMCell(8), input_rate=0.2, state_rate=0.3, deterministic=off
        )
        zoned = jaxdrop.linen.ZoneoutCell(
            linen.GRUCell(8), state_rate=0.2, deterministic=off
        )
        for cell in (variational, zoned):
            rngs = {"params": False, "dropout": True}
            x = linen.RNN(cell, split_rngs=rngs)(x)
        return linen.Dense(2)(x[:, -1])


def test_cells_of_linen_are_on_in_training_and_off_in_evaluation():
    variables = Reader(True).init(KEY, TOKENS)
    training = audit(Reader(False), variables, TOKENS, rngs={"dropout": KEY})
    assert [(s.technique, s.mask_shape, s.steps) for s in training.sites] == [
        ("sequence_mask", (2, 8), 1),
        ("sequence_mask", (2, 8), 1),
        ("zoneout", (2, 8), 5),
    ]
    assert not training.findings
    evaluation = audit(Reader(True), variables, TOKENS)
    assert {s.mode for s in evaluation.sites} == {"evaluation"}
    assert {s.name for s in evaluation.sites} == {"VariationalCell_0", "ZoneoutCell_0"}

    def loss(variables):
        return Reader(False).apply(variables, TOKENS, rngs={"dropout": KEY}).sum()

    rates = {s.rate for s in audit(jax.grad(loss), variables).active}
    assert rates <= {None, 0.2, 0.3}


def test_cells_of_nnx_draw_when_a_sequence_starts():
    rngs = nnx.Rngs(0)
    cell = jaxdrop.nnx.VariationalCell(
        nnx.LSTMCell(8, 8, rngs=rngs), input_rate=0.2, state_rate=0.3, rngs=rngs
    )
    model = nnx.RNN(cell)
    sites = audit(model, TOKENS).sites
    assert [(s.name, s.technique, s.mode) for s in sites] == [
        ("cell", "sequence_mask", "active"),
        ("cell (2)", "sequence_mask", "active"),
    ]
    model.eval()
    assert [s.mode for s in audit(model, TOKENS).sites] == ["evaluation"]


def every_nnx_module():
    rngs = nnx.Rngs(0)
    rows, maps = jnp.ones((4, 8)), jnp.ones((2, 6, 6, 8))
    modules, concrete = jaxdrop.nnx, {"weight_regularizer": 0, "dropout_regularizer": 0}
    yield modules.AlphaDropout(0.5, rngs=rngs), rows
    yield (
        modules.ConcreteDropout(nnx.Linear(8, 4, rngs=rngs), rngs=rngs, **concrete),
        rows,
    )
    yield modules.DropBlock(0.1, block_size=3, rngs=rngs), maps
    yield modules.DropConnectConv(8, 4, (3, 3), rate=0.5, rngs=rngs), maps
    yield modules.DropConnectLinear(8, 4, rate=0.5, rngs=rngs), rows
    yield modules.L0Linear(8, 4, rngs=rngs), rows
    yield modules.ShakeDrop(0.5, rngs=rngs), rows
    yield modules.StochasticDepth(0.5, rngs=rngs), rows
    yield modules.VariationalConv(8, 4, (3, 3), rngs=rngs), maps
    yield modules.VariationalLinear(8, 4, rngs=rngs), rows


def test_a_module_is_called_alike_in_training_and_in_evaluation():
    for module, x in every_nnx_module():
        on = only_site(module, x)
        module.eval()
        off = only_site(module, x)
        assert (on.name, on.technique, on.rate) == (off.name, off.technique, off.rate)
        assert (on.mode, off.mode) == ("active", "evaluation")


def test_a_training_step_of_nnx_is_read_and_the_model_keeps_its_weights():
    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)
    before = np.asarray(model.layers[0].kernel[...])

    @nnx.jit
    def step(model, optimizer, x):
        slopes = nnx.grad(lambda model: (model(x) ** 2).mean())(model)
        optimizer.update(model, slopes)

    sites = audit(step, model, optimizer, X).sites
    assert [(s.name, s.mode) for s in sites] == [
        (f"layers/{i}", "active") for i in (1, 2, 3)
    ]
    np.testing.assert_array_equal(model.layers[0].kernel[...], before)


def test_monte_carlo_prediction_draws_once_a_sample():
    model = Net(nnx.Rngs(0))
    model.eval()
    predict = functools.partial(jaxdrop.mc.predict, jaxdrop.nnx.mc_apply, num_samples=5)
    result = audit(predict, KEY, model, X)
    assert [s.steps for s in result.active] == [5, 5, 5]
    assert not result.findings


def test_models_may_be_arguments_of_functions():
    model = Net(nnx.Rngs(0))
    run = lambda model, x: model(x).sum()
    assert [s.name for s in audit(run, model, X).active] == [
        f"layers/{i}" for i in (1, 2, 3)
    ]
    rngs = nnx.Rngs(3)
    site = only_site(jaxdrop.nnx.Dropout(0.5), X, rngs=rngs)
    assert (site.name, site.mode) == ("Dropout", "active")
    assert rngs.dropout.count[...] == 0


def test_a_shared_rate_is_read_from_the_model():
    rate = jaxdrop.nnx.Rate(0.25)
    model = nnx.Sequential(
        jaxdrop.nnx.Dropout(rate, rngs=nnx.Rngs(0)), nnx.Linear(8, 8, rngs=nnx.Rngs(1))
    )
    assert only_site(model, X).rate == 0.25
    rate[...] = jnp.float32(0)
    assert only_site(model, X).mode == "rate 0"


def test_modules_of_equinox_and_their_dropout():
    class Model(eqx.Module):
        linear: eqx.nn.Linear
        drop: eqx.nn.Dropout

        def __call__(self, key, x):
            """Runs it."""
            x = jaxdrop.dropout(key, x, rate=0.5)
            return self.linear(self.drop(x, key=jax.random.fold_in(key, 1)))

    model = Model(eqx.nn.Linear(8, 3, key=KEY), eqx.nn.Dropout(0.25))
    result = audit(model, KEY, X[0])
    assert [(s.technique, s.rate) for s in result.sites] == [
        ("dropout", 0.5),
        ("jax.random.bernoulli", 0.25),
    ]
    assert not result.findings
    batched = audit(eqx.filter_jit(lambda m, k, x: m(k, x)), model, KEY, X[0])
    assert [s.technique for s in batched.sites] == [s.technique for s in result.sites]


def test_a_traced_mode_is_known_where_its_argument_is():
    run = lambda k, x, off: jaxdrop.dropout(k, x, rate=0.5, deterministic=off).sum()
    assert only_site(run, KEY, X, jnp.bool_(False)).mode == "active"
    assert only_site(run, KEY, X, jnp.bool_(True)).mode == "rate 0"
    unknown = only_site(run, KEY, X, jax.ShapeDtypeStruct((), jnp.bool_))
    assert (unknown.mode, unknown.rate) == ("active", None)


def test_names_come_from_modules_scopes_or_lines():
    def scoped(key, x):
        with jax.named_scope("encoder"), jax.named_scope("mlp"):
            return drop(key, x)

    assert only_site(scoped, KEY, X).name == "encoder/mlp"
    assert only_site(jax.jit(jax.vmap(scoped, (None, 0))), KEY, X).name == "encoder/mlp"
    name = only_site(lambda k, x: drop(k, x), KEY, X).name
    assert name.startswith("test_audit.py:")
    twice = lambda k, x: scoped(k, scoped(jax.random.fold_in(k, 0), x))
    names = [site.name for site in audit(twice, KEY, X).sites]
    assert names == ["encoder/mlp", "encoder/mlp (2)"]


def test_the_table_is_aligned_and_adds_up():
    def network(key, x):
        first, second = jax.random.split(key)
        with jax.named_scope("dense"):
            x = jaxdrop.dropout(first, x, rate=0.5) @ W
        with jax.named_scope("frames"):
            step = lambda _, k: (None, jaxdrop.locked_dropout(k, x, rate=0.25))
            return lax.scan(step, None, jax.random.split(second, 3))[1].sum()

    assert str(audit(network, KEY, X)) == (
        "site    technique       rate  mask       mode     bits  bytes\n"
        "-------------------------------------------------------------\n"
        "dense   dropout          0.5  (4,8)      active  1,024     32\n"
        "frames  locked_dropout  0.25  3 x (1,8)  active    768     24\n"
        "2 active, 0 inactive; 1,792 random bits and 56 bytes of masks in a pass"
    )


def test_findings_follow_the_table():
    text = str(audit(drop, KEY, X))
    assert "\n\noutput: dropout\n" in text
    assert "https://jmlr.org" in text
    assert max(map(len, text.split("\n"))) <= 100


def test_a_program_without_draws_has_no_sites():
    result = audit(jnp.sin, X)
    assert result == diagnostics.Audit((), ())
    assert str(result).startswith("0 active, 0 inactive")


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


def test_assertions_say_what_is_wrong():
    model = nnx.Sequential(
        jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0)), nnx.Linear(8, 8, rngs=nnx.Rngs(1))
    )
    diagnostics.assert_active(model, X)
    with pytest.raises(AssertionError, match="layers/0 draws") as error:
        diagnostics.assert_inactive(model, X)
    assert "1 active, 0 inactive" in str(error.value)
    model.eval()
    diagnostics.assert_inactive(model, X)
    with pytest.raises(AssertionError, match="no site draws"):
        diagnostics.assert_active(model, X)
    with pytest.raises(AssertionError, match="no site draws"):
        diagnostics.assert_active(jnp.sin, X)
    diagnostics.assert_inactive(jnp.sin, X)


def test_a_model_that_is_half_on_or_throws_its_masks_away_is_not_active():
    half = nnx.Sequential(
        jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0)),
        jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(1), deterministic=True),
    )
    with pytest.raises(AssertionError, match="layers/1 is in evaluation"):
        diagnostics.assert_active(half, X)

    def forgotten(key, x):
        drop(key, x)
        return x

    with pytest.raises(AssertionError, match="does not depend"):
        diagnostics.assert_active(forgotten, KEY, X)
    zero = lambda k, x: jaxdrop.dropout(None, drop(k, x), rate=0.0)
    diagnostics.assert_active(zero, KEY, X)


def test_arguments_in_the_wrong_place_are_named():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            """Runs it."""
            return linen.Dropout(0.5, deterministic=False)(x)

    for args, given in (((X,), r"shape \(4, 8\)"), ((), "nothing")):
        with pytest.raises(TypeError, match=rf"audit\(module, variables, x\).*{given}"):
            audit(Net(), *args)
    for first, given in ((None, "None"), (X, "an array"), ({}, "a dict")):
        with pytest.raises(TypeError, match=f"function or a model.*got {given}"):
            audit(first, X)
    for cls in (Net, nnx.Linear):
        with pytest.raises(TypeError, match=f"the class {cls.__name__}; pass an inst"):
            audit(cls, X)
    with pytest.raises(TypeError, match="is Net meant to be first"):
        audit(X, Net(), {})
    with pytest.raises(TypeError, match="is Linear meant to be first"):
        diagnostics.assert_active(X, nnx.Linear(8, 8, rngs=nnx.Rngs(0)))


def test_a_model_that_is_closed_over_is_named():
    model = nnx.Sequential(jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"closes over\. Pass the model"):
        audit(lambda x: model(x), X)
    assert audit(lambda model, x: model(x), model, X).active
