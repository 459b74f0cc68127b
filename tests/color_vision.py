"""How colours look to people with protanopia and deuteranopia, and how far apart.

Machado, Oliveira, Fernandes, "A physiologically-based model for simulation of color
vision deficiency", 2009, https://doi.org/10.1109/TVCG.2009.113; Sharma, Wu, Dalal, "The
CIEDE2000 color-difference formula", 2005, https://doi.org/10.1002/col.20070.
"""

import numpy as np
from matplotlib.colors import to_rgb

VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def linear(colors):
    """Light of each primary, from the numbers of sRGB."""
    rgb = np.array([to_rgb(color) for color in colors])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def seen(colors, vision):
    """CIELAB of colours as somebody sees them."""
    light = np.clip(linear(colors) @ VISIONS[vision].T, 0, 1)
    ratio = light @ XYZ.T / XYZ.sum(1)
    root = np.where(
        ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116
    )
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def contrast(colors, background):
    """The contrast ratio of WCAG 2 with a background."""
    bright = linear(colors) @ XYZ[1] + 0.05
    ground = linear([background])[0] @ XYZ[1] + 0.05
    return np.maximum(bright, ground) / np.minimum(bright, ground)


def difference(one, other):
    """CIEDE2000 of colours in CIELAB."""
    lightness, a, b = np.moveaxis(np.stack(np.broadcast_arrays(one, other)), -1, 0)
    chroma = np.hypot(a, b).mean(0)
    a = a * (1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25**7)))
    chroma, hue = np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360
    turn = (hue[1] - hue[0] + 180) % 360 - 180
    middle, mean = hue[0] + turn / 2, chroma.mean(0)
    d_hue = 2 * np.sqrt(chroma[0] * chroma[1]) * np.sin(np.radians(turn / 2))
    waves = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.2, 4, -63))
    t = 1 + sum(w * np.cos(np.radians(k * middle + s)) for w, k, s in waves)
    off = (lightness.mean(0) - 50) ** 2
    d_light = np.diff(lightness, axis=0)[0] / (1 + 0.015 * off / np.sqrt(20 + off))
    d_chroma = np.diff(chroma, axis=0)[0] / (1 + 0.045 * mean)
    d_hue = d_hue / (1 + 0.015 * mean * t)
    bend = np.radians(30 * np.exp(-((((middle % 360) - 275) / 25) ** 2)))
    rotation = -2 * np.sqrt(mean**7 / (mean**7 + 25**7)) * np.sin(2 * bend)
    squares = d_light**2 + d_chroma**2 + d_hue**2 + rotation * d_chroma * d_hue
    return np.sqrt(np.maximum(squares, 0))
