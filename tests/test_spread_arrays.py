"""Arrays that are spread over devices, in calls of every public function.

On an explicit mesh the type of an array says how it is sharded, and inside
``jax.shard_map`` along which axes it varies. An operation whose types do not fit raises
while it is traced, so that most of this costs no compilation.
"""

import contextlib
import functools

import host_arguments as table
import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from test_host_arguments import public_functions

WITHOUT_ARRAYS = {
    *("constraints.decay_mask", "diagnostics.audit", "diagnostics.assert_active"),
    *("diagnostics.assert_inactive", "diagnostics.describe_mask", "drop_key"),
    *("early_stopping.EarlyStopping", "keys.shard", "keys.site", "layer_drop"),
    *("masks.bernoulli", "masks.blocks", "masks.exact", "masks.keep_probability"),
    *("masks.masksembles", "multi_sample", "prng.fuse", "prng.light", "prng.normal"),
    *("prng.random_bits", "prng.uniform", "schedules.curriculum"),
    *("schedules.depth_rates", "schedules.early", "schedules.late"),
    "schedules.scheduled_drop_path",
}
"""What takes keys, shapes, numbers, functions or models, and no batch."""

REFUSED = {
    ("subset_stochastic_depth", "examples"): "batch_axis 0 of x is sharded over",
    ("subset_stochastic_depth", "all axes"): "batch_axis 0 of x is sharded over",
    ("subset_stochastic_depth", "one array"): "batch_axis 0 of x is sharded over",
    ("token_dropout", "second axis"): "token_axis 1 of x is sharded over",
    # As in jnp.matmul: examples and outputs are given the same axis of the mesh.
    ("variational_dense", "all axes"): "illegally sharded result",
}
"""What a mesh cannot do, and what the error says."""

SEARCHES = {"mc.quantiles"}
"""Calls of ``jnp.searchsorted``, where JAX fails in a part of an explicit mesh."""

AXES = {"examples": 0, "second axis": 1, "last axis": -1, "all axes": None}
NAMES = sorted({*table.CALLS, "mc.votes"} - WITHOUT_ARRAYS)


def test_every_public_function_is_in_the_table_or_takes_no_arrays():
    assert {*NAMES} | WITHOUT_ARRAYS == public_functions()
    assert all(table.arrays_of(name) for name in NAMES)


def mesh_of(kind):
    """Six devices, since the arrays of the table are of lengths 2, 3 and 4."""
    return jax.make_mesh((2, 3), ("two", "three"), axis_types=(kind, kind))


def place(x, axis, mesh):
    """Spreads an array along an axis, or along all, where the mesh divides it."""
    spec, free = [None] * x.ndim, dict(mesh.shape)
    for along in range(x.ndim) if axis is None else [axis]:
        fits = (n for n, size in free.items() if -x.ndim <= along < x.ndim)
        name = next((n for n in fits if x.shape[along] % free[n] == 0), None)
        if name is not None:
            spec[along] = name
            del free[name]
    return jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))


def spread_arrays(name, case, mesh):
    """The arrays of a row, all spread alike, or only the first of them."""
    arrays = table.arrays_of(name)
    if case == "one array":
        first = next(iter(arrays))
        arrays = {first: arrays[first]}
    put = functools.partial(place, axis=AXES.get(case, 0), mesh=mesh)
    return jax.tree.map(put, arrays)


def refused(what):
    """Expects the error of a call that a mesh cannot serve."""
    return pytest.raises(Exception, match=what)


@pytest.mark.whole
@pytest.mark.parametrize("name", NAMES)
def test_types_fit_on_an_explicit_mesh(name):
    mesh = mesh_of(AxisType.Explicit)
    cases = [(case, jax.set_mesh) for case in (*AXES, "one array")]
    for case, within in [*cases, ("all axes", contextlib.nullcontext)]:
        arrays = spread_arrays(name, case, mesh)
        expected = REFUSED.get((name, case))
        with within(mesh), refused(expected) if expected else contextlib.nullcontext():
            jax.jit(functools.partial(table.numbers, name)).trace(arrays)


def trace_on_devices(name, mesh, **mapped_over):
    """Traces a call in ``jax.shard_map``, with arrays that vary along an axis."""

    def on_device(stacked):
        outputs = table.numbers(name, jax.tree.map(lambda x: x[0], stacked))
        return jax.tree.map(lambda y: y[None], outputs)

    along = PartitionSpec("two")
    mapped = jax.shard_map(
        on_device, mesh=mesh, in_specs=along, out_specs=along, **mapped_over
    )
    stack = lambda x: place(np.stack([x, x]), None, mesh)
    jax.jit(mapped).trace(jax.tree.map(stack, table.arrays_of(name)))


@pytest.mark.whole
@pytest.mark.parametrize("name", NAMES)
def test_types_fit_inside_shard_map(name):
    trace_on_devices(name, mesh_of(AxisType.Auto))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in SEARCHES])
def test_types_fit_inside_shard_map_over_a_part_of_an_explicit_mesh(name):
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        trace_on_devices(name, mesh, axis_names={"two"})


@pytest.mark.parametrize("kind", [AxisType.Explicit, AxisType.Auto], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_arrays_that_are_not_spread(name, kind):
    case = "all axes" if (name, "all axes") not in REFUSED else "last axis"
    mesh, of_row = mesh_of(kind), functools.partial(table.numbers, name)
    expected = jax.jit(of_row)(table.arrays_of(name))
    with jax.set_mesh(mesh):
        found = jax.jit(of_row)(spread_arrays(name, case, mesh))
    table.assert_same(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_eager_values_are_those_of_arrays_that_are_not_spread(name):
    case = "examples" if (name, "examples") not in REFUSED else "last axis"
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        found = table.numbers(name, spread_arrays(name, case, mesh))
    table.assert_same(found, table.numbers(name, table.arrays_of(name)))
