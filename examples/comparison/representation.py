"""What a regularizer does to the inside of a network."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from comparison.training import State
from jaxdrop import diagnostics


class Representation(NamedTuple):
    """Numbers of a network; each array has the seeds as its first axis.

    Attributes:
      dead: the share of hidden units that no image activates.
      sparsity: the share of activations of hidden units that are 0.
      activity: the mean modulus of their activations.
      co_adaptation: the mean modulus of the correlation of two units of a layer.
      weight: the root mean square of the weights of kernels.
      zeros: the share of them that are exactly 0.
    """

    dead: Array
    sparsity: Array
    activity: Array
    co_adaptation: Array
    weight: Array
    zeros: Array


@jax.jit
def represent(states: State, x: Array) -> Representation:
    """Looks into networks of many seeds, without noise.

    Args:
      states: their states, without what their optimizers keep.
      x: the images that are shown to them.

    Returns:
      The numbers, as means over hidden layers.
    """
    return jax.vmap(_represent, (0, None))(states, x)


def _represent(state: State, x: Array) -> Representation:
    layers = _activities(state, x)

    def mean(measure: list[Array]) -> Array:
        return jnp.stack(measure).mean()

    leaves = jax.tree_util.tree_leaves_with_path(state.params)
    kernels = [leaf for path, leaf in leaves if "kernel" in jax.tree_util.keystr(path)]
    weights = jnp.concatenate([kernel.ravel() for kernel in kernels])
    return Representation(
        dead=mean([diagnostics.dead_units(layer).mean() for layer in layers]),
        sparsity=mean(diagnostics.activation_sparsity(layers)),
        activity=mean([jnp.abs(layer).mean() for layer in layers]),
        co_adaptation=mean([diagnostics.co_adaptation(layer) for layer in layers]),
        weight=jnp.sqrt(jnp.square(weights).mean()),
        zeros=(weights == 0).mean(),
    )


def _activities(state: State, x: Array) -> list[Array]:
    """What each hidden layer gives, after its activation function."""
    model = state.model
    model.eval()
    activities = []
    for layer in model.layers:
        x = layer(x)
        if not isinstance(layer, nnx.Module):
            activities.append(x)
    return activities
