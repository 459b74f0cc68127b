"""Schedules of kernels: which bundles are counted, and how many a mask may add."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import pytest

import kernels
from jaxdrop._attention import _flash_tile as tile

SCRIPT = str(pathlib.Path(__file__).parents[2] / "benchmarks" / "kernels.py")
SCHEDULE = """\
LH: loop header

     0   :  { %6 = vsyncpa [#allocation4], 0 }
   0x1   :  { %8 = sbr.rel (%p1) target = $region9 }
   0x2   :  { %9 = vld [vmem:[%s1] sm:$0xff] }
   0x3   :  { %10 = vld [vmem:[%s1] sm:$0xff] }
   0x5 LB: > { %s2 = sadd.s32 1, %s3  ;;  %s4 = smov.u32 0 }
   0x6   : > { %1289 = dma.hbm_to_vmem
base_bounds: (512, 4)
 }
   0x7   : > { %24 = sbr.rel (%p2) target = $region10 }
   0x8 PF: > > { %v1 = vadd.s32 %v2, %v3 }
   0x9   : > { %v2 = vmul.u32 %v2, %v3  ;;  %v3 = vst 4 }
   0xa   : > { %v2 = vxor.u32 %v2, %v3 }
   0xb   : > { %v2 = vxor.u32 %v2, %v3 }
   0xc   : > { %25 = sbr.rel (%p3) target = $region11 }
   0xd   : > { %v2 = vst %v2 }
   0xe   :  { %26 = sbr.rel (!%p24_p4) target = $region187 }
"""


def test_the_longest_part_of_a_loop_between_branches_is_counted():
    assert len(kernels.longest_run(SCHEDULE)) == 5  # 0x8 to 0xc


def test_only_schedules_of_attention_are_read_and_all_files_go(tmp_path):
    name = "123-jvp_jaxdrop.dot_product_attention__.1-72-{}.txt"
    (tmp_path / name.format("final_bundles")).write_text(SCHEDULE)
    (tmp_path / name.format("schedule-analysis_final_bundles")).write_text("")
    (tmp_path / "124-copy.6-67-final_bundles.txt").write_text(SCHEDULE * 2)
    (found,) = kernels.kernels_in(tmp_path, "dot_product_attention")
    assert found == kernels.longest_run(SCHEDULE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("keys_axis", [0, 1])
def test_without_dropout_every_weight_of_a_tile_survives(keys_axis):
    at = tile.places(jnp.int32(0), jnp.int32(8), (4, 8), keys_axis=keys_axis)
    found = kernels.all_survive(None, None, at)
    assert found.shape == ((4, 8) if keys_axis else (8, 4))
    assert found.all()


def test_heads_that_kernels_do_not_take_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(kernels.compiler, "compile_for", lambda *program: None)
    with pytest.raises(SystemExit, match="of 300 features compile to 0 kernels"):
        kernels.bundles(tmp_path, None, "light", features=300, causal=False)


def test_the_table_has_multiples_of_no_dropout(capsys):
    found = {
        "no dropout": {"forward": 1000, "backward": 1000},
        "light": {"forward": 1200, "backward": 1500},
    }
    kernels.Console(width=120).print(kernels.table("Bundles", found))
    printed = capsys.readouterr().out
    assert "1.35" in printed and f"{2700 * kernels.TILES / 1e6:.2f}" in printed


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)
@pytest.mark.parametrize(("target", "most"), [("v5e", 1.45), ("v6e", 1.9)])
def test_a_mask_of_the_light_generator_adds_no_more_than_recorded(
    target, most, tmp_path
):
    path = tmp_path / "kernels.json"
    environment = {name: x for name, x in os.environ.items() if name != "XLA_FLAGS"}
    subprocess.run(
        [sys.executable, SCRIPT, "--target", target, "--json", path],
        env=environment | {"JAX_PLATFORMS": "cpu"},
        check=True,
    )
    bundles = {
        name: sum(found.values())
        for name, found in json.loads(path.read_text())["bundles"].items()
    }
    assert bundles["light"] < most * bundles["no dropout"]
