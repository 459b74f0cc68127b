"""A network with dropout, and the mesh that it is trained on.

The network knows nothing of devices. Where its arrays lie is said once, by ``LAYOUT``
and ``BATCH``, and XLA does the rest: it adds the exchange between devices where one is
needed. Dropout needs none, and one key serves all devices of all processes.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from tqdm import tqdm

import jaxdrop
from data import Images
from parallel.checkpoints import Saving, load, save

PIXELS, UNITS, CLASSES = 64, 256, 10
RATES = {"input": 0.2, "hidden": 0.5}
BATCH_SIZE = 64
LEARNING_RATE, MOMENTUM = 0.1, 0.9
OPTIMIZER = optax.sgd(LEARNING_RATE, momentum=MOMENTUM)

# Rows of a batch are spread along "data", units and their weights along "model".
BATCH = P("data")
LAYOUT = {
    "hidden": {"kernel": P(None, "model"), "bias": P("model")},
    "output": {"kernel": P("model"), "bias": P()},
}
SITES = {  # what is dropped: its shape and where it lies
    "input": ((BATCH_SIZE, PIXELS), BATCH),
    "hidden": ((BATCH_SIZE, UNITS), P("data", "model")),
}

Params = dict[str, dict[str, Array]]


class LayoutError(ValueError):
    """The devices cannot be arranged as asked; the message says why."""


def make_mesh(model_shards: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Arranges devices, those of a process next to each other.

    Args:
      model_shards: over how many devices units are spread; over the others, rows.
      devices: those to use; by default all devices of all processes.

    Returns:
      A mesh with the axes ``data`` and ``model``.

    Raises:
      LayoutError: if the devices cannot be arranged so.
    """
    count = len(devices or jax.devices())
    if (
        UNITS % model_shards
        or count % model_shards
        or BATCH_SIZE % (count // model_shards)
    ):
        raise LayoutError(
            f"{count} devices cannot hold {BATCH_SIZE} rows of {UNITS} units in "
            f"{model_shards} model shards: the shards must divide the devices and the "
            "units, and devices / shards must divide the rows."
        )
    return jax.make_mesh(
        (count // model_shards, model_shards),
        ("data", "model"),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=devices,
    )


def place(mesh: Mesh, array: np.ndarray, spec: P) -> Array:
    """A global array of which this process makes only what its devices hold."""
    sharding = NamedSharding(mesh, spec)
    return jax.make_array_from_callback(array.shape, sharding, lambda at: array[at])


def gathered(mesh: Mesh, tree: Any) -> Any:
    """Global arrays as NumPy arrays, whole in every process."""
    whole = jax.jit(lambda tree: tree, out_shardings=NamedSharding(mesh, P()))(tree)
    return jax.tree.map(np.asarray, whole)


def initialize(mesh: Mesh, seed: int) -> Params:
    """Parameters that do not depend on the mesh."""
    draw = np.random.default_rng(seed)
    sizes = {"hidden": (PIXELS, UNITS), "output": (UNITS, CLASSES)}
    params = {}
    for name, (inputs, outputs) in sizes.items():
        kernel = draw.normal(scale=inputs**-0.5, size=(inputs, outputs))
        arrays = {"kernel": np.float32(kernel), "bias": np.zeros(outputs, np.float32)}
        params[name] = {k: place(mesh, a, LAYOUT[name][k]) for k, a in arrays.items()}
    return params


def drop(site: str, key: Array, step: Any, x: Array, evaluate: bool = False) -> Array:
    """Dropout at a site of the network: its key is an address."""
    key = jaxdrop.keys.site(key, site, step=step)
    return jaxdrop.dropout(key, x, rate=RATES[site], deterministic=evaluate)


def logits(params: Params, x: Array, key: Array, step: Any, evaluate: bool) -> Array:
    x = drop("input", key, step, x, evaluate)
    h = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    h = drop("hidden", key, step, h, evaluate)
    return h @ params["output"]["kernel"] + params["output"]["bias"]


@jax.jit
def train_step(
    params: Params, state: Any, x: Array, y: Array, key: Array, step: Array
) -> tuple[Params, Any, Array]:
    def loss_of(params: Params) -> Array:
        outputs = logits(params, x, key, step, False)
        return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()

    loss, grads = jax.value_and_grad(loss_of)(params)
    updates, state = OPTIMIZER.update(grads, state, params)
    return optax.apply_updates(params, updates), state, loss


def settings(mesh: Mesh, key: Array, seed: int) -> dict[str, Any]:
    """What the bits of a run follow from, other than the number of its steps."""
    return {
        "seed": seed,
        "generator": str(jax.random.key_impl(key)),
        "partitionable keys": jax.config.jax_threefry_partitionable,
        "number of processes": jax.process_count(),
        "mesh": dict(mesh.shape),
        "device": mesh.devices.flat[0].device_kind,
        "rows of a batch": BATCH_SIZE,
        "units": UNITS,
        "rates": RATES,
        "learning rate": LEARNING_RATE,
        "momentum": MOMENTUM,
        "fewer optimizations": jax.config.read("jax_disable_most_optimizations"),
        "version of JAX": jax.__version__,
        "version of jaxdrop": jaxdrop.__version__,
    }


def train(
    mesh: Mesh,
    images: Images,
    *,
    seed: int,
    steps: int,
    saving: Saving | None = None,
) -> tuple[Params, np.ndarray]:
    """Trains on a mesh; every process calls this with the same arguments.

    Args:
      mesh: see :func:`make_mesh`.
      images: the data; each process reads the rows that its devices hold.
      seed: of parameters, batches and masks.
      steps: how many.
      saving: where checkpoints are written, and how often. The run continues from the
        one that is there, and ends with the bits of a run that was never interrupted:
        batches and masks follow from seed and step.

    Returns:
      The parameters, spread over the mesh, and ``(steps,)`` losses.
    """
    params, key = initialize(mesh, seed), jax.random.key(seed)
    state, losses = OPTIMIZER.init(params), []
    of_run = settings(mesh, key, seed)
    if saving:
        (params, state), losses = load(
            saving.path, (params, state), settings=of_run, steps=steps
        )
    quiet, first = True if jax.process_index() else None, len(losses)
    bar = {"desc": "training", "initial": first, "total": steps, "disable": quiet}
    for step in tqdm(range(first, steps), **bar):
        draw = np.random.default_rng((seed, step))
        x, y = images.train.take(draw.choice(len(images.train.y), size=BATCH_SIZE))
        batch = place(mesh, x, BATCH), place(mesh, y, BATCH)
        params, state, loss = train_step(params, state, *batch, key, jnp.uint32(step))
        losses.append(float(loss))  # waits, so that no process runs ahead
        if saving and (step + 1) % saving.every == 0:
            save(saving.path, gathered(mesh, (params, state)), losses, of_run)
    return params, np.array(losses)


def error_of(mesh: Mesh, params: Params, images: Images) -> float:
    """The share of test images that are told wrongly."""
    x = place(mesh, images.test.x, P())
    evaluate = jax.jit(logits, static_argnames="evaluate")
    outputs = evaluate(params, x, jax.random.key(0), 0, evaluate=True)
    return float((gathered(mesh, outputs).argmax(-1) != images.test.y).mean())


def drawn_masks(mesh: Mesh, *, seed: int, step: int) -> dict[str, Array]:
    """What the network keeps at each site in a step, where its devices have it."""
    key = jax.random.key(seed)
    drawn = {}
    for site, (shape, spec) in SITES.items():
        ones = place(mesh, np.ones(shape, np.float32), spec)
        dropped = jax.jit(drop, static_argnums=0)(site, key, step, ones)
        drawn[site] = dropped != 0
    return drawn
