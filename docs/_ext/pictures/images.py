"""Techniques that are best seen on a photograph."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxdrop
from pictures import ordinary
from pictures.canvas import canvas, photograph, photographs, show, show_flags, triptych

KEY = jax.random.key(7)


def drop_block() -> Figure:
    """Blocks."""
    drop = functools.partial(jaxdrop.drop_block, KEY, rate=0.3, block_size=15)
    apply = lambda plane: drop(plane[..., None])[..., 0]
    return ordinary.panels(apply, "blocks of 15, rate 0.3")


def _maps() -> jnp.ndarray:
    """Eight feature maps of the photograph: oriented differences."""
    grey = jnp.asarray(photograph().mean(-1))
    maps = []
    for angle in np.linspace(0, np.pi, 8, endpoint=False):
        dy, dx = round(3 * np.sin(angle)), round(3 * np.cos(angle))
        maps.append(jnp.abs(jnp.roll(grey, (dy, dx), (0, 1)) - grey) * 3)
    return jnp.clip(jnp.stack(maps, -1), 0, 1)[None]


def spatial_dropout() -> Figure:
    """Whole channels."""
    maps = _maps()
    dropped = jaxdrop.spatial_dropout(jax.random.key(3), maps + 1e-3, rate=0.4)
    figure, axes = canvas(8, 2, size=(1.0, 0.95))
    for row, (name, array) in enumerate((("before", maps), ("after", dropped))):
        for channel, ax in enumerate(axes[row]):
            image = np.clip(array[0, ..., channel], 0, 1)
            show(ax, image, cmap="magma", vmin=0, vmax=1)
        axes[row, 0].set_ylabel(name)
    figure.suptitle("eight feature maps, rate 0.4", fontsize=10)
    return figure


def stochastic_depth() -> Figure:
    """Residual branches of examples."""
    x = jnp.asarray(photographs())
    branch = jnp.abs(x - x.mean((1, 2), keepdims=True))
    kept = jaxdrop.stochastic_depth(jax.random.key(1), branch, rate=0.4)
    figure, axes = canvas(8, 2, size=(1.0, 1.0))
    for i in range(8):
        show(axes[0, i], x[i])
        show(axes[1, i], np.clip(kept[i], 0, 1))
    axes[0, 0].set_ylabel("examples")
    axes[1, 0].set_ylabel("branch")
    figure.suptitle("a branch is kept or dropped for each example", fontsize=10)
    return figure


def token_dropout() -> Figure:
    """Patches of an image."""
    image = photograph()
    patches = image.reshape(12, 8, 15, 8, 3).transpose(0, 2, 1, 3, 4)
    tokens = jnp.asarray(patches.reshape(1, 180, 192))
    _, indices = jaxdrop.token_dropout(KEY, tokens, rate=0.5)
    kept = np.zeros(180, bool)
    kept[np.asarray(indices).ravel()] = True
    flags = kept.reshape(12, 15).repeat(8, 0).repeat(8, 1)
    faded = np.where(flags[..., None], image, 0.88)
    titles = ("180 patches", "kept tokens, rate 0.5", "what the network sees")
    return triptych(titles, (image, flags.astype(float), faded))


def gaussian_noise() -> Figure:
    """Additive noise."""
    x = jnp.asarray(photograph())
    y = [jaxdrop.inputs.gaussian_noise(KEY, x, stddev=s) for s in (0.1, 0.3)]
    titles = ("input", "stddev 0.1", "stddev 0.3")
    return triptych(titles, (x, *map(np.asarray, y)))


def cutout() -> Figure:
    """Square holes."""
    x = jnp.asarray(photographs())[:3]
    y = jaxdrop.inputs.cutout(jax.random.key(2), x, size=20)
    return triptych(("cutout, size 20", "", ""), np.asarray(y))


def random_erasing() -> Figure:
    """Rectangles of noise."""
    x = jnp.asarray(photographs())[4:7]
    y = jaxdrop.inputs.random_erasing(jax.random.key(5), x, rate=0.99)
    return triptych(("random erasing", "", ""), np.asarray(y))


def mixup() -> Figure:
    """Two images, blended."""
    x = jnp.asarray(photographs())[jnp.array([0, 5, 3])]
    labels = jnp.eye(3)
    y, soft = jaxdrop.inputs.mixup(jax.random.key(4), x, labels, alpha=2.0)
    titles = [", ".join(f"{100 * share:.0f} %" for share in row) for row in soft]
    return triptych(titles, np.asarray(y))


def cutmix() -> Figure:
    """Two images, one pasted into the other."""
    x = jnp.asarray(photographs())[jnp.array([0, 5, 3])]
    y, soft = jaxdrop.inputs.cutmix(jax.random.key(6), x, jnp.eye(3), alpha=1.0)
    titles = [", ".join(f"{100 * share:.0f} %" for share in row) for row in soft]
    return triptych(titles, np.asarray(y))


def shake_shake() -> Figure:
    """Two branches, mixed at random."""
    x = jnp.asarray(photographs())
    a, b = x[:4], x[4:]
    y = jaxdrop.shake_shake(jax.random.key(0), a, b)
    figure, axes = canvas(4, 3, size=(1.1, 1.05))
    for row, (name, images) in enumerate((("a", a), ("b", b), ("mixed", y))):
        for i in range(4):
            show(axes[row, i], np.clip(images[i], 0, 1))
        axes[row, 0].set_ylabel(name)
    return figure


def masksembles() -> Figure:
    """A fixed set of masks."""
    figure, axes = canvas(3, size=(2.4, 1.3))
    for ax, scale in zip(axes[0], (1.0, 1.5, 3.0), strict=True):
        masks = jaxdrop.masks.masksembles(0, 24, 4, scale)
        show_flags(ax, masks, f"4 masks of 24 features, scale {scale:g}")
        ax.title.set_fontsize(8)
    return figure
