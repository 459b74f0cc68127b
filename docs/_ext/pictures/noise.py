"""Techniques that keep, or change, the distribution of activations."""

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxdrop
from pictures.canvas import KEPT, OTHER, canvas, labelled
from study.words import number

KEY = jax.random.key(7)


def alpha_dropout() -> Figure:
    """Mean and variance through 30 layers of a self-normalizing network."""
    figure, axes = canvas(2, size=(3.0, 2.1))
    for drop, colour, line, name in (
        (jaxdrop.alpha_dropout, KEPT, "-", "alpha dropout"),
        (jaxdrop.dropout, OTHER, "-.", "dropout"),
    ):
        x = jax.random.normal(jax.random.key(0), (512, 256))
        means, deviations = [], []
        for layer in range(30):
            key = jax.random.fold_in(KEY, layer)
            kernel = jax.random.normal(key, (256, 256)) / 16
            x = drop(key, jax.nn.selu(x @ kernel), rate=0.1)
            means.append(float(x.mean()))
            deviations.append(float(x.std()))
        axes[0, 0].plot(means, line, color=colour, label=name)
        axes[0, 1].plot(deviations, line, color=colour)
    axes[0, 0].legend(fontsize=8)
    labelled(axes[0, 0], "layer", "mean")
    labelled(axes[0, 1], "layer", "standard deviation")
    return figure


def feature_alpha_dropout() -> Figure:
    """The distribution of SELU activations before and after."""
    x = jax.nn.selu(jax.random.normal(jax.random.key(0), (64, 16, 16, 32)))
    y = jaxdrop.feature_alpha_dropout(KEY, x, rate=0.2)
    figure, axes = canvas(2, size=(3.0, 2.0))
    for ax, array, title in zip(
        axes[0], (x, y), ("SELU activations", "after, rate 0.2"), strict=True
    ):
        ax.hist(np.asarray(array).ravel(), bins=80, color=KEPT)
        mean, deviation = (number(float(v), 2) for v in (array.mean(), array.std()))
        ax.set(title=f"{title}\nmean {mean}, deviation {deviation}", yticks=[])
        labelled(ax, "activation", "entries")
    return figure


def embedding_noise() -> Figure:
    """Noise whose size depends on the length of the sequence."""
    lengths = np.array([8, 16, 32, 64, 128, 256, 512])
    sizes = []
    for length in lengths:
        x = jnp.zeros((64, int(length), 64))
        noise = jaxdrop.inputs.embedding_noise(KEY, x, alpha=5.0)
        sizes.append(float(jnp.abs(noise).max()))
    figure, axes = canvas(1, size=(5.0, 2.0))
    axes[0, 0].loglog(lengths, sizes, "o-", color=KEPT)
    labelled(axes[0, 0], "tokens in the sequence", "largest noise")
    axes[0, 0].set_xticks(lengths, [str(length) for length in lengths])
    axes[0, 0].set_yticks((0.05, 0.1, 0.2), ("0.05", "0.1", "0.2"))
    axes[0, 0].minorticks_off()
    return figure
