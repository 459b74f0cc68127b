"""What other libraries call the things that are here, for errors that help."""

from collections.abc import Collection, Iterable
from types import ModuleType

_BY_OTHERS = {  # lower case, without underscores: (function, module of NNX and Linen)
    "activityregularization": ("penalties.activity_l2", ""),
    "brier": ("metrics.brier_score", ""),
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
    "ece": ("metrics.expected_calibration_error", ""),
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
    "multiheadattention": ("dot_product_attention", "attention_fn"),
    "nll": ("metrics.negative_log_likelihood", ""),
    "patchdropout": ("token_dropout", "TokenDropout"),
    "randomerasing": ("inputs.random_erasing", ""),
    "rdrop": ("penalties.consistency", ""),
    "recurrentdropout": ("zoneout", "RecurrentDropoutLSTMCell"),
    "rnndropout": ("locked_dropout", "VariationalCell"),
    "scaleddotproductattention": ("dot_product_attention", "attention_fn"),
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

_RATE = "the probability of dropping is rate="
_KEYWORDS = {  # of others: (ours, or "" where none is needed, and a sentence)
    "drop_prob": ("rate", _RATE),
    "drop_rate": ("rate", _RATE),
    "dropout_rate": ("rate", _RATE),
    "inference": ("deterministic", "pass deterministic=, True in evaluation"),
    "inplace": ("", "arrays are never changed in place, leave it out"),
    "keep_prob": ("rate", f"{_RATE}, which is 1 - keep_prob"),
    "keep_rate": ("rate", f"{_RATE}, which is 1 - keep_rate"),
    "mode": ("batch_axis", "pass batch_axis=, None for one draw for the whole batch"),
    "n_bins": ("num_bins", "pass num_bins="),
    "n_samples": ("num_samples", "pass num_samples="),
    "noise_shape": (
        "broadcast_dims",
        "pass broadcast_dims=, the axes along which one draw is shared",
    ),
    "p": ("rate", _RATE),
    "prob": ("rate", _RATE),
    "rng": ("key", "a key is the first argument, without a name"),
    "sample_weight": ("weights", "pass weights="),
    "scale_by_keep": (
        "scale",
        "pass scale=, of StochasticDepth, which is True by default",
    ),
    "seed": ("key", "a key is the first argument, without a name"),
    "train": ("deterministic", "pass deterministic=, False in training"),
    "training": ("deterministic", "pass deterministic=, False in training"),
}


def missing_name(name: str, /, *, package: str, offered: Iterable[str]) -> str:
    """What an ``AttributeError`` says of a name that a package does not have.

    Args:
      name: the name that was looked up.
      package: ``"jaxdrop"``, ``"jaxdrop.nnx"`` or ``"jaxdrop.linen"``.
      offered: the names that it has, and those of its namespaces with their own in
        front.

    Returns:
      A sentence, and another one if the name is known from elsewhere.
    """
    message = f"module {package!r} has no attribute {name!r}"
    found = _find(name, package, offered)
    return f"{message}. {name} is {found}." if found else message


def _find(name: str, package: str, offered: Iterable[str]) -> str:
    """The place of a name that other libraries or another package use, or nothing."""
    plain = _plain(name)
    inner = (other for other in offered if _plain(other.rpartition(".")[2]) == plain)
    alike = next(inner, "")
    function, module = _BY_OTHERS.get(plain, ("", ""))
    modules = {**_IN_LINEN, **dict.fromkeys(_IN_LINEN.values(), "")}
    if package == "jaxdrop.linen":
        module = modules.get(name) or modules.get(module) or module
    elif package == "jaxdrop.nnx" and name in _IN_LINEN.values():
        module = next(ours for ours, theirs in _IN_LINEN.items() if theirs == name)
    if package == "jaxdrop":
        found = function or alike
        has_modules = bool(module) if function else bool(alike) and "." not in alike
        modules_too = ", and modules are in jaxdrop.nnx and jaxdrop.linen"
        is_class = has_modules and name != name.lower()
        return f"jaxdrop.{found}{modules_too * is_class}" if found else ""
    if alike or module:
        return f"{package}.{alike or module}"
    return f"jaxdrop.{function}" if function else ""


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def described(room: ModuleType, names: Iterable[str] = (), /) -> str:
    """A list of names that a file exports, by default all, with their first lines."""
    lines = [
        f"- ``{name}``: {getattr(room, name).__doc__.splitlines()[0]}"
        for name in names or room.__all__
    ]
    return "\n".join(line.replace(" as a module:", ",") for line in lines) + "\n"


def check_keywords(given: Iterable[str], known: Collection[str], /) -> None:
    """Raises ``TypeError`` for a keyword of another library, and names ours.

    Args:
      given: the keywords of a call.
      known: those of the module's constructor.
    """
    if hint := keyword_hint(given, known):
        raise TypeError(hint)


def keyword_hint(given: Iterable[str], known: Collection[str], /) -> str:
    """A sentence about the first keyword of another library, or an empty string.

    Args:
      given: the keywords of a call.
      known: the names of the arguments, one of which takes the place of that keyword.
    """
    for name in given:
        ours, sentence = _KEYWORDS.get(name, ("", ""))
        if sentence and name not in known and (not ours or ours in known):
            return f"{name!r} is not an argument: {sentence}."
    return ""
