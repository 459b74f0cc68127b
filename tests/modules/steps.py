"""Steps of recurrent cells in NumPy and float64, with masks as factors."""

import jax
import numpy as np


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def lstm(weights, carry, x, masks_x, masks_h):
    """An LSTM step; ``masks`` are factors, one for each gate."""
    c, h = carry
    i, f, g, o = (
        (x * mx) @ of_x + (h * mh) @ of_h + bias
        for (of_x, of_h, bias), mx, mh in zip(weights, masks_x, masks_h, strict=True)
    )
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return (c, h), h


def gru(weights, h, x, masks_x, masks_h):
    """A GRU step, with the bias of the state inside the reset."""
    gates = [
        ((x * mx) @ of_x + bias_x, (h * mh) @ of_h + bias_h)
        for (of_x, of_h, bias_x, bias_h), mx, mh in zip(
            weights, masks_x, masks_h, strict=True
        )
    ]
    r, z = (sigmoid(a + b) for a, b in gates[:2])
    n = np.tanh(gates[2][0] + r * gates[2][1])
    h = (1 - z) * n + z * h
    return h, h


def mgu(weights, h, x, masks_x, masks_h):
    """An MGU step."""
    (f_x, f_h), (n_x, n_h) = (
        ((x * mx) @ of_x + bias_x, (h * mh) @ of_h + bias_h)
        for (of_x, of_h, bias_x, bias_h), mx, mh in zip(
            weights, masks_x, masks_h, strict=True
        )
    )
    f = sigmoid(f_x + f_h)
    h = (1 - f) * np.tanh(n_x + f * n_h) + f * h
    return h, h


def simple(weights, h, x, masks_x, masks_h):
    """A residual step: the state also passes outside of the product."""
    ((of_x, of_h, bias),) = weights
    h = np.tanh((x * masks_x[0]) @ of_x + (h * masks_h[0]) @ of_h + bias + h)
    return h, h


def split(array, parts):
    return np.split(np.asarray(array, np.float64), parts, axis=-1)


def linen_weights(params, step, gates):
    """The weights of a cell of Linen in the order that a step takes."""
    of = lambda name, leaf: np.asarray(params[name].get(leaf, 0.0), np.float64)
    weights = [(of(f"i{g}", "kernel"), of(f"h{g}", "kernel")) for g in gates]
    if step in (gru, mgu):
        biases = [(of(f"i{g}", "bias"), of(f"h{g}", "bias")) for g in gates]
    else:
        source = "h" if step is lstm else "i"
        biases = [(of(f"{source}{g}", "bias"),) for g in gates]
    return [a + b for a, b in zip(weights, biases, strict=True)]


def factors(mask, rate, gates):
    """Masks as factors for each gate, from what a carry holds."""
    mask = np.asarray(mask, np.float64) / (1 - rate)
    return [mask[:, g] if mask.ndim == 3 else mask for g in range(gates)]


def unrolled(step, weights, carry, x, masks_x, masks_h):
    """All outputs of a sequence, step by step."""
    carry = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), carry)
    outputs = []
    for t in range(x.shape[1]):
        inputs = np.asarray(x[:, t], np.float64)
        carry, y = step(weights, carry, inputs, masks_x, masks_h)
        outputs.append(y)
    return np.stack(outputs, axis=1)
