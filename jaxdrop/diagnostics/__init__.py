"""Measurements of networks: dropout sites, units, layers and masks of parameters.

* :func:`audit`: the dropout sites of a model and common mistakes, an :class:`Audit` of
  :class:`Site` and :class:`Finding`.
* :func:`assert_active`, :func:`assert_inactive`: assertions on these, for tests.
* :func:`describe_mask`: the parameters that a mask selects, as a table.
* :func:`dead_units`: units that are never active.
* :func:`activation_sparsity`: the share of inactive activations.
* :func:`unit_importance`: the increase of a loss without each unit.
* :func:`co_adaptation`: the mean correlation of units.
* :func:`effective_rank`: the number of directions that activations vary in.
* :func:`weight_scaling_gap`: one deterministic pass against the mean of many, a
  :class:`WeightScalingGap`.
* :func:`variance_shift`: the change of variance that BatchNorm after dropout sees.
"""

from jaxdrop.diagnostics._audit.audit import assert_active as assert_active
from jaxdrop.diagnostics._audit.audit import assert_inactive as assert_inactive
from jaxdrop.diagnostics._audit.audit import audit as audit
from jaxdrop.diagnostics._audit.report import Audit as Audit
from jaxdrop.diagnostics._audit.report import Finding as Finding
from jaxdrop.diagnostics._audit.report import Site as Site
from jaxdrop.diagnostics._description import describe_mask as describe_mask
from jaxdrop.diagnostics._redundancy import co_adaptation as co_adaptation
from jaxdrop.diagnostics._redundancy import effective_rank as effective_rank
from jaxdrop.diagnostics._shifts import WeightScalingGap as WeightScalingGap
from jaxdrop.diagnostics._shifts import variance_shift as variance_shift
from jaxdrop.diagnostics._shifts import weight_scaling_gap as weight_scaling_gap
from jaxdrop.diagnostics._units import activation_sparsity as activation_sparsity
from jaxdrop.diagnostics._units import dead_units as dead_units
from jaxdrop.diagnostics._units import unit_importance as unit_importance

__all__ = [
    "Audit",
    "Finding",
    "Site",
    "WeightScalingGap",
    "activation_sparsity",
    "assert_active",
    "assert_inactive",
    "audit",
    "co_adaptation",
    "dead_units",
    "describe_mask",
    "effective_rank",
    "unit_importance",
    "variance_shift",
    "weight_scaling_gap",
]


def __dir__() -> list[str]:
    return sorted(__all__)
