"""The table of the dropout family: one row or more for each public function.

A new technique is one row here, and every promise of ``test_contract.py`` is tested
on it.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import jaxdrop


@dataclasses.dataclass(frozen=True)
class Row:
    """How the contract calls a function, and which promises it makes.

    Attributes:
      function: the public function; called as ``function(key, x, rate=..., **knobs)``.
      knobs: further keyword arguments.
      shape: the shape of a small input, with its batch in front.
      unbatched: knobs of the same draw for one example, for a call under vmap.
      array_rates: whether the rate may be an array.
      zeroes: whether dropped entries are 0 and the others ``x / (1 - rate)``.
      unit_rate: whether a rate of 1 is allowed.
      keeps_mean: whether the mean over keys is ``x``.
      evaluation_is_identity: whether evaluation returns ``x``.
      shakes: whether it multiplies by noise, another one backward, instead of dropping.
      held: how many bytes an audit counts for each draw: 1 of a mask, 4 of noise.
      others: its other data from the array, if it takes more than an array.
      of_complex: whether the array may be complex where its other data are real.
      module: the class in ``jaxdrop.nnx`` and ``jaxdrop.linen`` that computes it, if it
        is called with one array and is the identity in evaluation.
    """

    function: Callable[..., Any]
    knobs: Mapping[str, Any]
    shape: tuple[int, ...]
    unbatched: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    array_rates: bool = False
    zeroes: bool = True
    unit_rate: bool = True
    keeps_mean: bool = True
    evaluation_is_identity: bool = True
    shakes: bool = False
    held: int = 1
    others: Callable[[Any], tuple[Any, ...]] | None = None
    of_complex: bool = True
    module: str = ""

    def __call__(self, key, x, rate, deterministic=False):
        """Calls the function with the knobs of this row."""
        return self.draw(key, x, rate=rate, deterministic=deterministic, **self.knobs)

    @functools.cached_property
    def draw(self) -> Callable[..., Any]:
        """The function as a dropper, of a key and an array."""
        if not self.others:
            return self.function
        return lambda key, x, **knobs: self.function(key, x, *self.others(x), **knobs)

    def __hash__(self) -> int:
        return id(self)


IDS = jnp.array([4, 0, 7, 9, 2])


def zeros_like(x: Any) -> tuple[Any]:
    """An array or a tree of zeros, as other data."""
    return (jax.tree.map(jnp.zeros_like, x),)


ROWS = {
    "dropout": Row(jaxdrop.dropout, {}, (6, 5), array_rates=True, module="Dropout"),
    "dropout-shared": Row(
        jaxdrop.dropout,
        {"broadcast_dims": (-1,)},
        (6, 5),
        array_rates=True,
        module="Dropout",
    ),
    "gaussian_dropout": Row(
        jaxdrop.gaussian_dropout,
        {},
        (6, 5),
        array_rates=True,
        zeroes=False,
        unit_rate=False,
        held=4,
        module="GaussianDropout",
    ),
    "alpha_dropout": Row(
        jaxdrop.alpha_dropout,
        {},
        (6, 5),
        array_rates=True,
        zeroes=False,
        keeps_mean=False,
        module="AlphaDropout",
    ),
    "feature_alpha_dropout": Row(
        jaxdrop.feature_alpha_dropout,
        {"num_spatial_dims": 1},
        (4, 3, 5),
        zeroes=False,
        keeps_mean=False,
        module="FeatureAlphaDropout",
    ),
    "spatial_dropout": Row(
        jaxdrop.spatial_dropout,
        {},
        (4, 2, 3, 5),
        unbatched={"num_spatial_dims": 2},
        module="SpatialDropout",
    ),
    "spatial_dropout-first": Row(
        jaxdrop.spatial_dropout,
        {"channel_axis": -3, "num_spatial_dims": 2},
        (4, 5, 2, 3),
        module="SpatialDropout",
    ),
    "stochastic_depth": Row(
        jaxdrop.stochastic_depth,
        {},
        (6, 5),
        unbatched={"batch_axis": None},
        module="StochasticDepth",
    ),
    "stochastic_depth-whole": Row(
        jaxdrop.stochastic_depth, {"batch_axis": None}, (6, 5), module="StochasticDepth"
    ),
    "stochastic_depth-unscaled": Row(
        jaxdrop.stochastic_depth,
        {"scale": False},
        (6, 5),
        unbatched={"batch_axis": None},
        zeroes=False,
        keeps_mean=False,
        module="StochasticDepth",
    ),
    "shake_drop": Row(
        jaxdrop.shake_drop,
        {},
        (6, 5),
        unbatched={"batch_axis": None},
        zeroes=False,
        keeps_mean=False,
        evaluation_is_identity=False,
        shakes=True,
        held=1 + 4 + 4,
    ),
    "locked_dropout": Row(
        jaxdrop.locked_dropout, {}, (3, 4, 5), module="LockedDropout"
    ),
    "drop_connect": Row(jaxdrop.drop_connect, {}, (6, 5)),
    "drop_block": Row(
        jaxdrop.drop_block,
        {"block_size": 2},
        (3, 4, 5, 2),
        unbatched={"num_spatial_dims": 2},
        module="DropBlock",
    ),
    "drop_block-valid": Row(
        jaxdrop.drop_block,
        {"block_size": (2, 3), "seeds": "valid", "shared_channels": True},
        (3, 4, 5, 2),
        unbatched={"num_spatial_dims": 2},
        zeroes=False,
        keeps_mean=False,
        module="DropBlock",
    ),
    "embedding_dropout": Row(
        jaxdrop.embedding_dropout,
        {},
        (3, 4, 5),
        others=lambda x: (jnp.broadcast_to(IDS[: x.shape[-2]], x.shape[:-1]),),
    ),
    "mixout": Row(
        jaxdrop.mixout,
        {},
        (6, 5),
        others=zeros_like,
    ),
    "drop_head": Row(
        jaxdrop.drop_head, {}, (4, 3, 5, 2), zeroes=False, keeps_mean=False
    ),
    "zoneout": Row(
        jaxdrop.zoneout,
        {},
        (6, 5),
        zeroes=False,
        keeps_mean=False,
        evaluation_is_identity=False,
        others=zeros_like,
        of_complex=False,
    ),
}
OTHER_RELATIVES = {  # tested in files of their own: not from an array to an array
    jaxdrop.dot_product_attention: "of queries, keys and values",
    jaxdrop.drop_key: "a mask, from a shape",
    jaxdrop.concrete_dropout: "the rate is learned",
    jaxdrop.concrete_penalty: "draws nothing",
    jaxdrop.variational_dense: "a layer; the rates are learned",
    jaxdrop.variational_penalty: "draws nothing",
    jaxdrop.variational_sparsity: "draws nothing",
    jaxdrop.hard_concrete: "gates, from parameters",
    jaxdrop.hard_concrete_penalty: "draws nothing",
    jaxdrop.layer_drop: "flags for layers",
    jaxdrop.shake_shake: "mixes two branches",
    jaxdrop.masksembles: "draws nothing",
    jaxdrop.multi_sample: "runs a function",
    jaxdrop.subset_stochastic_depth: "runs a branch; the rate is static",
    jaxdrop.token_dropout: "fewer tokens; the rate is static",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A function of other data, in training, called with a key and an array alone.

    Attributes:
      function: gives an array or a tree from a key and an array.
      shape: the shape of a small input, with its batch in front.
      of_batch: whether the batch may be of any number: it is known to be of one where
        it decides how many are kept.
      has_slope: whether its output can be differentiated by the array.
      folds: whether it draws with keys that are folded of the one given, which JAX does
        not count as a use.
      to_the_bit: whether two compilations give the same bits; sums may not.
    """

    function: Callable[[Any, Any], Any]
    shape: tuple[int, ...]
    of_batch: bool = True
    has_slope: bool = True
    folds: bool = False
    to_the_bit: bool = True


def _attend(key, x, **knobs):
    return jaxdrop.dot_product_attention(
        key, x, x[:, :, :1], x[:, :, -1:], rate=0.4, **knobs
    )


def _drop_key(key, x):
    allowed = jnp.broadcast_to(jnp.tril(jnp.ones((5, 5), bool)), (x.shape[0], 2, 5, 5))
    return jaxdrop.drop_key(key, allowed.shape, rate=0.4, mask=allowed)


def _shares(x):
    """Labels: what each example has of two classes."""
    share = jnp.arange(x.shape[0]).astype(x.dtype)[:, None] / 8
    return jnp.concatenate([share, 1 - share], 1)


def _sampled(reducer):
    return lambda key, x: (
        jaxdrop.mc.predict(
            functools.partial(jaxdrop.dropout, rate=0.4),
            key,
            x,
            num_samples=4,
            reducers=reducer,
        ).stats
    )


IMAGES = (4, 9, 11, 3)
RELATIVES = {
    "dot_product_attention": Call(_attend, (3, 6, 2, 4)),
    "dot_product_attention-causal": Call(
        functools.partial(_attend, is_causal=True, block_size=8), (3, 24, 2, 4)
    ),
    "dot_product_attention-window": Call(
        lambda key, x: _attend(
            key,
            x,
            bias=x[:, :1, :, :1].swapaxes(1, 2),
            local_window_size=3,
            key_value_seq_lengths=jnp.full(x.shape[0], 9),
            broadcast_dims=(0, 1),
            block_size=(4, 4),
        ),
        (3, 24, 2, 4),
    ),
    "drop_key": Call(_drop_key, (3, 4), has_slope=False),
    "concrete_dropout": Call(
        lambda key, x: jaxdrop.concrete_dropout(key, x, jnp.float32(-1)), (6, 5)
    ),
    "variational_dense": Call(
        lambda key, x: jaxdrop.variational_dense(
            key, x, jnp.full((5, 4), 0.5), jnp.full((5, 4), -3.0)
        ),
        (6, 5),
    ),
    "hard_concrete": Call(
        lambda key, x: x * jaxdrop.hard_concrete(key, jnp.zeros(5))[None], (6, 5)
    ),
    "layer_drop": Call(
        lambda key, x: jnp.where(jaxdrop.layer_drop(key, 5, rate=0.4)[None], x, 0),
        (6, 5),
    ),
    "shake_shake": Call(lambda key, x: jaxdrop.shake_shake(key, x, -x), (6, 5)),
    "multi_sample": Call(
        lambda key, x: jaxdrop.multi_sample(
            key, lambda key: jaxdrop.dropout(key, x, rate=0.4), num_samples=3
        ),
        (6, 5),
        folds=True,
    ),
    "subset_stochastic_depth": Call(
        lambda key, x: jaxdrop.subset_stochastic_depth(key, jnp.sin, x, rate=0.4),
        (6, 5),
        of_batch=False,
    ),
    "token_dropout": Call(
        lambda key, x: jaxdrop.token_dropout(key, x, rate=0.4)[0], (3, 9, 2)
    ),
    "inputs.gaussian_noise": Call(
        lambda key, x: jaxdrop.inputs.gaussian_noise(key, x, stddev=0.3), (6, 5)
    ),
    "inputs.embedding_noise": Call(
        lambda key, x: jaxdrop.inputs.embedding_noise(key, x, alpha=5.0), (4, 5, 6)
    ),
    "inputs.cutout": Call(lambda key, x: jaxdrop.inputs.cutout(key, x, size=4), IMAGES),
    "inputs.random_erasing": Call(
        lambda key, x: jaxdrop.inputs.random_erasing(key, x, rate=0.9), IMAGES
    ),
    "inputs.mixup": Call(
        lambda key, x: jaxdrop.inputs.mixup(key, x, _shares(x), alpha=0.4), (6, 5)
    ),
    "inputs.mixup-each": Call(
        lambda key, x: jaxdrop.inputs.mixup(
            key, x, _shares(x), alpha=0.4, per_example=True
        ),
        (6, 5),
    ),
    "inputs.cutmix": Call(
        lambda key, x: jaxdrop.inputs.cutmix(key, x, _shares(x)), IMAGES
    ),
    "inputs.cutmix-each": Call(
        lambda key, x: jaxdrop.inputs.cutmix(key, x, _shares(x), per_example=True),
        IMAGES,
    ),
    "mc.moments": Call(
        _sampled(jaxdrop.mc.moments()), (6, 5), folds=True, to_the_bit=False
    ),
    "mc.categorical": Call(
        _sampled(jaxdrop.mc.categorical()), (6, 5), folds=True, to_the_bit=False
    ),
}
for_the_relatives = pytest.mark.parametrize(
    "call", RELATIVES.values(), ids=RELATIVES.keys()
)
for_the_family = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
