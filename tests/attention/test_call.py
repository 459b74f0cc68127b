"""The facts of a call of attention: shapes of weights and masks, and precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop._attention._call import Call, wide_dtype
from jaxdrop._attention._dispatch import _in_loops
from jaxdrop.prng._bits import counter_hash

SHAPES = {"query": (2, 5, 6, 8), "key": (2, 7, 3, 8)}


def call_of(**facts):
    given = {"is_causal": False, "window": None, "block": (None, None)}
    given |= {"shared": (False,) * 4, "hash": counter_hash(jax.random.key(0))}
    given |= {"precision": None, "devices": 1, "in_kernels": False}
    given |= {"mosaic_gpu": False}
    return Call(**(given | facts))


def test_weights_have_the_heads_of_queries_and_the_length_of_keys():
    assert call_of().weights(SHAPES) == (2, 6, 5, 7)
    assert call_of().drawn(SHAPES) == (2, 6, 5, 7)
    assert call_of(shared=(True, False, True, False)).drawn(SHAPES) == (1, 6, 1, 7)


def test_a_plan_has_the_facts_of_its_call():
    call = call_of(is_causal=True, block=(2, 3), shared=(False, True, False, False))
    operands = {name: jnp.zeros(shape) for name, shape in SHAPES.items()}
    plan = call.plan(operands, "cpu")
    assert (plan.batch, plan.key_heads, plan.group) == (2, 3, 2)
    assert (plan.queries, plan.keys, plan.is_causal) == (5, 7, True)
    assert plan.drawn == (2, 1, 5, 7) and plan.tile == (2, 3)


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu", None])
def test_a_mask_is_traced_for_the_platform_alone_where_it_is_known(platform):
    operands = {name: jnp.zeros(shape) for name, shape in SHAPES.items()}
    operands |= {"value": operands["key"], "keep": jnp.float32(0.5)}
    operands |= {"words": jnp.zeros(2, jnp.uint32), "scale": jnp.float32(1)}
    run = lambda *arrays: _in_loops(
        call_of(), platform, tuple(operands), (), "attend", *arrays
    )
    program = str(jax.make_jaxpr(run)(*operands.values()))
    assert ("platform_index" in program) == (platform is None)
    assert ("inlineable" in program) == (platform in ("cpu", None))


def test_products_have_the_precision_at_the_time_of_the_call():
    product = lambda x: str(jax.make_jaxpr(lambda x: x @ x)(x))
    x = jnp.ones((2, 2))
    with call_of(precision="highest").precise():
        assert "HIGHEST" in product(x)
    with jax.default_matmul_precision("highest"), call_of().precise():
        assert "HIGHEST" not in product(x)


@pytest.mark.whole
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_only_double_precision_is_wider_than_single(dtype):
    wide = np.float64 if dtype == "float64" else np.float32
    assert wide_dtype(np.dtype(jnp.dtype(dtype))) == wide


def test_calls_are_values_by_which_programs_are_found():
    assert call_of(window=(3, 0)) == call_of(window=(3, 0))
    assert hash(call_of(window=(3, 0))) == hash(call_of(window=(3, 0)))
    assert call_of(window=(3, 0)) != call_of(window=(4, 0))
