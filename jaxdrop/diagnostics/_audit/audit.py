"""Auditing a forward pass."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from jaxdrop import _masks
from jaxdrop._errors import named
from jaxdrop.diagnostics._audit.draws import UNKNOWN, Draw
from jaxdrop.diagnostics._audit.findings import findings
from jaxdrop.diagnostics._audit.frameworks import Visit
from jaxdrop.diagnostics._audit.places import PROGRAM, marker, name_in
from jaxdrop.diagnostics._audit.report import Audit, Site
from jaxdrop.diagnostics._audit.tracing import Traced, traced
from jaxdrop.diagnostics._audit.values import Value
from jaxdrop.diagnostics._audit.walk import Walk

_EVALUATING = {
    **dict.fromkeys(("deterministic", "eval", "inference"), True),
    **dict.fromkeys(("is_training", "train", "training"), False),
}


@named
def audit(fn_or_model: Any, /, *args: Any, **kwargs: Any) -> Audit:
    """Lists every place where a forward pass draws random numbers, and likely mistakes.

    The call is traced, not run. Draws are found in the traced program: functions
    and modules of jaxdrop, Flax's own modules, and calls of ``jax.random``, in any
    framework, under any transformation. Stochastic modules of Flax that are called and
    draw nothing, in evaluation or at a rate of 0, are listed as well. Findings follow
    the data through the program: from the input of a mask to the users of its output.

    It is meant for a forward pass. Programs with gradients are read too, but there
    findings about order may be missing, or refer to the backward pass.

    ======================  ============================================================
    finding                 meaning
    ======================  ============================================================
    ``"batch norm"``        noise that is followed by a batch normalization
    ``"output"``            an output that is dropped itself
    ``"convolution"``       single entries of a feature map are dropped
    ``"selu"``              dropout that is not alpha dropout, right after SELU
    ``"recurrent"``         a fresh mask for a recurrent state at every step
    ``"heads"``             one mask for all heads of an attention layer
    ``"unused"``            a site that the result does not depend on
    ``"rate 0"``            a rate of 0
    ``"high rate"``         a rate of 0.9 or more
    ``"same key"``          sites that draw with one key
    ``"frozen"``            a key that depends on no argument
    ``"lost stream"``       a stream of keys of NNX that is the same in the next call
    ``"frozen in loop"``    a key that is the same at each step of a loop
    ``"evaluation"``        a site that draws while others are in evaluation
    ``"no dropout"``        a training step with everything in evaluation
    ``"whole batch"``       a mask or block that spans examples of three-axis data
    ``"unknown"``           a primitive that may draw in a way the audit cannot read
    ======================  ============================================================

    Args:
      fn_or_model: a function, jitted or not; a ``flax.nnx.Module``; a module of Linen,
        which is called as ``module.apply(*args, **kwargs)``; or any callable pytree,
        such as a module of Equinox. Models among the arguments are watched as well.
      *args: its arguments. Arrays, or their shapes (``jax.ShapeDtypeStruct``), are
        traced; numbers and other objects are passed on unchanged. Pass keys here, since
        a key that the function closes over is reported as frozen.
      **kwargs: its keyword arguments, as ``args``.

    Returns:
      The sites and findings. ``print`` shows them as a table. Models are not changed:
      no stream of keys advances. A test that accepts some findings names them:
      ``assert audit(model, x).kinds <= {"convolution"}``.

    Raises:
      TypeError: if the first argument is not a function or model, or a module of Linen
        is not given its variables.
      ValueError: if the function closes over an NNX model whose streams it advances.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> from jaxdrop import diagnostics
      >>> def network(key, kernel, x):
      ...     with jax.named_scope("hidden"):
      ...         x = jaxdrop.dropout(key, jax.nn.relu(x), rate=0.5)
      ...     return x @ kernel
      >>> key, kernel, x = jax.random.key(0), jnp.ones((8, 3)), jnp.ones((4, 8))
      >>> print(diagnostics.audit(network, key, kernel, x))
      site    technique  rate  mask   mode     bits  bytes
      ----------------------------------------------------
      hidden  dropout     0.5  (4,8)  active  1,024     32
      1 active, 0 inactive; 1,024 random bits and 32 bytes of masks in a pass
      >>> def twice(key, kernel, x):
      ...     return network(key, kernel, jaxdrop.dropout(key, x, rate=0.2))
      >>> sorted(diagnostics.audit(twice, key, kernel, x).kinds)
      ['same key']
    """
    program = traced(fn_or_model, args, kwargs)
    walk, outputs = _walked(program)
    for value in outputs[: program.num_results]:
        for index in value.direct:
            walk.draws[index].faults.add("output")
    draws = _listed(walk.draws, frozenset().union(*(v.sites for v in outputs)))
    visits = {visit.module: visit for visit in program.visits}
    for draw in draws:
        if _name(draw) in visits and visits[_name(draw)].shares_heads:
            draw.faults.add("heads")
    drawing = [_site(draw, walk, visits) for draw in draws]
    seen = {_name(draw) for draw in draws}
    silent = [
        _silent(visit)
        for name, visit in visits.items()
        if name not in seen and not _is_drawn_within(visit, draws)
    ]
    sites = _told_apart([*drawing, *silent])
    in_evaluation = any(
        isinstance(kwargs.get(name), bool | np.bool_) and kwargs[name] == flag
        for name, flag in _EVALUATING.items()
    )
    found = findings(walk, sites, draws, in_evaluation=in_evaluation)
    return Audit(tuple(sites), found)


@named
def assert_active(fn_or_model: Any, /, *args: Any, **kwargs: Any) -> None:
    """Raises unless a forward pass drops: a test that training is regularized.

    Args:
      fn_or_model: see :func:`audit`.
      *args: see :func:`audit`.
      **kwargs: see :func:`audit`.

    Raises:
      AssertionError: if no site draws, one is in evaluation, or the result does not
        depend on one. A rate of 0 is allowed beside others. The message holds the
        table of :func:`audit`.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> from jaxdrop import diagnostics
      >>> drop = lambda key, x: jaxdrop.dropout(key, x, rate=0.5).sum()
      >>> diagnostics.assert_active(drop, jax.random.key(0), jnp.ones((4, 8)))
    """
    result = audit(fn_or_model, *args, **kwargs)
    if not result.active:
        raise AssertionError(f"no site draws.\n\n{result}")
    off = [site.name for site in result.sites if site.mode == "evaluation"]
    if off:
        names = ", ".join(off)
        raise AssertionError(f"{names} is in evaluation.\n\n{result}")
    if "unused" in result.kinds:
        raise AssertionError(f"the result does not depend on a site.\n\n{result}")


@named
def assert_inactive(fn_or_model: Any, /, *args: Any, **kwargs: Any) -> None:
    """Raises if a forward pass draws: a test that evaluation is deterministic.

    Args:
      fn_or_model: see :func:`audit`.
      *args: see :func:`audit`.
      **kwargs: see :func:`audit`.

    Raises:
      AssertionError: if a site draws, or it is unknown whether one does. The message
        holds the table of :func:`audit`.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> from jaxdrop import diagnostics
      >>> x = jnp.ones((4, 8))
      >>> predict = lambda x: jaxdrop.dropout(None, x, rate=0.5, deterministic=True)
      >>> diagnostics.assert_inactive(predict, x)
    """
    result = audit(fn_or_model, *args, **kwargs)
    if result.active:
        names = ", ".join(site.name for site in result.active)
        raise AssertionError(f"{names} draws.\n\n{result}")
    unknown = [site.name for site in result.sites if site.mode == UNKNOWN]
    if unknown:
        names = ", ".join(unknown)
        raise AssertionError(f"it is unknown whether {names} draws.\n\n{result}")


def _walked(program: Traced) -> tuple[Walk, list[Value]]:
    """Walks a program, twice where state of a stream of keys comes back unchanged.

    Then that state is the same in every call, and draws that depend on nothing else
    repeat themselves.
    """
    walk = Walk()
    outputs = walk.program(program.program, program.inputs)
    unchanged = {
        place
        for place, after in program.streams
        if all(outputs[i].number == walk.inputs[place].number for i in after)
    }
    if not unchanged:
        return walk, outputs
    again = Walk()
    outputs = again.program(program.program, program.inputs, unchanged)
    for before, after in zip(walk.draws.values(), again.draws.values(), strict=True):
        if PROGRAM in before.key.varies and PROGRAM not in after.key.varies:
            after.faults.add("lost stream")
    return again, outputs


def _listed(draws: dict[int, Draw], used: frozenset[int]) -> list[Draw]:
    """All draws, without those that are traced a second time and not used.

    Linen traces the body of a scan once more to find the values that do not change.
    """
    places = {i: (_name(d), d.source, d.function) for i, d in draws.items()}
    seen = {places[index] for index in used}
    for index, draw in draws.items():
        if index not in used:
            draw.faults.add("unused")
    return [d for i, d in draws.items() if i in used or places[i] not in seen]


def _site(draw: Draw, walk: Walk, visits: dict[str, Visit]) -> Site:
    """The row of the table for one draw."""
    name = _name(draw)
    visit = visits.get(name)
    technique = draw.function
    if draw.package == "jax.random":
        technique = f"jax.random.{technique}"
    if visit and (draw.package == "jax.random" or technique.startswith("prng.")):
        technique = visit.technique  # which draws by hand
    if draw.package == UNKNOWN:
        return Site(name, technique, None, None, UNKNOWN, draw.steps, 0, 0, draw.source)
    rate = draw.rate if draw.keep is None else _rate(walk, draw.keep.number)
    if rate == 0:  # by data that are known
        return Site(
            name, technique, rate, None, "rate 0", draw.steps, 0, 0, draw.source
        )
    return Site(
        name=name,
        technique=technique,
        rate=rate,
        mask_shape=draw.drawn.shape,
        mode="active",
        steps=draw.steps,
        random_bits=draw.drawn.bits * draw.steps,
        memory=draw.drawn.memory * draw.steps,
        source=draw.source,
    )


def _name(draw: Draw) -> str:
    return name_in(draw.scope, draw.source or draw.function)


def _rate(walk: Walk, number: int) -> float | tuple[float, ...] | None:
    """1 less the keep probability, without the digits that single precision adds."""
    keep = walk.numbers.evaluate(number)
    if keep is not None and keep.dtype == np.uint32:  # what bits are compared with
        keep = keep / np.float64(_masks.LEVELS)
    if keep is None or not ((keep >= 0) & (keep <= 1)).all():
        return None
    rates = tuple(
        float(f"{1 - entry:.6g}") for entry in np.ravel(np.asarray(keep, np.float64))
    )
    same = len(set(rates)) == 1
    return rates[0] if same else rates


def _is_drawn_within(visit: Visit, draws: list[Draw]) -> bool:
    """Whether the module to which an attention delegates draws in its call."""
    return visit.delegates and any(marker(visit.module) in d.scope for d in draws)


def _silent(visit: Visit) -> Site:
    rate = float(visit.rate) if isinstance(visit.rate, int | float) else None
    mode = "rate 0" if rate == 0 else "evaluation"
    return Site(visit.module, visit.technique, rate, None, mode, 1, 0, 0, "")


def _told_apart(sites: Iterable[Site]) -> list[Site]:
    """Numbers the sites of one name."""
    seen: Counter[str] = Counter()
    numbered = []
    for site in sites:
        seen[site.name] += 1
        count = seen[site.name]
        name = site.name if count == 1 else f"{site.name} ({count})"
        numbered.append(site._replace(name=name))
    return numbered
