"""What a network does, in numbers: its units, its layers, its masks."""

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
