"""The methods that are compared, with their usual strengths and those of a sweep."""

from dataclasses import replace

from flax import nnx

import jaxdrop
from comparison.method import Method
from jaxdrop import schedules

_RATES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65)
_DECAYS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_L2 = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
_MIXUP = (0.05, 0.1, 0.2, 0.4, 1.0, 2.0)
_NORMS = (0.7, 1.0, 1.5, 2.0, 3.0, 4.0)
GRIDS = {
    "rate": _RATES,
    "l2": _L2,
    "weight_decay": _DECAYS,
    "max_norm": _NORMS,
    "mixup": _MIXUP,
    "consistency": (0.1, 0.3, 1.0, 3.0, 10.0),
}
"""What is tried of one field while the others of a method stay as they are."""

_DROPOUT = Method(name="dropout", noise=jaxdrop.nnx.Dropout, grid={"rate": _RATES})

METHODS = (
    Method(name="none"),
    _DROPOUT,
    Method(
        name="Gaussian dropout",
        noise=jaxdrop.nnx.GaussianDropout,
        grid={"rate": _RATES},
    ),
    Method(
        name="DropConnect", drop_connect=True, rates=(0.2, 0.5), grid={"rate": _RATES}
    ),
    Method(  # as self-normalizing networks want it
        name="alpha dropout + SELU",
        noise=jaxdrop.nnx.AlphaDropout,
        rates=(0.05, 0.05),
        standardize=True,
        activation=nnx.selu,
        kernel_init=nnx.initializers.lecun_normal(),
        grid={"rate": (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)},
    ),
    Method(name="L2 penalty", l2=3e-4, grid={"l2": _L2}),
    Method(name="weight decay", weight_decay=1.0, grid={"weight_decay": _DECAYS}),
    replace(
        _DROPOUT,
        name="dropout + max-norm",
        max_norm=1.5,
        grid={"rate": (0.2, 0.35, 0.5), "max_norm": (1.0, 2.0)},
    ),
    Method(
        name="label smoothing",
        label_smoothing=0.1,
        grid={"label_smoothing": (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)},
    ),
    replace(
        _DROPOUT,
        name="dropout + weight decay",
        weight_decay=0.3,
        grid={"rate": (0.2, 0.35, 0.5), "weight_decay": (0.1, 1.0)},
    ),
)
"""What is compared by default."""

FURTHER_METHODS = (
    Method(
        name="concrete dropout",
        learned_rates=1e-4,
        grid={"learned_rates": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01)},
    ),
    Method(name="L1", l1=0.01, grid={"l1": (1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2)}),
    Method(
        name="elastic net",
        l1=0.01,
        l2=1e-4,
        grid={"l1": (3e-3, 0.01, 0.03), "l2": (1e-4, 1e-3)},
    ),
    Method(
        name="group lasso",
        group_lasso=0.01,
        grid={"group_lasso": (0.003, 0.01, 0.03, 0.1, 0.2, 0.3)},
    ),
    Method(
        name="orthogonal",
        orthogonal=1e-3,
        grid={"orthogonal": (1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0)},
    ),
    Method(name="max-norm", max_norm=1.5, grid={"max_norm": _NORMS}),
    replace(
        _DROPOUT,
        name="dropout + L2",
        l2=1e-4,
        grid={"rate": (0.2, 0.35, 0.5), "l2": (1e-5, 1e-4)},
    ),
    Method(
        name="confidence penalty",
        confidence=0.1,
        grid={"confidence": (0.03, 0.1, 0.2, 0.4, 0.7, 1.0)},
    ),
    Method(name="mixup", mixup=0.2, grid={"mixup": _MIXUP}),
    replace(
        _DROPOUT,
        name="mixup + dropout",
        mixup=0.2,
        grid={"rate": (0.1, 0.2, 0.35), "mixup": (0.1, 0.4)},
    ),
    Method(
        name="input noise",
        input_noise=0.3,
        grid={"input_noise": (0.03, 0.1, 0.2, 0.4, 0.7, 1.0)},
    ),
    replace(
        _DROPOUT,
        name="R-Drop",
        consistency=1.0,
        grid={"rate": (0.2, 0.35, 0.5), "consistency": (0.3, 2.0)},
    ),
    replace(
        _DROPOUT,
        name="early dropout",
        schedule=lambda rate, num_steps: schedules.early(rate, cutoff=num_steps // 2),
        quiet=True,
    ),
    replace(
        _DROPOUT,
        name="curriculum dropout",
        schedule=lambda rate, num_steps: schedules.curriculum(
            rate, num_steps=num_steps
        ),
    ),
    Method(name="early stopping", patience=10),
)
"""What a study of strengths, or ``--methods``, adds."""

ALL_METHODS = METHODS + FURTHER_METHODS
