"""The table of modules: a specimen of each public one, in both frameworks.

A new module is one row here, and every promise of ``modules/test_persistence.py`` and
``modules/test_plain_transforms.py`` is tested on it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx
from jax.typing import ArrayLike

import jaxdrop
from family import ROWS

RATE = 0.4
GAL = {"input_rate": RATE, "state_rate": RATE}
ZONES = {"state_rate": RATE, "memory_rate": RATE}
PRICES = {"weight_regularizer": 1e-3, "dropout_regularizer": 1e-2}


@dataclasses.dataclass(frozen=True, eq=False)
class Specimen:
    """A module with data to call it with.

    Attributes:
      make: the module, from keywords of its mode (``rngs`` too in NNX).
      data: the positional arguments of a call.
      draws: whether it draws in training.
      flag_at_call: whether Linen's ``deterministic`` can be given with a call.
      pickles: whether it has no function of Flax or JAX that pickle refuses.
    """

    make: Callable[..., Any]
    data: tuple[ArrayLike, ...]
    draws: bool = True
    flag_at_call: bool = True
    pickles: bool = True


def numbers(*shape: int) -> np.ndarray:
    """Data without a zero, so that what is dropped is seen."""
    return np.random.default_rng(0).uniform(1, 2, size=shape).astype(np.float32)


def droppers(room: Any) -> dict[str, Specimen]:
    """The modules that both frameworks call alike: a rate and data.

    Those that a row of the family names are called as that row is, unless given here.
    """
    rows: dict[str, tuple[tuple[ArrayLike, ...], Mapping[str, Any]]] = {
        row.module: ((numbers(*row.shape),), row.knobs)
        for row in reversed(ROWS.values())
        if row.module
    } | {
        "EmbeddingDropout": (
            (numbers(2, 6, 3), np.array([[7, 3, 7, 1, 0, 2], [2, 7, 3, 1, 5, 5]])),
            {},
        ),
        "FeatureAlphaDropout": ((numbers(4, 2, 3, 5),), {}),
        "GaussianDropout": ((numbers(6, 5),), {"broadcast_dims": (0,)}),
        "ShakeDrop": ((numbers(6, 5),), {}),
        "StochasticDepth": ((numbers(9, 5),), {}),
        "TokenDropout": ((numbers(2, 9, 3),), {"num_prefix_tokens": 1}),
    }

    def specimen(name: str, data: tuple[ArrayLike, ...], knobs: Any) -> Specimen:
        return Specimen(lambda **mode: getattr(room, name)(RATE, **knobs, **mode), data)

    return {name: specimen(name, *row) for name, row in rows.items()} | {
        "ShakeShake": Specimen(room.ShakeShake, (numbers(6, 5), -numbers(6, 5))),
        "Masksembles": Specimen(
            lambda **mode: room.Masksembles(2, 2.0), (numbers(4, 6),), draws=False
        ),
    }


def _of_nnx() -> dict[str, Specimen]:
    room, rows, sequences = jaxdrop.nnx, numbers(6, 5), numbers(2, 4, 3)
    return droppers(room) | {
        "ConcreteDropout": Specimen(
            lambda rngs, **mode: room.ConcreteDropout(
                nnx.Linear(5, 4, rngs=rngs), **PRICES, rngs=rngs, **mode
            ),
            (rows,),
        ),
        "DropConnectConv": Specimen(
            lambda **mode: room.DropConnectConv(2, 3, (3, 3), RATE, **mode),
            (numbers(2, 5, 5, 2),),
        ),
        "DropConnectLinear": Specimen(
            lambda **mode: room.DropConnectLinear(5, 4, RATE, **mode), (rows,)
        ),
        "L0Linear": Specimen(lambda **mode: room.L0Linear(5, 4, **mode), (rows,)),
        "RecurrentDropoutLSTMCell": Specimen(
            lambda rngs, **mode: nnx.RNN(
                room.RecurrentDropoutLSTMCell(3, 4, RATE, rngs=rngs, **mode)
            ),
            (sequences,),
            pickles=False,
        ),
        "SubsetStochasticDepth": Specimen(
            lambda rngs, **mode: room.SubsetStochasticDepth(
                nnx.Linear(5, 5, rngs=rngs), 0.5, rngs=rngs, **mode
            ),
            (numbers(8, 5),),
        ),
        "VariationalCell": Specimen(
            lambda rngs, **mode: nnx.RNN(
                room.VariationalCell(
                    nnx.GRUCell(3, 4, rngs=rngs), **GAL, rngs=rngs, **mode
                )
            ),
            (sequences,),
            pickles=False,
        ),
        "VariationalConv": Specimen(
            lambda **mode: room.VariationalConv(2, 3, (3, 3), **mode),
            (numbers(2, 5, 5, 2),),
        ),
        "VariationalLinear": Specimen(
            lambda **mode: room.VariationalLinear(5, 4, **mode), (rows,)
        ),
        "ZoneoutCell": Specimen(
            lambda rngs, **mode: nnx.RNN(
                room.ZoneoutCell(
                    nnx.LSTMCell(3, 4, rngs=rngs), **ZONES, rngs=rngs, **mode
                )
            ),
            (sequences,),
            pickles=False,
        ),
        "Rate": Specimen(
            lambda **mode: room.Dropout(room.Rate(jnp.float32(RATE)), **mode), (rows,)
        ),
    }


def _of_linen() -> dict[str, Specimen]:
    room, rows, sequences = jaxdrop.linen, numbers(6, 5), numbers(2, 4, 3)
    cells = {
        "RecurrentDropoutLSTMCell": lambda **mode: room.RecurrentDropoutLSTMCell(
            4, RATE, **mode
        ),
        "VariationalCell": lambda **mode: room.VariationalCell(
            nn.GRUCell(4), **GAL, **mode
        ),
        "ZoneoutCell": lambda **mode: room.ZoneoutCell(nn.LSTMCell(4), **ZONES, **mode),
    }
    layers = {
        "ConcreteDropout": lambda **mode: room.ConcreteDropout(
            nn.Dense(4), **PRICES, **mode
        ),
        "DropConnectDense": lambda **mode: room.DropConnectDense(4, RATE, **mode),
        "L0Dense": lambda **mode: room.L0Dense(4, **mode),
        "SubsetStochasticDepth": lambda **mode: room.SubsetStochasticDepth(
            nn.Dense(5), 0.5, **mode
        ),
        "VariationalDense": lambda **mode: room.VariationalDense(4, **mode),
    }
    convolutions = {
        "DropConnectConv": lambda **mode: room.DropConnectConv(3, (3, 3), RATE, **mode),
        "VariationalConv": lambda **mode: room.VariationalConv(3, (3, 3), **mode),
    }
    return (
        droppers(room)
        | {
            name: Specimen(make, (rows,), pickles=False)
            for name, make in layers.items()
        }
        | {
            name: Specimen(make, (numbers(2, 5, 5, 2),), pickles=False)
            for name, make in convolutions.items()
        }
        | {
            name: Specimen(
                lambda make=make, **mode: nn.RNN(make(**mode)),
                (sequences,),
                flag_at_call=False,
                pickles=False,
            )
            for name, make in cells.items()
        }
    )


NNX, LINEN = _of_nnx(), _of_linen()
BASES = {"DropoutModule", "StochasticModule"}  # for those who write modules
