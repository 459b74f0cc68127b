"""What is particular to locked dropout: one mask for all steps of a sequence."""

import pytest

import jaxdrop
from decisions import assert_shared

DECISIONS = {  # the shape of the data, one entry for each decision, and knobs
    "locked": ((40, 7, 60), (40, 1, 60), {}),
    "locked, time first": ((7, 40, 60), (1, 40, 60), {"time_axis": 0}),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_what_shares_a_decision_and_what_does_not(name, key):
    shape, decisions, knobs = DECISIONS[name]
    assert_shared(jaxdrop.locked_dropout, key, shape, decisions, **knobs)
