"""One training step with dropout, written three times: bare JAX, Flax NNX, Flax Linen.

A network with one hidden layer learns to read digits. The three parts below need
nothing of each other: copy the one you want. From equal weights and equal keys they
compute equal losses, which the script checks, in about 15 s (18 s of CPU).

    python examples/train_step.py
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen, nnx
from flax.training.train_state import TrainState
from jax import Array

import jaxdrop
from data import load

PIXELS, UNITS, CLASSES, RATE = 64, 256, 10, 0.5
OPTIMIZER = optax.adam(1e-3)


def cross_entropy(logits: Array, y: Array) -> Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


# --- Bare JAX. Parameters are a dictionary, and a key is an argument. -----------------


def dense(key: Array, inputs: int, outputs: int) -> dict[str, Array]:
    kernel = jax.nn.initializers.lecun_normal()(key, (inputs, outputs))
    return {"kernel": kernel, "bias": jnp.zeros(outputs)}


def apply(params: Any, x: Array, key: Array | None = None) -> Array:
    """The logits: with a key as in training, without one as in evaluation."""
    h = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    h = jaxdrop.dropout(key, h, rate=RATE, deterministic=key is None)
    return h @ params["output"]["kernel"] + params["output"]["bias"]


@jax.jit
def bare_step(params: Any, opt_state: Any, x: Array, y: Array, key: Array) -> Any:
    def loss_of(params: Any) -> Array:
        return cross_entropy(apply(params, x, key), y)

    loss, grads = jax.value_and_grad(loss_of)(params)
    updates, opt_state = OPTIMIZER.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


# --- Flax NNX. The model holds its parameters; model.eval() switches dropout off. -----


class NNXNetwork(nnx.Module):
    """Keys are arguments; with ``Dropout(RATE, rngs=rngs)`` the model has its own."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(PIXELS, UNITS, rngs=rngs)
        self.dropout = jaxdrop.nnx.Dropout(RATE)
        self.output = nnx.Linear(UNITS, CLASSES, rngs=rngs)

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """The logits."""
        h = nnx.relu(self.hidden(x))
        return self.output(self.dropout(h, rngs=key))


@nnx.jit
def nnx_step(
    model: NNXNetwork, optimizer: nnx.Optimizer, x: Array, y: Array, key: Array
) -> Array:
    def loss_of(model: NNXNetwork) -> Array:
        return cross_entropy(model(x, key), y)

    loss, grads = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, grads)
    return loss


# --- Flax Linen. A module is a description; a TrainState holds what changes. ----------


class LinenNetwork(linen.Module):
    """Keys are arguments; without ``rng=`` they are those of ``apply(…, rngs=…)``."""

    @linen.compact
    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """The logits: with a key as in training, without one as in evaluation."""
        h = linen.relu(linen.Dense(UNITS, name="hidden")(x))
        h = jaxdrop.linen.Dropout(RATE)(h, deterministic=key is None, rng=key)
        return linen.Dense(CLASSES, name="output")(h)


@jax.jit
def linen_step(state: TrainState, x: Array, y: Array, key: Array) -> Any:
    def loss_of(params: Any) -> Array:
        return cross_entropy(state.apply_fn({"params": params}, x, key), y)

    loss, grads = jax.value_and_grad(loss_of)(state.params)
    return state.apply_gradients(grads=grads), loss


def main() -> None:
    """Takes all three steps side by side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="20 steps")
    args = parser.parse_args()
    steps = 20 if args.quick else args.steps
    if steps < 1:
        parser.error(f"argument --steps: must be at least 1, got {steps}")
    train, _, test, _ = load("digits")

    params = {
        "hidden": dense(jax.random.key(0), PIXELS, UNITS),
        "output": dense(jax.random.key(1), UNITS, CLASSES),
    }
    opt_state = OPTIMIZER.init(params)

    model = NNXNetwork(rngs=nnx.Rngs(0))
    nnx.update(model, params)  # the weights of the others
    optimizer = nnx.Optimizer(model, OPTIMIZER, wrt=nnx.Param)

    apply_fn = LinenNetwork().apply
    state = TrainState.create(apply_fn=apply_fn, params=params, tx=OPTIMIZER)

    draw = np.random.default_rng(0)
    print(f"{'step':>6}{'bare JAX':>12}{'Flax NNX':>12}{'Flax Linen':>12}")
    for step in range(steps):
        x, y = train.take(draw.choice(len(train.y), size=100))
        key = jax.random.fold_in(jax.random.key(2), step)
        params, opt_state, bare_loss = bare_step(params, opt_state, x, y, key)
        nnx_loss = nnx_step(model, optimizer, x, y, key)
        state, linen_loss = linen_step(state, x, y, key)
        losses = np.array([bare_loss, nnx_loss, linen_loss])
        np.testing.assert_allclose(losses, losses[0], rtol=1e-5)
        if step % 50 == 0:
            print(f"{step:>6}" + "".join(f"{loss:>12.6f}" for loss in losses))
    print(f"The three losses agree at each of {steps} steps, to 5 digits.")
    model.eval()
    linen_logits = state.apply_fn({"params": state.params}, test.x)
    predictions = [apply(params, test.x), model(test.x), linen_logits]
    wrong = [np.mean(logits.argmax(-1) != test.y) for logits in predictions]
    print("error:" + "".join(f"{error:>12.1%}" for error in wrong))


if __name__ == "__main__":
    main()
