"""A network with dropout for images of ten classes, and how it is trained."""

import itertools
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from jax import Array, lax
from tqdm import tqdm

import jaxdrop
from data import Split
from study.recipe import ImageRecipe

NUM_CLASSES = 10


class Network(nnx.Module):
    """Dense layers with rectifiers, and dropout before each."""

    def __init__(
        self, sizes: tuple[int, ...], rates: tuple[float, float], rngs: nnx.Rngs
    ) -> None:
        pairs = itertools.pairwise(sizes)
        self.layers = nnx.List([nnx.Linear(*pair, rngs=rngs) for pair in pairs])
        first, later = rates
        of_layers = [first, *[later] * (len(sizes) - 2)]
        self.drops = nnx.List([jaxdrop.nnx.Dropout(r, rngs=rngs) for r in of_layers])

    def __call__(self, x: Array) -> Array:
        """The logits of images ``(batch, pixels)``."""
        for layer, (drop, dense) in enumerate(
            zip(self.drops, self.layers, strict=True)
        ):
            x = dense(drop(nnx.relu(x) if layer else x))
        return x


def train(recipe: ImageRecipe, images: Split, *, seed: int) -> Network:
    """Trains a network.

    Args:
      recipe: how.
      images: standardized images.
      seed: of the weights, of the order of the images, and of dropout.

    Returns:
      The network, in evaluation mode.
    """
    num_images, num_pixels = images.x.shape
    batch_size = min(recipe.batch_size, num_images)
    num_steps = num_images // batch_size
    rate = optax.exponential_decay(
        recipe.learning_rate, num_steps, recipe.decay, staircase=True
    )
    sizes = (num_pixels, *recipe.hidden, NUM_CLASSES)
    model = Network(sizes, recipe.rates, nnx.Rngs(seed))
    optimizer = nnx.Optimizer(model, optax.adam(rate), wrt=nnx.Param)
    graphdef, state = nnx.split((model, optimizer))

    def loss_of(model: Network, batch: Split) -> Array:
        losses = optax.softmax_cross_entropy_with_integer_labels
        return losses(model(batch.x), batch.y).mean()

    def step(images: Split, state: Any, rows: Array) -> tuple[Any, None]:
        model, optimizer = nnx.merge(graphdef, state, copy=True)
        optimizer.update(model, nnx.grad(loss_of)(model, images.take(rows)))
        return nnx.state((model, optimizer)), None

    @partial(jax.jit, donate_argnums=0)
    def epoch(state: Any, images: Split, order: Array) -> Any:
        return lax.scan(partial(step, images), state, order)[0]

    data, draw = jax.device_put(images), np.random.default_rng(seed)
    for _ in tqdm(range(recipe.epochs), unit="epoch"):
        order = draw.permutation(num_images)[: num_steps * batch_size]
        state = epoch(state, data, order.reshape(num_steps, -1))
    nnx.update((model, optimizer), state)
    model.eval()
    return model
