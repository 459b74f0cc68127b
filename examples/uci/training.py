"""How a network is trained on all splits of a data set, in one vmapped program."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import Array, lax
from tqdm import tqdm

from jaxdrop import penalties
from study.recipe import Recipe
from uci.splits import Splits

_BLOCK = 20  # epochs in one call of the program


@dataclass(frozen=True, kw_only=True)
class RegressionRecipe(Recipe):
    """How a network is trained; the last batch of an epoch is smaller.

    Attributes:
      rate: the probability of dropping an input or a hidden unit.
      tau: the precision of the noise, in one over the square of the target's units.
      length_scale: of the prior of the weights: the smaller, the less weight decay.
      hidden: the number of hidden units.
      epochs: how often each row is seen.
      seed: of everything random.
    """

    rate: float
    tau: float
    length_scale: float
    hidden: int = 50
    epochs: int = 400
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 0


class Scores(NamedTuple):
    """How good the predictions of each split are, and the predictions.

    Attributes:
      weight_scaling: ``(splits,)``: the root mean squared error of one pass at rate 0.
      rmse: ``(splits,)``: that of the samples' mean.
      log_likelihood: ``(splits,)``: of a test row under the mixture of the samples.
      mean: ``(splits, rows)``: the samples' mean.
      std: ``(splits, rows)``: of the predictive distribution, with the noise.
    """

    weight_scaling: Array
    rmse: Array
    log_likelihood: Array
    mean: Array
    std: Array


def fit(network: nn.Module, recipe: RegressionRecipe, splits: Splits) -> Any:
    """Trains a network for each split.

    Args:
      network: a module of Linen, of rows and a rate.
      recipe: how to train.
      splits: the data.

    Returns:
      The variables of the networks, with the splits along their first axis.
    """
    optimizer = optax.adam(recipe.learning_rate)
    init_key, *block_keys = jax.random.split(
        jax.random.key(recipe.seed), 1 + -(-recipe.epochs // _BLOCK)
    )
    count = len(splits.mean)

    def init(key: Array, x: Array) -> Any:
        variables = network.init(key, x, 0.0)
        return variables, optimizer.init(variables)

    def epochs(state: Any, keys: Array, split: Splits) -> Any:
        one = partial(_epoch, recipe, network, optimizer)
        return lax.scan(lambda s, key: (one(s, key, split), None), state, keys)[0]

    data = jax.device_put(splits)
    state = jax.jit(jax.vmap(init))(jax.random.split(init_key, count), data.x)
    run = jax.jit(jax.vmap(epochs), donate_argnums=0)
    with tqdm(total=recipe.epochs, unit="epoch") as bar:
        for key in block_keys:
            size = min(_BLOCK, recipe.epochs - bar.n)
            state = run(state, jax.random.split(key, (count, size)), data)
            jax.block_until_ready(state)
            bar.update(size)
    return state[0]


def _epoch(
    recipe: RegressionRecipe,
    network: nn.Module,
    optimizer: optax.GradientTransformation,
    state: Any,
    key: Array,
    split: Splits,
) -> Any:
    """Sees each row once; rows that are not there come last, and count for nothing."""
    num_rows, size = split.weight.sum(), recipe.batch_size
    decay = recipe.length_scale**2 * (1 - recipe.rate) / (2 * num_rows * recipe.tau)

    def loss_of(variables: Any, rows: Array, there: Array, key: Array) -> Array:
        outputs = network.apply(
            variables, split.x[rows], recipe.rate, rngs={"dropout": key}
        )
        squares = jnp.where(there, (outputs - split.y[rows]) ** 2, 0)
        is_kernel = lambda path, _: path.endswith("kernel")
        penalty = penalties.l2(variables, coefficient=decay, where=is_kernel)
        return squares.sum() / jnp.maximum(there.sum(), 1) + penalty

    def step(state: Any, batch: tuple[Array, ...]) -> tuple[Any, None]:
        variables, opt_state = state
        grads = jax.grad(loss_of)(variables, *batch)
        updates, opt_state = optimizer.update(grads, opt_state)
        new = optax.apply_updates(variables, updates), opt_state
        some = batch[1].any()  # smaller splits have fewer steps
        return jax.tree.map(lambda a, b: jnp.where(some, a, b), new, state), None

    order_key, drop_key = jax.random.split(key)
    draws = jax.random.uniform(order_key, split.weight.shape)
    order = jnp.argsort(jnp.where(split.weight > 0, draws, 2))
    num_steps = -(-len(order) // size)
    order = jnp.pad(order, (0, num_steps * size - len(order)))
    there = jnp.arange(len(order)) < num_rows
    batches = order.reshape(num_steps, size), there.reshape(num_steps, size)
    keys = jax.random.split(drop_key, num_steps)
    return lax.scan(step, state, (*batches, keys))[0]
