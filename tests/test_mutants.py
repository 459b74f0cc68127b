"""Faults put in on purpose: a suite that does not notice them tests nothing.

Each mutant changes one line of a copy of the library, and runs the tests that are to
notice it there.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import jax
import pytest

ROOT = pathlib.Path(__file__).parents[1]

CONTRACT, MASKS = "tests/dropout/test_contract.py", "tests/test_masks.py"
FLAX, BITS = "tests/modules/test_flax.py", "tests/prng/test_bits.py"
MUTANTS = {  # file, line as it is, line as it must not be, tests that notice
    "scaled by 1 / rate": (
        "jaxdrop/_masks/_apply.py",
        "scaled = wide / jnp.where(divisor == 0, 1, divisor)",
        "scaled = wide / jnp.where(divisor == 0, 1, 1 - divisor)",
        [MASKS, "-k", "divided_once"],
    ),
    "not scaled": (
        "jaxdrop/_masks/_apply.py",
        "_apply(x, mask, keep if scale else",
        "_apply(x, mask, keep if False else",
        [CONTRACT, "-k", "mean_over_keys"],
    ),
    "dropped in evaluation": (
        "jaxdrop/_checks.py",
        "return flag is True or is_zero(rate)",
        "return is_zero(rate)",
        [CONTRACT, "-k", "evaluation"],
    ),
    "a traced mode ignored": (
        "jaxdrop/_masks/_draw.py",
        "_keep_of_array(rate)\n    if isinstance(deterministic, jax.Array):",
        "_keep_of_array(rate)\n    if False:",
        [CONTRACT, "-k", "traced_mode"],
    ),
    "keep and drop exchanged": (
        "jaxdrop/_masks/_draw.py",
        "(words >> jnp.uint32(9)) < threshold",
        "(words >> jnp.uint32(9)) >= threshold",
        [MASKS, "-k", "dropped_at_the_rate"],
    ),
    "the comparison off by one step": (
        "jaxdrop/_masks/_draw.py",
        "(words >> jnp.uint32(9)) < threshold",
        "(words >> jnp.uint32(9)) <= threshold",
        [MASKS, "-k", "last_of_its_23_bits"],
    ),
    "a mask by multiplication": (
        "jaxdrop/_masks/_apply.py",
        "return jnp.where(mask, kept, jnp.zeros((), x.dtype))",
        "return kept * mask.astype(x.dtype)",
        [CONTRACT, "-k", "not_finite"],
    ),
    "a bad traced rate passed over": (
        "jaxdrop/_masks/_draw.py",
        "return jnp.where(inside, 1 - rate, jnp.nan)",
        "return jnp.clip(1 - rate, 0, 1)",
        [CONTRACT, "-k", "traced_rate_that_is_no"],
    ),
    "a gradient into the rate": (
        "jaxdrop/_masks/_draw.py",
        "rate = lax.stop_gradient(jnp.asarray(rate))",
        "rate = jnp.asarray(rate)",
        [CONTRACT, "-k", "into_the_rate"],
    ),
    "scaled in low precision": (
        "jaxdrop/_masks/_apply.py",
        "wide = x.astype(wide_dtype(x))\n    scaled",
        "wide = x\n    scaled",
        [MASKS, "-k", "rounded_once"],
    ),
    "the wrong axes shared": (
        "jaxdrop/_masks/_axes.py",
        "1 if axis in shared else size",
        "1 if axis not in shared else size",
        [MASKS, "-k", "shared_axes_share"],
    ),
    "a mask without its sharding": (
        "jaxdrop/_masks/_axes.py",
        "return sharding if explicit and not sharding.mesh.empty else None",
        "return None",
        [MASKS, "-k", "its_share"],
    ),
    "the mask saved at full size": (
        "jaxdrop/_masks/_apply.py",
        "    return _apply(x, mask, keep if",
        "    return _apply(x, jnp.broadcast_to(mask, x.shape), keep if",
        [MASKS, "-k", "as_drawn"],
    ),
    "a mask drawn for each pass": (
        "jaxdrop/_masks/_draw.py",
        "cpu=partial(_held, drawing)",
        "cpu=drawing",
        [MASKS, "-k", "drawn_once"],
    ),
    "a rotation off by one": (
        "jaxdrop/prng/_threefry.py",
        "(17, 29, 16, 24)",
        "(17, 29, 16, 23)",
        ["tests/prng", "-k", "known_answers"],
    ),
    "the high word forgotten": (
        "jaxdrop/prng/_threefry.py",
        "wide = not _is_symbolic(shape) and math.prod(shape) > _WORD",
        "wide = False",
        ["tests/prng", "-k", "huge_array"],
    ),
    "another generator taken for threefry": (
        "jaxdrop/prng/_bits.py",
        'return impl == "threefry2x32" and partitionable',
        'return impl == "threefry2x32"',
        [BITS, "-k", "old_threefry"],
    ),
    "one mask for all leaves": (
        "jaxdrop/_dropout/_weights.py",
        "leaf_key = jax.random.fold_in(key, path_hash(path))",
        "leaf_key = key",
        ["tests/dropout/test_drop_connect.py"],
    ),
    "the variance of noise inverted": (
        "jaxdrop/_masks/_apply.py",
        "deviation = jnp.sqrt((1 - keep) / jnp.where(keep == 0, jnp.nan, keep))",
        "deviation = jnp.sqrt(keep / jnp.where(keep == 1, jnp.nan, 1 - keep))",
        [CONTRACT, "-k", "mean_over_keys and gaussian"],
    ),
    "a stream that stands still": (
        "jaxdrop/nnx/_module.py",
        "key: Key = source()",
        "key: Key = source.key[...]",
        ["tests/modules/test_parity.py", "-k", "next_key"],
    ),
    "a key used in evaluation": (
        "jaxdrop/nnx/_module.py",
        "unused = flag is True or is_zero(value)",
        "unused = False",
        ["tests/modules/test_parity.py", "-k", "no_key_is_used"],
    ),
    "a mode of the call ignored": (
        "jaxdrop/nnx/_module.py",
        "flag = self.deterministic if deterministic is None else deterministic",
        "flag = self.deterministic",
        [FLAX, "-k", "overrides"],
    ),
    "the step left out of an address": (
        "jaxdrop/keys.py",
        '("step", _STEP, step)',
        '("step", _STEP, None)',
        ["tests/test_keys.py", "-k", "every_part"],
    ),
    "attention's backward pass without its mask": (
        "jaxdrop/_attention/_tiles.py",
        "kept = jnp.where(survives, change, 0)",
        "kept = change",
        ["tests/attention/test_formula.py", "-k", "gradients_are_the_formulas"],
    ),
    "queries that lost all keys forgotten": (
        "jaxdrop/_attention/_attend.py",
        "return plan.skips and bool(",
        "return False and bool(",
        ["tests/attention/test_masked_queries.py", "-k", "gives_what"],
    ),
    "one key for all samples": (
        "jaxdrop/mc/_sampling.py",
        "jax.random.fold_in(key, number), *kept",
        "jax.random.fold_in(key, 0 * number), *kept",
        ["tests/mc/test_functions.py", "-k", "sample_t"],
    ),
    "samples numbered within their chunk": (
        "jaxdrop/mc/_sampling.py",
        "numbers = first + turn * chunk + jnp.arange",
        "numbers = first + turn + jnp.arange",
        ["tests/mc/test_predict.py", "-k", "depend_on_the_chunk_size"],
    ),
    "one mask for all rows": (
        "jaxdrop/mc/_sampling.py",
        'if draws == "shared":',
        "if True:",
        ["tests/mc/test_functions.py", "-k", "only_under_shared_draws"],
    ),
    "the information from mean logits": (
        "jaxdrop/mc/_categorical.py",
        "log_mean = state.log_sum - jnp.log(count)",
        "log_mean = jax.nn.log_softmax(state.log_total / count)",
        ["tests/mc/test_categorical.py", "-k", "one_pass"],
    ),
    "the bias of the information doubled": (
        "jaxdrop/mc/_categorical.py",
        'stats["mutual_information"] += missing',
        'stats["mutual_information"] -= missing',
        ["tests/mc/test_categorical.py", "-k", "debiasing"],
    ),
    "a variance that cancels": (
        "jaxdrop/mc/_moments.py",
        "jnp.square(centred).sum(0))",
        "jnp.square(samples).sum(0) - len(samples) * jnp.square(mean))",
        ["tests/mc/test_moments.py", "-k", "not_lost"],
    ),
    "states merged without their counts": (
        "jaxdrop/mc/_moments.py",
        "share = ratio(b.number, count, a.mean.dtype)",
        "share = jnp.asarray(0.5, a.mean.dtype)",
        ["tests/mc/test_moments.py", "-k", "those_of_the_stack"],
    ),
    "batch statistics in prediction": (
        "jaxdrop/nnx/_mc.py",
        "twin.eval()",
        "twin.train()",
        ["tests/modules/test_mc.py", "-k", "no_normalisation"],
    ),
    "the largest gap weighted": (
        "jaxdrop/metrics/_bins.py",
        "self.gap.max()",
        "(self.weight * self.gap).max()",
        ["tests/metrics/test_calibration.py", "-k", "maximum_is"],
    ),
    "certainty in no bin": (
        "jaxdrop/metrics/_bins.py",
        "np.arange(1, num_bins) / num_bins",
        "np.arange(1, num_bins + 1) / num_bins",
        ["tests/metrics/test_calibration.py", "-k", "edge"],
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_line_that_is_changed_is_there(mutant):
    file, line, _, _ = MUTANTS[mutant]
    assert (ROOT / file).read_text().count(line) == 1, "mend this table"


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_suite_notices(mutant, tmp_path):
    file, line, fault, tests = MUTANTS[mutant]
    for folder in ("jaxdrop", "tests"):
        shutil.copytree(
            ROOT / folder,
            tmp_path / folder,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    source = tmp_path / file
    text = source.read_text()
    source.write_text(text.replace(line, fault))
    flags = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *flags, *tests],
        cwd=tmp_path,
        env=os.environ
        | {"JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir or ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout[-2000:]  # tests ran, and one failed
