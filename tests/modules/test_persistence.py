"""Every module is copied, pickled, saved, restored and switched like any other."""

import copy
import inspect
import pickle
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import linen as nn
from flax import nnx

import jaxdrop
from new_process import call_in_new_process
from specimens import BASES, LINEN, NNX

CALLS = 2
for_nnx = pytest.mark.parametrize("specimen", NNX.values(), ids=NNX)
for_linen = pytest.mark.parametrize("specimen", LINEN.values(), ids=LINEN)


def in_nnx(specimen, seed=0):
    return specimen.make(rngs=nnx.Rngs(seed))


@nnx.jit
def compiled(module, *data):
    return module(*data)


def call(module, data):
    """An output of an NNX module; a sequence is compiled once for all copies."""
    return compiled(module, *data) if isinstance(module, nnx.RNN) else module(*data)


def outputs(run, times=CALLS):
    """The leaves of what some calls return, as NumPy arrays."""
    return [as_numbers(leaf) for _ in range(times) for leaf in jax.tree.leaves(run())]


def as_numbers(leaf):
    """An array, or the words of a key."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def assert_same(given, expected):
    for one, other in zip(given, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def differ(given, expected):
    return any(
        not np.array_equal(one, other)
        for one, other in zip(given, expected, strict=True)
    )


def count_of(module):
    """How many keys a module has drawn from its own stream."""
    stream = getattr(getattr(module, "cell", module), "rngs", None)
    return 0 if stream is None else int(stream.count[...])


@cache
def variables_of(specimen, seed=0):
    """The variables of a Linen module, initialized in evaluation mode."""
    module = specimen.make(deterministic=True)
    init = jax.jit(module.init) if isinstance(module, nn.RNN) else module.init
    return init(jax.random.key(seed), *specimen.data)


def apply(module, variables, data, seed=1, *flag):
    """An output of a Linen module; that of a sequence is compiled once."""
    run = apply_compiled if isinstance(module, nn.RNN) else apply_module
    return run(module, variables, data, {"dropout": jax.random.key(seed)}, *flag)


def apply_module(module, variables, data, rngs, *flag):
    return module.apply(variables, *data, *flag, rngs=rngs)


apply_compiled = jax.jit(apply_module, static_argnums=0)


@pytest.mark.parametrize("room, table", [("nnx", NNX), ("linen", LINEN)])
def test_every_public_module_has_a_specimen(room, table):
    public = {
        name
        for name, value in vars(getattr(jaxdrop, room)).items()
        if inspect.isclass(value) and not name.startswith("_")
    }
    assert public - BASES == set(table)


@for_nnx
def test_copies_of_nnx_modules_draw_alike_and_apart(specimen):
    module = in_nnx(specimen)
    run = lambda module: outputs(lambda: call(module, specimen.data))
    run(module)  # so that a copy has to know the count
    twins = [copy.deepcopy(module), nnx.clone(module)]
    twins.append(nnx.merge(*nnx.split(module), copy=True))
    if specimen.pickles:
        twins.append(pickle.loads(pickle.dumps(module)))
    expected = run(module)
    for twin in twins:
        assert_same(run(twin), expected)


@for_nnx
def test_nnx_modules_follow_eval_train_and_view(specimen):
    module = in_nnx(specimen)
    run = lambda module: outputs(lambda: call(module, specimen.data))
    module.eval()
    evaluated = run(module)
    assert_same(
        evaluated, CALLS * outputs(lambda: call(module, specimen.data), times=1)
    )
    assert count_of(module) == 0
    module.train()
    assert differ(run(module), evaluated) == specimen.draws
    assert count_of(module) == CALLS * specimen.draws
    if specimen.draws:  # for others flax says that the view changes nothing
        assert_same(run(nnx.view(module, deterministic=True)), evaluated)
        module.eval()
        assert differ(run(nnx.view(module, deterministic=False)), evaluated)


@for_nnx
def test_nnx_modules_draw_from_the_stream_of_their_collection(specimen):
    """A stream of another name is no source of theirs, when made and when called."""
    first, again, other = (
        specimen.make(
            rngs=nnx.Rngs(params=0, noise=noise, dropout=dropout),
            rng_collection="noise",
        )
        for noise, dropout in ((1, 5), (1, 6), (2, 5))
    )
    run = lambda module: outputs(lambda: call(module, specimen.data), times=1)
    expected = run(first)
    assert_same(run(again), expected)
    assert differ(run(other), expected) == specimen.draws
    if not isinstance(first, nnx.RNN) and hasattr(first, "rng_collection"):
        given = lambda noise: first(
            *specimen.data, rngs=nnx.Rngs(dropout=3, noise=noise)
        )
        one, two = (outputs(lambda n=n: given(n), times=1) for n in (1, 2))
        assert differ(one, two)


@for_linen
def test_linen_modules_draw_from_their_collection(specimen):
    if not specimen.draws:
        pytest.skip("draws nothing")
    variables = variables_of(specimen)
    module = specimen.make(deterministic=False, rng_collection="noise")
    run = jax.jit(lambda rngs: module.apply(variables, *specimen.data, rngs=rngs))
    rngs = lambda *seeds: dict(
        zip(("noise", "dropout"), map(jax.random.key, seeds), strict=True)
    )
    first, again, other = (
        outputs(lambda s=s: run(rngs(*s)), times=1) for s in ((1, 5), (1, 6), (2, 5))
    )
    assert_same(again, first)
    assert differ(other, first)


@for_linen
def test_copies_of_linen_modules_draw_alike(specimen):
    module = specimen.make(deterministic=False)
    variables = variables_of(specimen)
    expected = outputs(lambda: apply(module, variables, specimen.data), times=1)
    twins = [copy.deepcopy(module), module.clone()]
    if specimen.pickles:
        twins.append(pickle.loads(pickle.dumps(module)))
        assert twins[-1] == module
    for twin in twins:
        again = outputs(lambda twin=twin: apply(twin, variables, specimen.data), 1)
        assert_same(again, expected)


def test_only_what_flax_cannot_pickle_cannot_be_pickled():
    """Initializers and activations, as they are in Flax's own layers and cells."""
    refused = (pickle.PicklingError, AttributeError)
    of_flax = nn.Dense(3), nn.Conv(3, (3,)), nn.GRUCell(3), nn.LSTMCell(3)
    rngs = nnx.Rngs(0)
    of_flax += nnx.GRUCell(3, 3, rngs=rngs), nnx.LSTMCell(3, 3, rngs=rngs)
    ours = [s.make(rngs=rngs) for s in NNX.values() if not s.pickles]
    ours += [s.make() for s in LINEN.values() if not s.pickles]
    for module in (*of_flax, *ours):
        with pytest.raises(refused, match=r"Can.t (pickle|get local)"):
            pickle.dumps(module)


@for_linen
def test_linen_modules_follow_the_flag_as_a_field_and_at_a_call(specimen):
    variables, data = variables_of(specimen), specimen.data
    evaluating = specimen.make(deterministic=True)
    evaluated = outputs(lambda: apply(evaluating, variables, data), times=1)
    training = specimen.make(deterministic=False)
    trained = [
        outputs(lambda s=s: apply(training, variables, data, s), 1) for s in (1, 2)
    ]
    assert differ(*trained) == specimen.draws
    assert differ(trained[0], evaluated) == specimen.draws
    if specimen.draws and specimen.flag_at_call:
        free = specimen.make()
        assert_same(outputs(lambda: free.apply(variables, *data, True), 1), evaluated)
        assert_same(
            outputs(lambda: apply(free, variables, data, 1, False), 1), trained[0]
        )


# Into a file, and out of it in another process.


def nnx_states(seed):
    modules = {name: in_nnx(specimen, seed) for name, specimen in NNX.items()}
    return modules, {name: nnx.state(module) for name, module in modules.items()}


def linen_variables(seed):
    return {name: variables_of(specimen, seed) for name, specimen in LINEN.items()}


def next_outputs(modules, variables):
    """What all modules compute next, by framework, name and number."""
    runs = {
        f"nnx/{name}": lambda module=module, name=name: call(module, NNX[name].data)
        for name, module in modules.items()
    } | {
        f"linen/{name}": lambda name=name: apply(
            LINEN[name].make(deterministic=False), variables[name], LINEN[name].data
        )
        for name in variables
    }
    return {
        f"{name}/{number}": array
        for name, run in runs.items()
        for number, array in enumerate(outputs(run, CALLS if name[0] == "n" else 1))
    }


def save(folder, tree):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(folder).absolute() / "checkpoint", tree)


def restore(folder, like):
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(Path(folder).absolute() / "checkpoint", like)


def restore_and_go_on(folder):
    """Restores into modules of another seed; run in a process of its own."""
    modules, states = nnx_states(seed=1)
    variables = linen_variables(seed=1)
    restored = restore(folder, {"nnx": states, "linen": variables})
    for name, module in modules.items():
        nnx.update(module, restored["nnx"][name])
    np.savez(Path(folder) / "next.npz", **next_outputs(modules, restored["linen"]))


@pytest.mark.slow
def test_a_checkpoint_goes_on_in_a_new_process_bit_for_bit(tmp_path):
    modules, _ = nnx_states(seed=0)
    for name, module in modules.items():
        call(module, NNX[name].data)  # so that counts are saved, and not their start
    variables = linen_variables(seed=0)
    states = {name: nnx.state(module) for name, module in modules.items()}
    save(tmp_path, {"nnx": states, "linen": variables})
    call_in_new_process("modules.test_persistence", "restore_and_go_on", tmp_path)
    expected = next_outputs(modules, variables)
    with np.load(tmp_path / "next.npz") as file:
        assert set(file.files) == set(expected)
        wrong = [
            name
            for name in expected
            if file[name].tobytes() != expected[name].tobytes()
        ]
    assert not wrong
