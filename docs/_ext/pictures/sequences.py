"""Techniques for text, time series and attention."""

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxdrop
from pictures.canvas import GREY, KEPT, OTHER, canvas, labelled, show_flags

KEY = jax.random.key(7)


def locked_dropout() -> Figure:
    """One mask for all time steps, beside a fresh one at each."""
    x = jnp.ones((1, 20, 32))
    fresh = jaxdrop.dropout(KEY, x, rate=0.4)[0] > 0
    locked = jaxdrop.locked_dropout(KEY, x, rate=0.4)[0] > 0
    figure, axes = canvas(2, size=(3.2, 2.0))
    show_flags(axes[0, 0], fresh, "dropout: a mask for each step")
    show_flags(axes[0, 1], locked, "locked dropout: one for the sequence")
    for ax in axes[0]:
        labelled(ax, "features", "time steps")
    return figure


def variational_cell() -> Figure:
    """Input and state masks of a recurrent cell, over time."""
    figure, axes = canvas(2, size=(3.2, 2.0))
    for ax, key, width, name in zip(
        axes[0], (3, 4), (16, 32), ("inputs", "state"), strict=True
    ):
        mask = jaxdrop.masks.bernoulli(jax.random.key(key), (width,), rate=0.25)
        show_flags(ax, np.tile(mask, (20, 1)), f"mask of the {name}")
        labelled(ax, name, "time steps")
    return figure


def recurrent_dropout() -> Figure:
    """The memory of an LSTM: dropped itself, or only in its update."""
    rng = np.random.default_rng(1)
    update = rng.normal(0, 0.25, 60) + 0.05
    forget, keep = 0.97, rng.random(60) > 0.3
    plain, direct, candidate = [0.0], [0.0], [0.0]
    for u, k in zip(update, keep, strict=True):
        plain.append(forget * plain[-1] + u)
        direct.append((forget * direct[-1] + u) * k)  # not rescaled: that would grow
        candidate.append(forget * candidate[-1] + u * k)
    figure, axes = canvas(1, size=(6.4, 2.1))
    ax = axes[0, 0]
    ax.plot(plain, "--", color=GREY, label="no dropout")
    ax.plot(direct, "-.", color=OTHER, label="memory dropped: forgets")
    ax.plot(candidate, color=KEPT, label="candidates dropped: remembers")
    ax.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    labelled(ax, "time step", "memory")
    return figure


def zoneout() -> Figure:
    """A state that sometimes keeps its old value."""
    steps = jnp.arange(60)
    new = jnp.sin(steps / 6) + 0.25 * jax.random.normal(KEY, (60,))
    old, states = jnp.zeros(()), []
    for t in range(60):
        old = jaxdrop.zoneout(jax.random.fold_in(KEY, t), new[t], old, rate=0.5)
        states.append(float(old))
    figure, axes = canvas(1, size=(6.4, 2.0))
    ax = axes[0, 0]
    ax.plot(new, "--", color=GREY, lw=1, label="update of a unit")
    ax.step(steps, states, where="post", color=KEPT, label="state under zoneout, 0.5")
    ax.legend(fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    labelled(ax, "time step", "state")
    return figure


def embedding_dropout() -> Figure:
    """Word types: all occurrences together."""
    text = "the cat saw the dog and the dog saw the cat run to the tree by the house"
    words = text.split()
    ids = jnp.array([sorted(set(words)).index(word) for word in words])[None]
    kept = jaxdrop.embedding_dropout(
        jax.random.key(1), jnp.ones((1, len(words), 1)), ids, rate=0.35
    )
    figure, axes = canvas(1, size=(3.4, 0.8))
    ax, column, line = axes[0, 0], 0, 1.5
    for word, value in zip(words, kept[0, :, 0], strict=True):
        alive = bool(value > 0)
        if column + len(word) > 40:
            column, line = 0, 0.5
        text = ax.text(
            column,
            line,
            word,
            va="center",
            family="monospace",
            fontsize=8.5,
            color=KEPT if alive else GREY,
            alpha=1 if alive else 0.45,
        )
        text.set_in_layout(False)
        if not alive:
            ax.plot([column, column + len(word)], [line, line], color=GREY, lw=1)
        column += len(word) + 1
    ax.set(xlim=(0, 41), ylim=(0, 2))
    ax.axis("off")
    return figure


def _weights() -> jax.Array:
    logits = jax.random.normal(jax.random.key(2), (24, 24))
    near = -jnp.abs(jnp.arange(24)[:, None] - jnp.arange(24)) / 4
    mask = jnp.tril(jnp.ones((24, 24), bool))
    return jax.nn.softmax(jnp.where(mask, logits + near, -jnp.inf), axis=-1)


def dot_product_attention() -> Figure:
    """Weights after the softmax."""
    weights = _weights()
    dropped = jaxdrop.dropout(KEY, weights, rate=0.3)
    figure, axes = canvas(2, size=(2.8, 2.5))
    for ax, array, title in zip(
        axes[0], (weights, dropped), ("weights", "dropped, rate 0.3"), strict=True
    ):
        ax.imshow(np.sqrt(array), cmap="magma", vmin=0, vmax=1)
        ax.set(title=title, xticks=[], yticks=[])
        labelled(ax, "keys", "queries")
    return figure


def drop_key() -> Figure:
    """Keys removed before the softmax: each row still sums to 1."""
    weights = _weights()
    allowed = jaxdrop.drop_key(KEY, (24, 24), rate=0.3)
    allowed = allowed & jnp.tril(jnp.ones((24, 24), bool)) | jnp.eye(24, dtype=bool)
    logits = jnp.where(weights > 0, jnp.log(jnp.where(weights > 0, weights, 1)), -1e9)
    renewed = jax.nn.softmax(jnp.where(allowed, logits, -1e9), axis=-1)
    figure, axes = canvas(2, size=(2.8, 2.5))
    for ax, array, title in zip(
        axes[0], (weights, renewed), ("weights", "without dropped keys"), strict=True
    ):
        ax.imshow(np.sqrt(array), cmap="magma", vmin=0, vmax=1)
        ax.set(title=title, xticks=[], yticks=[])
        labelled(ax, "keys", "queries")
    return figure


def drop_head() -> Figure:
    """Whole heads of examples."""
    heads = jnp.ones((16, 4, 12, 2))  # examples, queries, heads, features
    kept = jaxdrop.drop_head(KEY, heads, rate=0.25)[:, 0, :, 0] > 0
    figure, axes = canvas(1, size=(4.2, 2.4))
    show_flags(axes[0, 0], kept.T, "heads kept, rate 0.25")
    labelled(axes[0, 0], "examples", "heads")
    return figure
