"""What is particular to spatial dropout: whole channels, in both layouts."""

import pytest

import jaxdrop
from decisions import assert_shared

DECISIONS = {  # the shape of the data, one entry for each decision, and knobs
    "spatial, one axis": ((40, 5, 60), (40, 1, 60), {"num_spatial_dims": 1}),
    "spatial, two axes": ((40, 3, 4, 60), (40, 1, 1, 60), {}),
    "spatial, three axes": (
        (40, 2, 3, 4, 60),
        (40, 1, 1, 1, 60),
        {"num_spatial_dims": 3},
    ),
    "spatial, channels first": ((40, 60, 3, 4), (40, 60, 1, 1), {"channel_axis": 1}),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_what_shares_a_decision_and_what_does_not(name, key):
    shape, decisions, knobs = DECISIONS[name]
    assert_shared(jaxdrop.spatial_dropout, key, shape, decisions, **knobs)
