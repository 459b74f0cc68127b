"""What other libraries call the things that are here, for errors that help."""

from collections.abc import Iterable
from types import ModuleType

_BY_OTHERS = {  # lower case, without underscores: (function, module of NNX and Linen)
    "channeldropout": ("spatial_dropout", "SpatialDropout"),
    "cutmix": ("inputs.cutmix", ""),
    "cutout": ("inputs.cutout", ""),
    "dropblock1d": ("drop_block with num_spatial_dims=1", "DropBlock"),
    "dropblock2d": ("drop_block", "DropBlock"),
    "dropblock3d": ("drop_block with num_spatial_dims=3", "DropBlock"),
    "dropconnect": ("drop_connect", "DropConnectLinear"),
    "droppath": ("stochastic_depth", "StochasticDepth"),
    "dropout1d": ("spatial_dropout with num_spatial_dims=1", "SpatialDropout"),
    "dropout2d": ("spatial_dropout with num_spatial_dims=2", "SpatialDropout"),
    "dropout3d": ("spatial_dropout with num_spatial_dims=3", "SpatialDropout"),
    "earlystopping": ("early_stopping.EarlyStopping", ""),
    "featuredropout": ("spatial_dropout", "SpatialDropout"),
    "gaussiannoise": ("inputs.gaussian_noise", ""),
    "hardconcrete": ("hard_concrete", "L0Linear"),
    "l0": ("hard_concrete", "L0Linear"),
    "l0regularization": ("hard_concrete", "L0Linear"),
    "l2sp": ("penalties.toward_reference", ""),
    "labelsmoothing": ("penalties.smoothed_cross_entropy", ""),
    "maxnorm": ("constraints.max_norm", ""),
    "mcdropout": ("mc.predict", "mc_apply"),
    "mixup": ("inputs.mixup", ""),
    "montecarlodropout": ("mc.predict", "mc_apply"),
    "neftune": ("inputs.embedding_noise", ""),
    "patchdropout": ("token_dropout", "TokenDropout"),
    "randomerasing": ("inputs.random_erasing", ""),
    "rdrop": ("penalties.consistency", ""),
    "recurrentdropout": ("zoneout", "RecurrentDropoutLSTMCell"),
    "rnndropout": ("locked_dropout", "VariationalCell"),
    "sparsevariationaldropout": ("variational_dense", "VariationalLinear"),
    "spatialdropout1d": ("spatial_dropout with num_spatial_dims=1", "SpatialDropout"),
    "spatialdropout2d": ("spatial_dropout with num_spatial_dims=2", "SpatialDropout"),
    "spatialdropout3d": ("spatial_dropout with num_spatial_dims=3", "SpatialDropout"),
    "temperaturescaling": ("metrics.temperature_scaling", ""),
    "unitnorm": ("constraints.unit_norm", ""),
    "variationaldropout": ("locked_dropout", "LockedDropout"),
    "weightdecaymask": ("constraints.decay_mask", ""),
    "weightdrop": ("drop_connect", "DropConnectLinear"),
    "worddropout": ("embedding_dropout", "EmbeddingDropout"),
    "zoneout": ("zoneout", "ZoneoutCell"),
}
_IN_LINEN = {
    "DropConnectLinear": "DropConnectDense",
    "L0Linear": "L0Dense",
    "VariationalLinear": "VariationalDense",
}
"""Modules that are named by the noun of their framework."""

_KEYWORDS = {
    "drop_prob": "the probability of dropping is rate=",
    "drop_rate": "the probability of dropping is rate=",
    "dropout_rate": "the probability of dropping is rate=",
    "inference": "pass deterministic=, which is True in evaluation",
    "inplace": "arrays are never changed in place, leave it out",
    "keep_prob": "pass rate=, the probability of dropping, which is 1 - keep_prob",
    "keep_rate": "pass rate=, the probability of dropping, which is 1 - keep_rate",
    "noise_shape": "pass broadcast_dims=, the axes along which one draw is shared",
    "p": "the probability of dropping is rate=",
    "prob": "the probability of dropping is rate=",
    "scale_by_keep": "pass scale=, of StochasticDepth, which is True by default",
    "train": "pass deterministic=, which is False in training",
    "training": "pass deterministic=, which is False in training",
}


def missing_name(name: str, /, *, package: str, offered: Iterable[str]) -> str:
    """What an ``AttributeError`` says of a name that a package does not have.

    Args:
      name: the name that was looked up.
      package: ``"jaxdrop"``, ``"jaxdrop.nnx"`` or ``"jaxdrop.linen"``.
      offered: the names that it has.

    Returns:
      A sentence, and another one if the name is known from elsewhere.
    """
    message = f"module {package!r} has no attribute {name!r}"
    found = _find(name, package, offered)
    return f"{message}. {name} is {found}." if found else message


def _find(name: str, package: str, offered: Iterable[str]) -> str:
    plain = _plain(name)
    public = (other for other in offered if not other.startswith("_"))
    alike = next((other for other in public if _plain(other) == plain), None)
    function, module = _BY_OTHERS.get(plain, ("", ""))
    modules = {**_IN_LINEN, **dict.fromkeys(_IN_LINEN.values(), "")}
    if package == "jaxdrop.linen":
        module = modules.get(name) or modules.get(module) or module
    elif package == "jaxdrop.nnx" and name in _IN_LINEN.values():
        module = next(ours for ours, theirs in _IN_LINEN.items() if theirs == name)
    if package == "jaxdrop":
        found = f"jaxdrop.{alike or function}" if alike or function else ""
        modules_too = ", and modules are in jaxdrop.nnx and jaxdrop.linen"
        return found + modules_too if found and name != name.lower() else found
    if alike or module:
        return f"{package}.{alike or module}"
    return f"jaxdrop.{function}" if function else ""


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def described(room: ModuleType, /) -> str:
    """A list of the classes that a file exports, each with its first line."""
    lines = [
        f"- ``{name}``: {getattr(room, name).__doc__.splitlines()[0]}"
        for name in room.__all__
    ]
    return "\n".join(line.replace(" as a module:", ",") for line in lines) + "\n"


def check_keywords(given: Iterable[str], known: Iterable[str], /) -> None:
    """Raises ``TypeError`` for a keyword of another library, and names ours.

    Args:
      given: the keywords of a call.
      known: those of the module's constructor.
    """
    known = set(known)
    for name in given:
        if name in _KEYWORDS and name not in known:
            raise TypeError(f"{name!r} is not an argument: {_KEYWORDS[name]}.")
