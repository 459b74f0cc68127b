"""Programs that leave the process: exported with a key argument and any batch."""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest

import jaxdrop
from chance import normal
from family import RELATIVES, for_the_family, for_the_relatives


def symbolic(*shape):
    """An array of floats with any number of examples."""
    sizes = ", ".join(map(str, ("batch", *shape[1:])))
    return jax.ShapeDtypeStruct(jax.export.symbolic_shape(sizes), jnp.float32)


def exported(function, key, x):
    return jax.export.export(jax.jit(function))(jax.eval_shape(lambda: key), x)


def assert_round_trip(function, key, shape, batches=(1, 7), tolerance=0.0):
    """For any batch the program that was read back gives the same bits."""
    restored = jax.export.deserialize(
        exported(function, key, symbolic(*shape)).serialize()
    )
    run = jax.jit(function)
    for batch in batches:
        data = normal(batch, *shape[1:], seed=1)
        expected = run(key, data)
        chex.assert_trees_all_close(
            restored.call(key, data), expected, rtol=tolerance, atol=tolerance
        )


@for_the_family
def test_a_symbolic_batch_round_trips(row, key):
    assert_round_trip(
        functools.partial(row.draw, rate=0.4, **row.knobs), key, row.shape
    )


@for_the_relatives
def test_a_symbolic_batch_of_other_data_round_trips(call, key):
    if not call.of_batch:
        pytest.skip("how many are kept is known before tracing")
    tolerance = 0 if call.to_the_bit else 1e-6
    assert_round_trip(call.function, key, call.shape, (7,), tolerance)


@pytest.mark.slow
def test_attention_to_a_symbolic_batch_trains_on_one_device(key, monkeypatch):
    """Its gradients too, and whatever the plan makes of the devices."""
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    attend = RELATIVES["dot_product_attention"].function
    slope = jax.grad(lambda x, key: jnp.sin(attend(key, x)).sum())
    of_sums = 2e-5  # XLA may sum in another order
    assert_round_trip(lambda key, x: slope(x, key), key, (3, 6, 2, 4), (7,), of_sums)


HALF = {"rate": 0.5}
LONG = jnp.ones((9, 2, 4))
UNKNOWN = [
    (
        lambda key, x: jaxdrop.subset_stochastic_depth(key, jnp.sin, x, **HALF),
        r"batch_axis.*symbolic batch; export with a number, or use jaxdrop\.stochastic",
    ),
    (
        lambda key, x: jaxdrop.token_dropout(key, x, token_axis=0, **HALF),
        r"token_axis.*symbolic batch; export with a number, or use jaxdrop\.dropout",
    ),
    (
        lambda key, x: jaxdrop.dot_product_attention(key, x, LONG, LONG, **HALF),
        r"only the batch of query may be symbolic.*\(1, batch, 2, 4\); export with",
    ),
    (
        lambda key, x: jaxdrop.dot_product_attention(
            key, *(x[..., None],) * 3, implementation="pallas", **HALF
        ),
        "does not take a symbolic batch; use the default",
    ),
    (
        lambda key, x: jaxdrop.dot_product_attention(key, LONG, x, x, **HALF),
        r"only the batch of key_ may be symbolic.*\(1, batch, 2, 4\); export with",
    ),
]


@pytest.mark.whole
@pytest.mark.parametrize("function, message", UNKNOWN, ids=[m for _, m in UNKNOWN])
def test_what_has_to_be_known_is_named(function, message, key):
    """With what can be done about it, before JAX says that it is inconclusive."""
    with pytest.raises(ValueError, match=message):
        exported(function, key, symbolic(9, 2, 4))


def test_in_evaluation_nothing_has_to_be_known(key):
    assert_round_trip(
        lambda key, x: jaxdrop.subset_stochastic_depth(
            None, jnp.sin, x, rate=0.5, deterministic=True
        ),
        key,
        (4, 5),
    )
