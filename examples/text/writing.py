"""Going on from a prompt, one character at a time."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from data import Text
from text.training import State, TextRecipe


def continue_text(states: State, text: Text, recipe: TextRecipe, *, count: int) -> str:
    """What the first network writes after the first window of the test text."""
    first: State = jax.tree.map(lambda leaf: leaf[0], states)
    prompt = text.test[: recipe.length]

    @jax.jit
    def write_with(params: nnx.State) -> jax.Array:
        network = first.network(params)
        network.eval()
        return write(jax.random.key(1), network, prompt, count=count)

    ids = np.asarray(write_with(first.best.best_params))
    return f"{text.read(prompt)} ▸▸▸ {text.read(ids)}"


def write(
    key: Array,
    network: nnx.Module,
    prompt: Array,
    *,
    count: int,
    temperature: float = 0.8,
) -> Array:
    """Goes on from a prompt, one character at a time.

    Args:
      key: a PRNG key.
      network: logits of windows, in evaluation mode.
      prompt: ``(length,)``: the numbers of the characters before; the window that the
        network sees moves along.
      count: how many characters to write.
      temperature: what logits are divided by.

    Returns:
      The numbers of the characters, ``(count,)``.
    """

    def step(window: Array, key: Array) -> tuple[Array, Array]:
        logits = network(window[None])[0, -1] / temperature
        new = jax.random.categorical(key, logits).astype(window.dtype)
        return jnp.append(window[1:], new), new

    return lax.scan(step, jnp.asarray(prompt), jax.random.split(key, count))[1]
