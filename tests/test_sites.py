"""The named cores of techniques, and the traits that each declares."""

import inspect

import jax
import jax.numpy as jnp
import pytest

import jaxdrop
from family import ROWS
from jaxdrop._sites import _DECLARED, Traits, site, traits_of

DRAWN_BY_OTHERS = {"multi_sample"}  # it calls a function with one key after another
DRAWING = sorted(
    name
    for name, value in vars(jaxdrop).items()
    if inspect.isfunction(value)
    and "key" in inspect.signature(value).parameters
    and name not in DRAWN_BY_OTHERS
)
ON_ACTIVATIONS = ("entries", "regions")


@pytest.mark.parametrize("name", DRAWING)
def test_every_technique_declares_its_traits(name):
    assert traits_of(f"jaxdrop.{name}").draws in ("mask", "noise")
    assert f"jaxdrop.{name}" in _DECLARED


def test_traits_cannot_be_left_out():
    with pytest.raises(TypeError, match=r"draws.*acts_on"):
        site("jaxdrop.another")


def test_an_unknown_core_is_taken_for_noise():
    assert traits_of("jaxdrop.unknown") == Traits("noise", "bits")


def test_only_noise_on_activations_meets_batch_norm_or_selu():
    for name, traits in _DECLARED.items():
        if traits.acts_on not in ON_ACTIVATIONS:
            assert not traits.adds_variance and not traits.breaks_selu, name


@pytest.mark.parametrize(
    "row", [row for row in ROWS.values() if row.module], ids=lambda row: row.module
)
def test_a_mask_that_is_declared_is_drawn_with_the_keep_probability(row, key):
    """A core that draws a mask compares bits with its argument ``keep``."""
    traits = traits_of(f"jaxdrop.{row.function.__name__}")
    x = jnp.ones(row.shape)
    program = str(jax.make_jaxpr(lambda rate: row(key, x, rate))(0.5))
    called = f"name=jaxdrop.{row.function.__name__}"
    assert called in program
    if traits.draws == "mask":
        assert " lt " in program.split(called)[1]
