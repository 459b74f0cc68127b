"""Tests of rates with stated power: a rate that is wrong by 0.1 % is found.

A rate of 0.5 instead of 0.4995 differs by a thousandth. With ``DRAWS`` draws a binomial
test at the level ``LEVEL`` finds that with the probability that is computed here, at
least 0.99; the same test has to find it for every technique and every generator that
is made to draw at the wrong rate.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxdrop
from chance import assert_count, assert_uncorrelated
from family import ROWS
from jaxdrop import keys, masks, prng
from jaxdrop._sites import traits_of

RATE, WRONG = 0.5, 0.4995
LEVEL, POWER = 1e-6, 0.99
DRAWS = 53_000_000
PER_KEY = 2**20
pytestmark = pytest.mark.usefixtures("optimized")  # it draws more than it compiles

GENERATORS = {
    "threefry": lambda key: key,
    "fused": prng.fuse,
    "light": prng.light,
    "rbg": lambda key: jax.random.key(1, impl="rbg"),
    "unsafe_rbg": lambda key: jax.random.key(1, impl="unsafe_rbg"),
}
of_generators = pytest.mark.parametrize("generator", GENERATORS)

NOT_COUNTED = {
    "drop_head": "one head is always kept, so that its rate is another one",
}
ENTRYWISE = {"drop_block": {"block_size": 1}}
"""Knobs with which noise drops each entry by a draw of its own."""
BY_FUNCTION = {row.function.__name__: row for row in reversed(ROWS.values())}
COUNTED = [
    name
    for name in BY_FUNCTION
    if traits_of(f"jaxdrop.{name}").draws == "mask" or name in ENTRYWISE
    if name not in NOT_COUNTED
]


def least_number_of_draws():
    """How many draws find the wrong rate, from the normal approximation."""
    quantiles = stats.norm.isf(LEVEL / 2), stats.norm.isf(1 - POWER)
    spreads = (np.sqrt(r * (1 - r)) for r in (RATE, WRONG))
    total = sum(q * s for q, s in zip(quantiles, spreads, strict=True))
    return (total / (RATE - WRONG)) ** 2


def test_the_number_of_draws_has_the_stated_power():
    assert pytest.approx(WRONG) == 0.999 * RATE
    assert least_number_of_draws() <= DRAWS
    right, wrong = (stats.binom(DRAWS, rate) for rate in (RATE, WRONG))
    low, high = right.ppf(LEVEL / 2), right.isf(LEVEL / 2)
    assert 1 - (wrong.cdf(high) - wrong.cdf(low)) >= POWER


def dropped(draw, key, rate):
    """How many of ``DRAWS`` entries are dropped at a rate, and of how many."""
    counts = jax.jit(lambda key: jnp.sum(draw(key, jnp.float32(rate)), dtype=jnp.int32))
    number = -(-DRAWS // PER_KEY)
    each = (int(counts(jax.random.fold_in(key, i))) for i in range(number))
    return sum(each), number * PER_KEY


def assert_power(draw, key):
    """The rate is right, and a rate that is wrong by 0.1 % would be found."""
    assert_count(*dropped(draw, key, RATE), RATE, p_value=LEVEL)
    with pytest.raises(AssertionError, match=r"not 0\.5"):
        assert_count(*dropped(draw, key, WRONG), RATE, p_value=LEVEL)


@pytest.mark.slow
@pytest.mark.cell
@of_generators
def test_the_rate_of_every_generator(key, generator):
    draw = lambda key, rate: ~masks.bernoulli(key, (PER_KEY,), rate=rate)
    assert_power(draw, GENERATORS[generator](key))


def of_technique(name):
    """Which entries a technique drops."""
    row = BY_FUNCTION[name]
    x = jnp.full((PER_KEY, *(1,) * (len(row.shape) - 1)), 2.0)  # a draw for each entry
    knobs = ENTRYWISE.get(name, row.knobs)
    function = row.draw
    if name == "embedding_dropout":
        x = jnp.reshape(x, (1, PER_KEY, 1))
        ids = jnp.arange(PER_KEY, dtype=jnp.int32)[None]
        function = lambda key, x, **rate: jaxdrop.embedding_dropout(key, x, ids, **rate)

    def draw(key, rate):
        y = function(key, x, rate=rate, **knobs)
        if "alpha_dropout" in name:
            return y < 0
        if name == "shake_drop":
            return y != x
        return y == 0

    return draw


def test_what_is_not_counted_is_a_technique():
    assert {*NOT_COUNTED, *ENTRYWISE} < {*BY_FUNCTION}


@pytest.mark.parametrize("name", COUNTED)
def test_entries_are_dropped_as_by_draws_of_their_own(key, name):
    """Otherwise the power would be computed from more draws than there are."""
    share = np.asarray(of_technique(name)(key, jnp.float32(RATE))).mean()
    assert abs(share - RATE) < 6 * (RATE * (1 - RATE) / PER_KEY) ** 0.5


@pytest.mark.slow
@pytest.mark.cell
@pytest.mark.parametrize("name", COUNTED)
def test_the_rate_of_every_technique(key, name):
    assert_power(of_technique(name), key)


# Pairs of draws that should have nothing to do with each other, a million of each.


def pairs(key):
    """Masks as drawn at other places of a program, by what tells the places apart."""
    shape = (2**10, 2**10)
    draw = jax.jit(lambda key: masks.bernoulli(key, shape, rate=0.3))
    whole = draw(key)
    site = functools.partial(keys.site, key)
    heads = masks.bernoulli(key, (64, 8, 64, 64), rate=0.3)
    return {
        "sites": (draw(site("a")), draw(site("b"))),
        "sites of one name": (
            draw(site("a", index=0)),
            draw(site("a", index=1)),
        ),
        "steps": (draw(site("a", step=1)), draw(site("a", step=2))),
        "folds": tuple(draw(jax.random.fold_in(key, i)) for i in range(2)),
        "splits": tuple(draw(k) for k in jax.random.split(key)),
        "parent and child": (whole, draw(jax.random.fold_in(key, 0))),
        "seeds": (draw(seeded(key, 0)), draw(seeded(key, 1))),
        "examples": (whole[:-1], whole[1:]),
        "neighbours": (whole[:, :-1], whole[:, 1:]),
        "diagonals": (whole[:-1, :-1], whole[1:, 1:]),
        "halves": (whole[:512], whole[512:]),
        "heads": (heads[:, :-1], heads[:, 1:]),
        "queries": (heads[:, :, :-1], heads[:, :, 1:]),
        "shards": shards(key, shape),
    }


def seeded(key, seed):
    """A key of the generator of another, from a seed."""
    return jax.random.key(seed, impl=jax.random.key_impl(key))


def shards(key, shape):
    """The masks of two devices, in ``shard_map``."""
    spec = jax.sharding.PartitionSpec
    mesh = jax.make_mesh((8,), ("data",))

    def local():
        mine = keys.shard(key, "data")
        return masks.bernoulli(mine, (shape[0] // 8, shape[1]), rate=0.3)

    both = jax.shard_map(
        local, mesh=mesh, in_specs=(), out_specs=spec("data"), check_vma=False
    )
    whole = np.asarray(jax.jit(both)())
    return whole[: shape[0] // 2], whole[shape[0] // 2 :]


@pytest.mark.parametrize("generator", ["threefry", "light"])
def test_draws_at_other_places_are_uncorrelated(key, generator):
    for place, (a, b) in pairs(GENERATORS[generator](key)).items():
        try:
            assert_uncorrelated(a, b)
        except AssertionError as error:
            raise AssertionError(f"{place}: {error}") from None


def test_a_correlation_of_one_percent_is_found(key):
    """Of a million pairs: the test above has power 0.99 at five standard errors."""
    a, b, copied = (
        masks.bernoulli(jax.random.fold_in(key, i), (2**20,), rate=rate)
        for i, rate in enumerate((0.3, 0.3, 0.99))
    )
    assert_uncorrelated(a, b)
    with pytest.raises(AssertionError, match="correlated"):
        assert_uncorrelated(a, jnp.where(copied, a, b))
