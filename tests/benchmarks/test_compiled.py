"""Costs by compiler: what is counted, and what programs for TPUs may cost."""

import importlib.util
import json

import jax
import jax.numpy as jnp
import pytest
from test_public_api import FAMILY, IN_NAMESPACE

import compiled
import compiler
import hlo
import jaxdrop
import programs
import steps
from compiler_cases import ELSEWHERE, OTHERS, recorded
from jaxdrop._attention import _flash

TEXT = """\
HloModule jit_f, is_scheduled=true

%fused.hash (p0: u32[512,512], p1: bf16[512,512]) -> bf16[512,512] {
  %p0 = u32[512,512]{1,0:T(8,128)} parameter(0)
  %p1 = bf16[512,512]{1,0} parameter(1)
  %c = u32[] constant(16)
  %s1 = u32[512,512]{1,0} shift-right-logical(%p0, %p0), metadata={op_name="a(b)"}
  %s2 = u32[512,512]{1,0} shift-right-logical(%s1, %p0)
  %s3 = u32[512,512]{1,0} shift-right-logical(%s2, %p0)
  ROOT %m = bf16[512,512]{1,0} convert(%s3)
}

%fused.product (a: u32[512,512], b: bf16[512,512]) -> bf16[512,512] {
  %a = u32[512,512]{1,0} parameter(0)
  %b = bf16[512,512]{1,0} parameter(1)
  %inner = bf16[512,512]{1,0} fusion(%a, %b), kind=kLoop, calls=%fused.hash
  ROOT %d = bf16[512,512]{1,0} convolution(%inner, %b), dim_labels=bf_io->bf
}

%fused.slice (a: f32[8,1024], i: s32[]) -> f32[1,1024] {
  %a = f32[8,1024]{1,0} parameter(0)
  %i = s32[] parameter(1)
  ROOT %s = f32[1,1024]{1,0} dynamic-slice(%a, %i, %i), dynamic_slice_sizes={1,1024}
}

%fused.update (a: f32[8,1024], u: f32[1,1024], i: s32[]) -> f32[8,1024] {
  %a = f32[8,1024]{1,0} parameter(0)
  %u = f32[1,1024]{1,0} parameter(1)
  %i = s32[] parameter(2)
  ROOT %s = f32[8,1024]{1,0} dynamic-update-slice(%a, %u, %i, %i)
}

%body (t: (s32[], f32[8,1024])) -> (s32[], f32[8,1024]) {
  %t = (s32[]{:T(128)}, f32[8,1024]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %a = f32[8,1024]{1,0} get-tuple-element(%t), index=1
  %row = f32[1,1024]{1,0} fusion(%a, %i), kind=kLoop, calls=%fused.slice
  %new = f32[8,1024]{1,0} fusion(%a, %row, %i), kind=kLoop, calls=%fused.update
  ROOT %out = (s32[], f32[8,1024]{1,0}) tuple(%i, %new)
}

%condition (t: (s32[], f32[8,1024])) -> pred[] {
  %t = (s32[], f32[8,1024]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %n = s32[] constant(8)
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main.1 (k: u32[512,512], x: bf16[512,512]) -> bf16[512,512] {
  %k = u32[512,512]{1,0} parameter(0)
  %x = bf16[512,512]{1,0} parameter(1)
  %start = (bf16[512,512]{1,0:S(1)}, bf16[512,512]{1,0}, u32[]{:S(2)}) copy-start(%x)
  %near = bf16[512,512]{1,0:T(8,128)(2,1)S(1)} copy-done(%start)
  %y = bf16[512,512]{1,0} fusion(%k, %near), calls=%fused.product, config={CYCLES:"700"}
  %z = bf16[512,512]{1,0} fusion(%k, %y), calls=%fused.hash, config={CYCLES:"50"}
  %one = u32[]{:T(128)S(6)} constant(1)
  %two = u32[]{:T(128)S(6)} xor(%one, %one)
  %w = (s32[], f32[8,1024]{1,0}) while(%init), condition=%condition, body=%body
  ROOT %custom = bf16[512,512]{1,0} custom-call(%z), target="tpu_custom_call"
}
""".replace("CYCLES", '"estimated_cycles"')
"""A program with one of everything that is counted."""

ARRAY = 512 * 512 * 2
SIZE = 8192  # of the recorded table: arrays that do not fit on the chip
ROWS = list(programs.techniques(SIZE, jnp.bfloat16))
RECORDED = {
    "bfloat16": recorded("techniques_v5e"),
    "float32": recorded("dropout_float32_v5e"),
}


def test_every_technique_is_recorded_without_hashes_in_products():
    for name in ("techniques_v5e", "techniques_v6e", "techniques_h100"):
        found = recorded(name)
        assert list(dict.fromkeys(row for row, *_ in found)) == ROWS
        for (row, _, contender), one in found.items():
            if contender in (programs.OURS, programs.LIGHT) and one["cost"]:
                assert not one["cost"]["hashes_in_products"], row


@pytest.fixture(autouse=True)
def without_flags(monkeypatch):
    """Hides flags for CPUs from libtpu, which ends a process at an unknown one."""
    jax.devices()  # reads them
    monkeypatch.delenv("XLA_FLAGS", raising=False)


needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu is not installed (pip install 'jaxdrop[examples,tpu-compile]')",
)


@pytest.fixture
def h100():
    """The target, where JAX has its plugin for CUDA and loads it."""
    try:
        return compiler.target("h100")
    except (compiler.Unavailable, NotImplementedError) as error:
        pytest.skip(f"{error}; without a GPU the plugin needs JAX_PLATFORMS=cpu")


def test_kernels_bytes_cycles_and_hashes_are_counted():
    cost = compiler.count(TEXT)
    assert cost.kernels == 5  # two fusions, two in the loop, one custom call
    in_loop = 8 * 4 * 1024 * (2 + 2)  # a row: read, written, read again, written
    copied = ARRAY  # read; on the chip it is not counted
    product, hashed, kernel = 2 * ARRAY + ARRAY, 2 * ARRAY + 2 * ARRAY, 2 * ARRAY
    scalars = 8 * 2 * 4  # of the loop's counter
    assert cost.moved == copied + product + hashed + kernel + in_loop + scalars
    assert cost.cycles == 750 and cost.unestimated == 1
    assert cost.hash_cycles == 750  # all that estimate any
    without = compiler.count(TEXT.replace("shift-right-logical", "xor"))
    assert without.cycles == 750 and without.hash_cycles == 0
    assert (cost.hashes, cost.hashes_in_products) == (2, 1)


def test_trips_are_read_where_the_compiler_knows_them():
    known = TEXT.replace(
        "body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"3"}}'
    )
    more = compiler.count(TEXT).moved - compiler.count(known).moved
    assert more == 5 * (4 * 4 * 1024 + 8)


@pytest.mark.parametrize(
    "shape, size, in_memory",
    [
        ("bf16[8,128]{1,0:T(8,128)(2,1)S(1)}", 2048, 0),
        ("(f32[4]{0}, /*index=1*/pred[3]{0:S(1)}, token[])", 19, 16),
        ("s4[10]{0:E(4)}", 5, 5),
        ("f8e4m3fn[<=16]{0}", 16, 16),
        ("f32[]", 4, 4),
    ],
)
def test_sizes_of_shapes(shape, size, in_memory):
    assert (hlo.size(shape), hlo.in_memory(shape)) == (size, in_memory)


def test_a_text_that_is_not_a_program_is_refused():
    with pytest.raises(ValueError, match="ENTRY"):
        hlo.parse("nothing")
    with pytest.raises(ValueError, match="target"):
        compiler.target("v99")


def test_every_function_that_draws_is_compiled():
    rows = compiled.programs(256, [256], jnp.bfloat16)
    words = {word.strip(",") for row in rows for word in row.split()}
    quiet = {name for name in FAMILY if name.endswith(("penalty", "sparsity"))}
    of_attention = {"dot_product_attention"}
    assert FAMILY - quiet - of_attention <= words
    assert {f"inputs.{name}" for name in IN_NAMESPACE["inputs"]} <= words
    assert {"attention", "MLP", "transformer", "mc.predict"} <= words


def test_every_other_public_function_is_compiled_or_named():
    rooms = {"acquisition", "constraints", "keys", "masks", "mc", "metrics"}
    names = {
        f"{room}.{name}"
        for room in rooms | {"penalties", "prng", "schedules"}
        for name in IN_NAMESPACE[room]
        if callable(getattr(getattr(jaxdrop, room), name)) and name.islower()
    }
    of_family = {name for name in FAMILY if name.endswith(("penalty", "sparsity"))}
    assert names | of_family == set(OTHERS) | set(ELSEWHERE)
    assert not set(OTHERS) & set(ELSEWHERE)


def test_words_choose_rows_by_their_names_or_parts_of_them():
    rows = compiled.programs(256, [256], jnp.bfloat16)
    assert list(compiled.chosen(rows, ["dropout"])) == ["dropout"]
    assert set(compiled.chosen(rows, ["mlp", "Zoneout"])) == {"MLP step", "zoneout"}
    assert compiled.chosen(rows, []) == rows
    assert list(compiled.chosen(rows, ["techniques"])) == ROWS
    both = compiled.chosen(rows, ["techniques", "mlp"])
    assert list(both) == [*ROWS, "MLP step"]
    with pytest.raises(SystemExit, match="nothing: no row"):
        compiled.chosen(rows, ["nothing"])


@pytest.mark.skipif(
    _flash.available("hopper") is False,
    reason="this JAX does not have the interpreter for Mosaic GPU",
)
@pytest.mark.parametrize("target, kernels", [("h100", 1), ("a100", 0)])
def test_attention_for_hopper_gpus_is_compiled_with_their_kernels(target, kernels):
    rows = compiled.programs(256, [256], jnp.bfloat16, target)
    program = rows["attention, 256 keys"]
    key = jax.eval_shape(lambda: jax.random.key(0))
    traced = jax.jit(program.ours).trace(key, *program.arrays)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("@mosaic_gpu") == kernels


def test_the_command_is_kept_without_the_name_of_a_file():
    given = ["--only", "MLP step", "--json", "/tmp/a.json", "--size", "128"]
    assert compiled.without_json(given) == ["--only", "MLP step", "--size", "128"]
    assert compiled.without_json(["--json=a.json", "--quick"]) == ["--quick"]


def test_both_passes_give_every_gradient():
    program = programs.techniques(64, jnp.float32)["zoneout"]
    both, arrays = programs.in_pass(programs.BOTH, program.ours, program.arrays)
    key = jax.eval_shape(lambda: jax.random.key(0))
    y, grads = jax.eval_shape(both, key, *arrays)
    assert [a.shape for a in (*y, *grads)] == [(64, 64)] * 3
    entry = 64 * 64 * 4
    assert compiler.least(program.ours, (key, *program.arrays)) == 3 * entry
    assert compiler.least(both, (key, *arrays)) == 6 * entry


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name, extra in (("v5e", "tpu-compile"), ("h100", "gpu-compile")):
        with pytest.raises(SystemExit, match=extra):
            compiled.main(["--target", name])


@pytest.fixture(scope="module")
def tpu():
    return compiler.target("v5e")


@pytest.mark.slow
@needs_libtpu
@pytest.mark.parametrize("row", ROWS)
def test_techniques_compile_for_a_tpu_and_move_no_more_than_recorded(row, tpu):
    program = programs.techniques(SIZE, jnp.bfloat16)[row]
    key = jax.eval_shape(lambda: jax.random.key(0))
    for passing in program.passes:
        function, arrays = programs.in_pass(passing, program.ours, program.arrays)
        cost, _ = compiler.compile_for(tpu, function, (key, *arrays))
        before = RECORDED["bfloat16"][row, passing, programs.OURS]
        assert compiler.least(function, (key, *arrays)) == before["least"]
        assert cost.moved <= before["cost"]["moved"] * 1.02, passing
        assert not cost.hashes_in_products


@pytest.mark.slow
@needs_libtpu
@pytest.mark.parametrize("generator", [programs.OURS, programs.LIGHT])
@pytest.mark.parametrize("kind", [jnp.bfloat16, jnp.float32])
def test_dropout_for_a_tpu_expects_no_more_cycles_than_recorded(kind, generator, tpu):
    """A kernel that draws the mask, and one that both passes share."""
    program = programs.techniques(SIZE, kind)["dropout"]
    key = jax.eval_shape(lambda: jax.random.key(0))
    before = RECORDED[jnp.dtype(kind).name]
    for passing in program.passes:
        contender = program.contenders[generator]
        function, arrays = programs.in_pass(passing, contender, program.arrays)
        cost, _ = compiler.compile_for(tpu, function, (key, *arrays))
        most = before["dropout", passing, generator]["cost"]["cycles"] * 1.01
        assert cost.cycles <= most, f"{passing}: {cost.cycles / 1e6:.3f}"


@pytest.mark.slow
@needs_libtpu
@pytest.mark.parametrize("name", OTHERS)
def test_other_public_functions_compile_for_a_tpu(name, tpu):
    """Forward, and backward where it can be differentiated."""
    function, arrays, has_gradient = OTHERS[name]
    cost, _ = compiler.compile_for(tpu, function, arrays)
    assert cost.kernels
    if has_gradient:

        def loss(x, *rest):
            leaves = jax.tree.leaves(function(x, *rest))
            return sum(jnp.sum(y) for y in leaves if jnp.isrealobj(y))

        compiler.compile_for(tpu, jax.grad(loss), arrays)


STEPS = steps.everything(1024, [1024], jnp.bfloat16)
STEPS |= steps.transformed(1024, jnp.bfloat16)


@pytest.mark.slow
@needs_libtpu
@pytest.mark.parametrize("generator", [programs.OURS, programs.LIGHT])
@pytest.mark.parametrize("row", STEPS)
def test_no_step_hashes_in_a_product(row, generator, tpu):
    with jax.numpy_dtype_promotion("standard"):  # jax.nn mixes dtypes in attention
        found = list(costs(STEPS[row], generator, tpu))
    assert all(not cost.hashes_in_products for cost in found)


@pytest.mark.slow
@pytest.mark.parametrize("generator", [programs.OURS, programs.LIGHT])
@pytest.mark.parametrize("row", STEPS)
def test_no_step_for_a_gpu_hashes_in_a_product(row, generator, h100):
    found = costs(STEPS[row], generator, h100)
    assert all(not cost.hashes_in_products for cost in found)


def costs(program, generator, device):
    """Of every pass of a program."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    for passing in program.passes:
        contender = program.contenders[generator]
        function, arrays = programs.in_pass(passing, contender, program.arrays)
        yield compiler.compile_for(device, function, (key, *arrays))[0]


def between_products(program):
    """A technique whose data come from products and whose results go into some."""
    data = [array.ndim >= 2 and array.dtype == jnp.bfloat16 for array in program.arrays]
    sizes = sorted(
        {
            a.shape[-1]
            for a, is_data in zip(program.arrays, data, strict=True)
            if is_data
        }
    )
    kernels = tuple(jax.ShapeDtypeStruct((n, n), jnp.bfloat16) for n in sizes)

    def function(key, *given):
        arrays, square = (
            given[: len(data)],
            dict(zip(sizes, given[len(data) :], strict=True)),
        )
        mixed = (
            array @ square[array.shape[-1]] if is_data else array
            for array, is_data in zip(arrays, data, strict=True)
        )
        results = jax.tree.leaves(program.contenders[programs.LIGHT](key, *mixed))
        return [y @ square[y.shape[-1]] for y in results if y.dtype == jnp.bfloat16]

    return function, (*program.arrays, *kernels)


@pytest.mark.slow
@needs_libtpu
@pytest.mark.parametrize("row", ROWS)
def test_no_technique_hashes_in_the_products_around_it(row, tpu):
    program = programs.techniques(512, jnp.bfloat16)[row]
    key = jax.eval_shape(lambda: jax.random.key(0))
    for passing in program.passes:
        function, arrays = programs.in_pass(passing, *between_products(program))
        cost, _ = compiler.compile_for(tpu, function, (key, *arrays))
        assert not cost.hashes_in_products, passing


@pytest.mark.slow
@needs_libtpu
def test_the_count_sees_a_hash_in_a_product(tpu):
    """Without a border the compiler puts threefry into the product that uses it."""

    def step(key, kernel, x):
        def loss(kernel):
            keep = jax.random.bernoulli(key, 0.5, (1024, 1024))
            return jnp.sum(jnp.where(keep, jnp.tanh(x @ kernel), 0) @ x)

        return jax.grad(loss)(kernel)

    array = jax.ShapeDtypeStruct((1024, 1024), jnp.bfloat16)
    key = jax.eval_shape(lambda: jax.random.key(0))
    cost, _ = compiler.compile_for(tpu, step, (key, array, array))
    assert cost.hashes_in_products


@pytest.mark.slow
@needs_libtpu
def test_the_program_prints_and_writes_what_it_found(tmp_path, capsys):
    path = tmp_path / "figures.json"
    arguments = ["--target", "v5e", "--size", "128", "--only", "mixout"]
    compiled.main([*arguments, "--json", str(path)])
    assert "not by a clock" in capsys.readouterr().out
    written = json.loads(path.read_text())
    assert written["command"] == f"python benchmarks/compiled.py {' '.join(arguments)}"
    found = written["programs"]
    assert len(found) == 4 and all(entry["cost"] for entry in found)


@pytest.mark.slow
@pytest.mark.parametrize("generator", [programs.OURS, programs.LIGHT])
@pytest.mark.parametrize("features", [64, 128])
def test_attention_for_mosaic_gpu_compiles(features, generator, h100):
    """Kernels forward, to queries, and to keys and values: nothing else is large."""
    x = jax.ShapeDtypeStruct((1, 1024, 4, features), jnp.bfloat16)
    keys = jax.ShapeDtypeStruct((1, 1000, 2, features), jnp.bfloat16)

    def loss(query, key_, value, key):
        key = jaxdrop.prng.light(key) if generator == programs.LIGHT else key
        y = jaxdrop.dot_product_attention(
            *(key, query, key_, value),
            rate=0.1,
            is_causal=True,
            implementation="mosaic_gpu",
        )
        return jnp.sum(y.astype(jnp.float32) ** 2)

    arrays = (x, keys, keys, jax.eval_shape(lambda: jax.random.key(0)))
    cost, text = compiler.compile_for(h100, jax.grad(loss, (0, 1, 2)), arrays)
    assert text.count('custom_call_target="mosaic_gpu') == 3
    assert cost.temporary < 10 * x.size * x.dtype.itemsize  # not 4 * 1024 * 1000 * 4


@pytest.mark.slow
@pytest.mark.parametrize("features, kernels", [(64, 4), (192, 5), (256, 5)])
def test_attention_with_a_bias_for_mosaic_gpu_compiles(features, kernels, h100):
    """Those of wide heads have one kernel for keys and one for values."""
    x = jax.ShapeDtypeStruct((1, 256, 4, features), jnp.bfloat16)
    bias = jax.ShapeDtypeStruct((1, 4, 256, 256), jnp.float32)

    def loss(query, key_, value, bias, key):
        y = jaxdrop.dot_product_attention(
            *(key, query, key_, value),
            **{"bias": bias, "rate": 0.1, "implementation": "mosaic_gpu"},
        )
        return jnp.sum(y.astype(jnp.float32) ** 2)

    arrays = (x, x, x, bias, jax.eval_shape(lambda: jax.random.key(0)))
    _, text = compiler.compile_for(h100, jax.grad(loss, (0, 1, 2, 3)), arrays)
    assert text.count('custom_call_target="mosaic_gpu') == kernels
