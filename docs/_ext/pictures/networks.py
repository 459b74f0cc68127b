"""Techniques on weights, gates and whole layers."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxdrop
from jaxdrop import schedules
from pictures.canvas import GREY, KEPT, OTHER, canvas, labelled, show_flags

KEY = jax.random.key(7)


def drop_connect() -> Figure:
    """Single weights."""
    kernel = jax.random.normal(KEY, (24, 32))
    dropped = jaxdrop.drop_connect(KEY, kernel, rate=0.5)
    return _matrices((kernel, dropped), ("weights", "dropped, rate 0.5"))


def mixout() -> Figure:
    """Weights swapped for pretrained ones."""
    rows = jnp.linspace(-1, 1, 24)[:, None] * jnp.ones((24, 32))
    columns = jnp.linspace(-1, 1, 32) * jnp.ones((24, 32))
    mask = jaxdrop.masks.bernoulli(KEY, (24, 32), rate=0.5)
    mixed = jnp.where(mask, rows, columns)  # without the correction of the mean
    return _matrices(
        (rows, columns, mixed), ("fine-tuned", "pretrained", "mixed, rate 0.5")
    )


def _matrices(arrays: Sequence[jax.Array], titles: Sequence[str]) -> Figure:
    figure, axes = canvas(len(arrays), size=(2.4, 1.9))
    for ax, array, title in zip(axes[0], arrays, titles, strict=True):
        limit = float(jnp.abs(array).max())
        ax.imshow(np.asarray(array), cmap="BrBG", vmin=-limit, vmax=limit)
        ax.set(title=title, xticks=[], yticks=[])
    return figure


def layer_drop() -> Figure:
    """Layers that are skipped, at rates that grow with depth."""
    rates = schedules.depth_rates(0.5, 16)
    keys = jax.random.split(KEY, 40)
    drop = lambda key: jaxdrop.layer_drop(key, 16, rate=rates)
    kept = jax.vmap(drop)(keys)
    figure, axes = canvas(1, size=(5.6, 2.2))
    show_flags(axes[0, 0], kept.T[::-1], "layers that run, rates from 0 to 0.5")
    labelled(axes[0, 0], "training steps", "depth")
    return figure


def subset_stochastic_depth() -> Figure:
    """Examples on which each branch is computed."""
    ran = []
    for layer in range(12):
        x = jnp.ones((24, 1))
        key = jax.random.fold_in(KEY, layer)
        y = jaxdrop.subset_stochastic_depth(key, lambda v: v, x, rate=0.5)
        ran.append(y[:, 0] > 0)
    figure, axes = canvas(1, size=(5.0, 2.2))
    show_flags(axes[0, 0], np.stack(ran)[::-1], "what is computed, rate 0.5")
    labelled(axes[0, 0], "examples", "depth")
    return figure


def multi_sample() -> Figure:
    """One feature vector under several masks."""
    mask = lambda key: jaxdrop.dropout(key, jnp.ones(48), rate=0.5) > 0
    masks = jaxdrop.multi_sample(KEY, mask, num_samples=6)
    figure, axes = canvas(1, size=(5.6, 1.5))
    show_flags(axes[0, 0], masks, "the same features under six masks")
    labelled(axes[0, 0], "features", "samples")
    return figure


def shake_drop() -> Figure:
    """Factors of residual branches, forward."""
    factors = jaxdrop.shake_drop(KEY, jnp.ones((4000, 1)), rate=0.5)[:, 0]
    figure, axes = canvas(1, size=(5.0, 2.0))
    axes[0, 0].hist(np.asarray(factors), bins=60, color=KEPT)
    axes[0, 0].set(title="factor of a branch, rate 0.5", yscale="log")
    labelled(axes[0, 0], "factor", "examples")
    return figure


def concrete_dropout() -> Figure:
    """How many entries are dropped, as a relaxed mask sees it."""
    figure, axes = canvas(2, size=(3.0, 2.1))
    for temperature, colour in ((0.1, KEPT), (0.5, OTHER)):
        y = jaxdrop.concrete_dropout(
            KEY, jnp.ones(20000), jnp.float32(0.0), temperature=temperature
        )
        axes[0, 0].hist(
            np.asarray(y) / 2,
            bins=50,
            color=colour,
            alpha=0.7,
            label=f"temperature {temperature}",
        )
    axes[0, 0].legend(fontsize=7)
    labelled(axes[0, 0], "relaxed mask", "entries")
    logits = np.linspace(-5, 5, 200)
    axes[0, 1].plot(logits, 1 / (1 + np.exp(-logits)), color=KEPT)
    labelled(axes[0, 1], "learned logit", "rate")
    return figure


def hard_concrete() -> Figure:
    """Gates that are often exactly 0 or 1."""
    figure, axes = canvas(3, size=(2.2, 1.9))
    for ax, log_alpha in zip(axes[0], (-2.0, 0.0, 2.0), strict=True):
        gates = jaxdrop.hard_concrete(KEY, jnp.full(20000, log_alpha))
        ax.hist(np.asarray(gates), bins=41, color=KEPT)
        ax.set(title=f"log alpha {log_alpha:g}", yticks=[], xticks=(0, 0.5, 1))
        labelled(ax, "gate", "gates drawn" if log_alpha < 0 else "")
    return figure


def variational_dense() -> Figure:
    """Which weights are pruned: those whose noise drowns them."""
    mean = jax.random.normal(KEY, (1500,)) * 0.3
    log_variance = jax.random.uniform(jax.random.key(1), (1500,), minval=-9, maxval=-1)
    log_alpha = log_variance - jnp.log(mean**2)
    figure, axes = canvas(1, size=(5.2, 2.4))
    kept = np.asarray(log_alpha < 3)
    for chosen, colour, name in ((kept, KEPT, "kept"), (~kept, GREY, "pruned")):
        axes[0, 0].scatter(
            np.asarray(mean)[chosen],
            np.asarray(log_alpha)[chosen],
            s=4,
            color=colour,
            label=name,
        )
    axes[0, 0].axhline(3, color=OTHER, lw=1, label="pruned from here on")
    axes[0, 0].legend(fontsize=8, loc="upper right")
    labelled(axes[0, 0], "mean of the weight", "log alpha")
    return figure
