"""The kernels of GPUs, interpreted: the exported mask, and the formula."""

import pytest
from attention import kernels


@pytest.mark.parametrize("platform, call", kernels.calls_of("gpu"))
def test_outputs_and_gradients_are_the_formulas(interpreted, key, platform, call):
    interpreted(platform)
    kernels.assert_outputs_and_gradients_are_the_formulas(key, call)


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["gpu"])
@pytest.mark.parametrize("features", [64, 80, 96, 128, 256])
def test_heads_of_any_usual_size_in_bfloat16(interpreted, key, platform, features):
    interpreted(platform)
    kernels.assert_heads_in_bfloat16_are_the_formulas(key, features)


@pytest.mark.parametrize(
    "platform, broadcast_dims, light", kernels.shared_axes_of("gpu")
)
def test_the_mask_is_the_exported_one_bit_for_bit(
    interpreted, key, platform, broadcast_dims, light
):
    interpreted(platform)
    kernels.assert_mask_is_the_exported_one(key, broadcast_dims, light)


@pytest.mark.parametrize("platform", ["gpu"])
def test_a_large_bias_does_not_overflow_beyond_the_last_query(
    interpreted, key, platform
):
    interpreted(platform)
    kernels.assert_a_large_bias_does_not_overflow(key)
