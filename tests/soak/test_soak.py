"""A handful of the random programs of ``python -m tests.soak``, and its alarms."""

import dataclasses

import numpy as np
import pytest

from tests.soak import memory, programs, reference, slow

SEEDS = [1, 2, 7, 20]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_program_equals_its_reference(seed):
    program = programs.draw(seed)
    assert programs.draw(seed) == program
    assert slow.failure(program, programs.run(program)) == ""


def test_a_mask_of_another_key_is_noticed():
    program = dataclasses.replace(
        programs.draw(0), shape=(3, 7), layers=(("dropout", 0.5),), place="one device"
    )
    right = slow.expected(program)
    assert slow.failure(program, right) == ""
    other = slow.expected(dataclasses.replace(program, seed=1))
    assert slow.failure(program, other)


def test_every_technique_and_place_is_drawn():
    drawn = [programs.draw(seed) for seed in range(300)]
    assert {name for p in drawn for name, _ in p.layers} == {*programs.TECHNIQUES}
    assert {p.place for p in drawn} == {*programs.PLACES}


def test_the_reference_draws_the_bits_of_the_textbook():
    """The known answers of Threefry-2x32 with twenty rounds (Salmon et al., 2011)."""
    answers = [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((2**32 - 1,) * 2, (2**32 - 1,) * 2, (0x1CB996FC, 0xBB002BE7)),
        (
            (0x13198A2E, 0x03707344),
            (0x243F6A88, 0x85A308D3),
            (0xC4923A9C, 0x483DF7A0),
        ),
    ]
    for words, counters, expected in answers:
        found = reference.threefry(words, *map(np.uint32, counters))
        assert tuple(map(int, found)) == expected


def test_memory_that_grows_is_noticed():
    watch = memory.Watch()
    watch.resident, watch.arrays = [100, 100, 100, 100], [0, 0, 0, 0]
    watch.caches = [{}, {}, {"jaxdrop.f": 1}, {"jaxdrop.f": 1}]
    assert watch.growth() == ""
    watch.resident[3] = 200
    assert "Memory grew" in watch.growth()
    watch.resident[3], watch.arrays[2] = 100, 1
    assert "1, after 0" in watch.growth()
    watch.arrays[2], watch.caches[3] = 0, {"jaxdrop.f": 2}
    assert "jaxdrop.f" in watch.growth()
    watch.look()
    assert watch.resident[-1] > 2**20
