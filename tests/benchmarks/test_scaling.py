"""The benchmark of scaling: what it measures, and what it calls flat."""

import dataclasses

import jax
import pytest
import scaling

from timing import Timing


@pytest.fixture(scope="module")
def costs():
    """Of two sizes, and of two numbers of devices."""
    by_size = {n: scaling.measure(n, 1, 1) for n in (2**14, 2**16)}
    return by_size, {1: by_size[2**16], 8: scaling.measure(2**16, 8, 1)}


def test_an_element_takes_as_much_memory_and_work_in_any_number(costs):
    for numbers in costs:
        assert scaling.verdict(numbers, "jaxdrop", "bytes").startswith("flat")
        for row in numbers.values():
            ours, flax = row["jaxdrop"], row["flax.nnx"]
            assert ours.bytes < 2 < flax.bytes  # a mask at most, against bits
    assert scaling.verdict(costs[1], "jaxdrop", "operations").startswith("flat")


def test_both_passes_are_measured():
    """The gradient is no copy of the output, which XLA would compute once."""
    args = jax.random.key(0), *scaling.data(1024, 1)
    drop = scaling.contenders()["jaxdrop"]
    y, slope = scaling.both_passes(drop)(*args)
    assert ((y == 0) == (slope == 0)).all() and (y != slope).any()


@pytest.mark.parametrize(
    "power, said", [(0, "flat"), (0.5, "grows as the power 0.50"), (-1, "falls as")]
)
def test_growth_is_told_from_flatness(costs, power, said):
    row = costs[0][2**14]["jaxdrop"]
    numbers = {
        n: {
            "jaxdrop": dataclasses.replace(
                row, time=Timing(*3 * [1e-3 * n ** (1 + power)]), elements=n
            )
        }
        for n in (2**10, 2**12, 2**18)
    }
    assert scaling.verdict(numbers, "jaxdrop", "nanoseconds").startswith(said)


def test_the_table_and_the_figure_show_every_contender(costs):
    table = scaling.table("a title", "elements", costs[0])
    assert [column.header for column in table.columns] == [
        "elements",
        *scaling.contenders(),
    ]
    assert list(table.columns[0].cells) == ["2**14", "2**16"]
    drawn = scaling.figure(*costs)
    assert [len(axes.lines) for axes in drawn.axes] == 4 * [3]
    assert 10 <= scaling.largest_exponent() <= 28
    assert scaling.rounds_for(2**10, 30) == 30 and scaling.rounds_for(2**28, 30) == 3
