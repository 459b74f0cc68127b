"""The table of an audit."""

import jax
import jax.numpy as jnp
import numpy as np
from diagnostics.cases import KEY, W, X, audit, drop
from jax import lax

import jaxdrop
from jaxdrop import diagnostics


def test_the_table_is_aligned_and_adds_up():
    def network(key, x):
        first, second = jax.random.split(key)
        with jax.named_scope("dense"):
            x = jaxdrop.dropout(first, x, rate=0.5) @ W
        with jax.named_scope("frames"):
            step = lambda _, k: (None, jaxdrop.locked_dropout(k, x, rate=0.25))
            return lax.scan(step, None, jax.random.split(second, 3))[1].sum()

    assert str(audit(network, KEY, X)) == (
        "site    technique       rate  mask       mode     bits  bytes\n"
        "-------------------------------------------------------------\n"
        "dense   dropout          0.5  (4,8)      active  1,024     32\n"
        "frames  locked_dropout  0.25  3 x (1,8)  active    768     24\n"
        "2 active, 0 inactive; 1,792 random bits and 56 bytes of masks in a pass"
    )


def test_findings_follow_the_table():
    text = str(audit(drop, KEY, X))
    assert "\n\noutput: dropout\n" in text
    assert "https://jmlr.org" in text
    assert max(map(len, text.split("\n"))) <= 100


def test_a_program_without_draws_has_no_sites():
    result = audit(jnp.sin, X)
    assert result == diagnostics.Audit((), ())
    assert str(result).startswith("0 active, 0 inactive")


def test_rates_of_several_entries_are_shown_from_least_to_largest():
    noisy = lambda x: jaxdrop.gaussian_dropout(KEY, x, rate=np.float32([[0.1], [0.5]]))
    assert "0.1..0.5" in str(audit(noisy, np.ones((2, 3), np.float32)))
