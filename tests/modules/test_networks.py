"""Small networks of the shapes of Flax's examples: only the import of Dropout differs.

Outputs, gradients and the counts of streams are those of Flax, bit for bit. Operations
run one by one: XLA fuses two programs that compute the same in two ways, which differ
in the last bit.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxdrop
from chance import normal

KEY = jax.random.key(11)
NNX_PAIR = (jaxdrop.nnx.Dropout, nnx.Dropout)
LINEN_PAIR = (jaxdrop.linen.Dropout, nn.Dropout)


def numbers(*shape):
    return normal(*shape, seed=len(shape))


IMAGES, TOKENS = numbers(4, 8, 8, 3), numbers(2, 6, 8)
GRAPH = (numbers(5, 4), jax.device_put(np.float32(np.abs(numbers(5, 5)) > 0.7)))


class Perceptron(nnx.Module):
    """Layers with dropout after each activation."""

    def __init__(self, drop, rngs):
        self.layers = nnx.List([nnx.Linear(8, 8, rngs=rngs) for _ in range(3)])
        self.drops = nnx.List([drop(r, rngs=rngs) for r in (0.2, 0.5, 0.0)])

    def __call__(self, x):
        """The outputs."""
        for layer, dropping in zip(self.layers, self.drops, strict=True):
            x = dropping(nnx.relu(layer(x)))
        return x


class Digits(nnx.Module):
    """Convolutions and pooling, dropout of the flat features, and a classifier."""

    def __init__(self, drop, rngs):
        self.conv = nnx.Conv(3, 6, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(6, rngs=rngs)
        self.spots = drop(0.025, rngs=rngs)
        self.dense = nnx.Linear(96, 10, rngs=rngs)
        self.features = drop(0.3, broadcast_dims=(0,), rngs=rngs)

    def __call__(self, x):
        """The logits."""
        x = nnx.relu(self.norm(self.spots(self.conv(x))))
        x = nnx.max_pool(x, (2, 2), (2, 2))
        return self.dense(self.features(x.reshape(x.shape[0], -1)))


class Residual(nnx.Module):
    """Two blocks with a shortcut, each dropping whole channels on its branch."""

    def __init__(self, drop, rngs):
        self.stem = nnx.Conv(3, 6, (1, 1), rngs=rngs)
        self.convs = nnx.List([nnx.Conv(6, 6, (3, 3), rngs=rngs) for _ in range(2)])
        self.drop = drop(0.1, broadcast_dims=(1, 2), rngs=rngs)

    def __call__(self, x):
        """The features; one module serves both blocks."""
        x = self.stem(x)
        for conv in self.convs:
            x = x + self.drop(nnx.relu(conv(x)))
        return x.mean((1, 2))


class Block(nnx.Module):
    """A transformer block: attention and a perceptron, on branches that drop."""

    def __init__(self, drop, rngs):
        self.embedded = drop(0.1, rngs=rngs)
        self.norms = nnx.List([nnx.LayerNorm(8, rngs=rngs) for _ in range(2)])
        self.attention = nnx.MultiHeadAttention(
            2, 8, dropout_rate=0.1, decode=False, rngs=rngs
        )
        self.up, self.down = (nnx.Linear(8, 8, rngs=rngs) for _ in range(2))
        self.drops = nnx.List([drop(0.1, rngs=rngs) for _ in range(3)])

    def __call__(self, x):
        """Tokens of the same shape."""
        x = self.embedded(x)
        y = self.attention(self.norms[0](x), deterministic=self.drops[0].deterministic)
        x = x + self.drops[0](y)
        y = self.drops[1](nnx.gelu(self.up(self.norms[1](x))))
        return x + self.drops[2](self.down(y))


class Translator(nnx.Module):
    """An LSTM that encodes, and one that decodes from the state of the first."""

    def __init__(self, drop, rngs):
        self.encoder = nnx.RNN(nnx.LSTMCell(8, 6, rngs=rngs), return_carry=True)
        self.decoder = nnx.RNN(nnx.LSTMCell(8, 6, rngs=rngs))
        self.inputs, self.outputs = drop(0.3, rngs=rngs), drop(0.5, rngs=rngs)

    def __call__(self, x):
        """The outputs at all steps."""
        carry, _ = self.encoder(self.inputs(x))
        return self.outputs(self.decoder(self.inputs(x), initial_carry=carry))


class Autoencoder(nnx.Module):
    """A variational autoencoder; its noise comes from the same keys."""

    def __init__(self, drop, rngs):
        self.encoder, self.decoder = (nnx.Linear(8, 8, rngs=rngs) for _ in range(2))
        self.drop = drop(0.2, rngs=rngs)
        self.rngs = rngs.fork()

    def __call__(self, x):
        """The reconstruction."""
        mean, log_variance = jnp.split(self.drop(self.encoder(x)), 2, axis=-1)
        noise = jax.random.normal(self.rngs.noise(), mean.shape)
        code = mean + jnp.exp(log_variance / 2) * noise
        return self.decoder(jnp.concatenate([code, code], axis=-1))


class Graph(nnx.Module):
    """Messages along edges, with dropout of the nodes' features and of the edges."""

    def __init__(self, drop, rngs):
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(2)])
        self.nodes, self.edges = drop(0.25, rngs=rngs), drop(0.1, rngs=rngs)

    def __call__(self, graph):
        """The features of the nodes."""
        nodes, edges = graph
        for layer in self.layers:
            nodes = self.nodes(nnx.relu(layer(self.edges(edges) @ nodes)))
        return nodes


class Actor(nnx.Module):
    """A policy and a value on one trunk; dropout from a stream of another name."""

    def __init__(self, drop, rngs):
        self.trunk = nnx.Linear(8, 8, rngs=rngs)
        self.drop = drop(0.1, rng_collection="noise", rngs=rngs)
        self.policy, self.value = (nnx.Linear(8, n, rngs=rngs) for n in (3, 1))

    def __call__(self, x):
        """Log probabilities of actions, and values."""
        x = self.drop(nnx.relu(self.trunk(x)))
        return nnx.log_softmax(self.policy(x)), self.value(x)


NNX = {
    "mlp": (Perceptron, TOKENS[0]),
    "mnist": (Digits, IMAGES),
    "imagenet": (Residual, IMAGES),
    "lm1b": (Block, TOKENS),
    "seq2seq": (Translator, TOKENS),
    "vae": (Autoencoder, TOKENS[0]),
    "ogbg": (Graph, GRAPH),
    "ppo": (Actor, TOKENS[0]),
}


@pytest.fixture(autouse=True)
def one_by_one():
    with jax.disable_jit():
        yield


def trained(model, data):
    def loss(model):
        outputs = model(data)
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(outputs)), outputs

    return nnx.value_and_grad(loss, has_aux=True)(model)


def assert_equal(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


def arrays(state):
    flat = {path: leaf[...] for path, leaf in nnx.to_flat_state(state)}
    is_key = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return {p: jax.random.key_data(a) if is_key(a) else a for p, a in flat.items()}


def quick_first(names):
    first, *others = names
    return [first, *(pytest.param(name, marks=pytest.mark.slow) for name in others)]


@pytest.mark.parametrize("name", quick_first(NNX))
def test_nnx_networks_train_and_evaluate_as_with_flax(name):
    network, data = NNX[name]
    found = []
    for drop in NNX_PAIR:
        model = network(drop, nnx.Rngs(0, params=1, noise=2))
        steps = [trained(model, data) for _ in range(2)]
        values = [value for (value, _), _ in steps]
        assert jnp.isfinite(values[0]) and values[0] != values[1]
        gradients = [arrays(gradient) for _, gradient in steps]
        state = arrays(nnx.state(model))  # parameters, statistics, keys and counts
        model.eval()
        found.append((steps[0][0], steps[1][0], gradients, state, model(data)))
    assert_equal(*found)
    assert any(path[-1] == "count" and leaf > 0 for path, leaf in state.items())


class LinenPerceptron(nn.Module):
    """Layers with dropout after each activation."""

    drop: type

    @nn.compact
    def __call__(self, x, train):
        """The outputs."""
        for rate in (0.2, 0.5, 0.0):
            x = self.drop(rate, deterministic=not train)(nn.relu(nn.Dense(8)(x)))
        return x


class LinenDigits(nn.Module):
    """A convolution, normalization and two sites."""

    drop: type

    @nn.compact
    def __call__(self, x, train):
        """The logits."""
        x = self.drop(0.025)(nn.Conv(6, (3, 3))(x), deterministic=not train)
        x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.max_pool(nn.relu(x), (2, 2), (2, 2)).reshape(x.shape[0], -1)
        return nn.Dense(10)(self.drop(0.3, (0,))(x, not train))


class LinenBlock(nn.Module):
    """A transformer block, with its second half in another module."""

    drop: type

    @nn.compact
    def __call__(self, x, train):
        """Tokens of the same shape."""
        x = self.drop(0.1, deterministic=not train)(x)
        y = nn.MultiHeadDotProductAttention(2, dropout_rate=0.1)(
            nn.LayerNorm()(x), deterministic=not train
        )
        x = x + self.drop(0.1)(y, deterministic=not train)
        return x + LinenPerceptron(self.drop)(nn.LayerNorm()(x), train)


class LinenTranslator(nn.Module):
    """Recurrent networks, and dropout declared in ``setup``."""

    drop: type

    def setup(self):
        self.encoder = nn.RNN(nn.OptimizedLSTMCell(6), return_carry=True)
        self.decoder = nn.RNN(nn.OptimizedLSTMCell(6))
        self.dropping = self.drop(0.3)

    def __call__(self, x, train):
        """The outputs at all steps."""
        x = self.dropping(x, deterministic=not train)
        carry, _ = self.encoder(x)
        return self.dropping(self.decoder(x, initial_carry=carry), not train)


class LinenGraph(nn.Module):
    """Messages along edges, with layers that are scanned."""

    drop: type

    @nn.compact
    def __call__(self, graph, train):
        """The features of the nodes."""
        nodes, edges = graph

        class Layer(nn.Module):
            drop: type = self.drop

            @nn.compact
            def __call__(self, nodes, _):
                """One round of messages."""
                nodes = nn.relu(nn.Dense(4)(edges @ nodes))
                return self.drop(0.25, deterministic=not train)(nodes), None

        layers = nn.scan(
            nn.remat(Layer),
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            length=3,
        )()
        return layers(nodes, None)[0]


class LinenAutoencoder(nn.Module):
    """A variational autoencoder; its noise comes from the collection of dropout."""

    drop: type

    @nn.compact
    def __call__(self, x, train):
        """The reconstruction."""
        x = self.drop(0.2, deterministic=not train)(nn.Dense(8)(x))
        mean, log_variance = jnp.split(x, 2, axis=-1)
        noise = jax.random.normal(self.make_rng("dropout"), mean.shape)
        return nn.Dense(8)(mean + jnp.exp(log_variance / 2) * noise)


LINEN = {
    "mlp": (LinenPerceptron, TOKENS[0]),
    "mnist": (LinenDigits, IMAGES),
    "lm1b": (LinenBlock, TOKENS),
    "seq2seq": (LinenTranslator, TOKENS),
    "ogbg": (LinenGraph, GRAPH),
    "vae": (LinenAutoencoder, TOKENS[0]),
}


@pytest.mark.parametrize("name", quick_first(LINEN))
def test_linen_networks_train_and_evaluate_as_with_flax(name):
    network, data = LINEN[name]

    def use(drop):
        model, rngs = network(drop), {"params": KEY, "dropout": jax.random.key(1)}
        variables = model.init(rngs, data, True)
        others = {k: v for k, v in variables.items() if k != "params"}

        def step(params, key):
            def loss(params):
                outputs, state = model.apply(
                    {"params": params, **others},
                    data,
                    True,
                    rngs={"dropout": key},
                    mutable=list(others),
                )
                return (outputs**2).sum(), (outputs, state)

            return jax.value_and_grad(loss, has_aux=True)(params)

        steps = [step(variables["params"], jax.random.key(i)) for i in (2, 3)]
        assert jnp.isfinite(steps[0][0][0]) and steps[0][0][0] != steps[1][0][0]
        evaluated = model.apply(variables, data, False, rngs={"dropout": KEY})
        return variables, steps, evaluated

    ours, theirs = (use(drop) for drop in LINEN_PAIR)
    assert_equal(ours, theirs)
