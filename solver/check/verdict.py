"""Every check of a plan, the limits among them, and what they come to."""

import math
from dataclasses import dataclass

from msgspec import Struct

from profiler.schema import Fleet
from solver.check.binding import binding_checks
from solver.check.caches import cache_checks
from solver.check.certificate import UNSEALED, certificate_checks, seal_checks
from solver.check.costs import Recomputed, recompute
from solver.check.finding import Check, close, reaches, within
from solver.check.kept import kept_checks
from solver.check.links import link_checks
from solver.check.own_limits import own_limit_checks
from solver.check.shape import shape_checks
from solver.plan import Plan, PredictedRound

__all__ = ["FIGURES", "ROUND_FIGURES", "Verdict", "check"]

FIGURES_S = ("time_s", "compute_s", "upload_s", "download_s", "wait_s", "cache_build_s")
FIGURES_BYTES = ("memory_bytes", "upload_bytes", "download_bytes", "storage_bytes")
FIGURES = (*FIGURES_S, *FIGURES_BYTES, "energy_j")
ROUND_FIGURES = (
    "utility",
    "round_time_s",
    "mean_wait_s",
    "upload_bytes",
    "download_bytes",
    "energy_j",
    "time_error_fraction",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the checker found.

    Attributes
    ----------
    checks : tuple of Check
        In the order in which they were made.
    notes : tuple of str
        What could not be checked, a line each.
    """

    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(c.ok for c in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(c for c in self.checks if not c.ok)


def check(plan: Plan, fleet: Fleet) -> Verdict:
    """Check a plan against the fleet it was made for.

    Parameters
    ----------
    plan : Plan
        Any plan that its schema allows, however wrong.
    fleet : Fleet
        Raw costs; everything is recomputed from them.

    Returns
    -------
    Verdict
        `ok` only if every constraint, figure and claim holds. If the plan is for a model
        of another number of layers, its figures cannot be recomputed: only the identity
        checks are made, and fail.
    """
    checks = shape_checks(plan, fleet)
    if plan.model.layers == fleet.model.layers:
        try:
            truth = recompute(plan, fleet)
            checks += cache_checks(plan, fleet)
            checks += _figures(plan, truth) + _limits(plan, fleet, truth)
            checks += own_limit_checks(fleet, truth)
            checks += link_checks(plan, truth.links)
            checks += binding_checks(plan, fleet, truth)
            checks += certificate_checks(plan, truth)
        except OverflowError:
            checks.append(
                Check(name="numbers", ok=False, detail="a figure is too large for a float")
            )
    checks += kept_checks(plan) + seal_checks(plan)
    notes = (UNSEALED,) if plan.certificate.seal_sha256 is None else ()
    return Verdict(checks=tuple(checks), notes=notes)


def _figures(plan: Plan, truth: Recomputed) -> list[Check]:
    devices = [_device_figure(plan, truth, field) for field in FIGURES]
    return devices + [_round_figure(plan, truth.round, field) for field in ROUND_FIGURES]


def _device_figure(plan: Plan, truth: Recomputed, field: str) -> Check:
    """One predicted figure over all devices; reports the one that is furthest off."""
    wrong: list[tuple[float, str, float, float]] = []
    for device in plan.devices:
        real = truth.devices.get(device.name)
        if device.predicted is None or real is None:
            continue  # whether the right devices take part is another check
        seen, expected = _pair(device.predicted, real, field)
        if not close(seen, expected, _scale(field, truth.round)):
            wrong.append((_error(seen, expected), device.name, seen, expected))
    name = f"devices.predicted.{field}"
    if not wrong:
        return Check(name=name, ok=True, detail=f"{len(truth.devices)} recomputed")
    _, worst, seen, expected = max(wrong)
    detail = f"{len(wrong)} of {len(plan.devices)} devices wrong, most of all '{worst}'"
    return Check(name=name, ok=False, seen=seen, expected=expected, detail=detail)


def _round_figure(plan: Plan, truth: PredictedRound, field: str) -> Check:
    seen, expected = _pair(plan.predicted, truth, field)
    ok = close(seen, expected, _scale(field, truth))
    return Check(name=f"predicted.{field}", ok=ok, seen=seen, expected=expected)


def _pair(claimed: Struct, real: Struct, field: str) -> tuple[float, float]:
    return float(getattr(claimed, field)), float(getattr(real, field))


def _scale(field: str, truth: PredictedRound) -> float:
    """Return the scale of rounding: waits are differences of round times."""
    return truth.round_time_s if field in {"wait_s", "mean_wait_s"} else 0.0


def _error(seen: float, expected: float) -> float:
    if not (math.isfinite(seen) and math.isfinite(expected)):
        return math.inf
    return abs(seen - expected) / max(abs(expected), abs(seen))


def _limits(plan: Plan, fleet: Fleet, truth: Recomputed) -> list[Check]:
    """Every budget on the recomputed figures, and the memory of every device."""
    budgets = plan.question.budgets
    whole = {
        "round_time_s": truth.round.round_time_s,
        "mean_wait_s": truth.round.mean_wait_s,
        "rank_budget": float(sum(plan.ranks)),
    }
    checks = [
        within(f"budgets.{name}", seen, limit, scale=_scale(name, truth.round))
        for name, seen in whole.items()
        if (limit := getattr(budgets, name)) is not None
    ]
    floor = plan.question.min_utility
    if floor is not None:
        checks.append(reaches("question.min_utility", truth.round.utility, floor))
    for name in ("upload_bytes", "download_bytes", "energy_j"):
        limit = getattr(budgets, name)
        if limit is not None:
            checks.append(_each_within(f"budgets.{name}", truth, name, float(limit)))
    return [*checks, _memory(fleet, truth)]


def _each_within(name: str, truth: Recomputed, field: str, limit: float) -> Check:
    costs = [(getattr(p, field), device) for device, p in truth.devices.items()]
    seen, worst = max(costs, default=(0.0, ""))
    return within(name, seen, limit, f"largest: '{worst}'" if worst else "")


def _memory(fleet: Fleet, truth: Recomputed) -> Check:
    over = [
        (truth.devices[d.name].memory_bytes, float(d.memory_bytes), d.name)
        for d in fleet.devices
        if d.memory_bytes > 0
        and d.name in truth.devices
        and not within("", truth.devices[d.name].memory_bytes, d.memory_bytes).ok
    ]
    if not over:
        return Check(name="devices.memory", ok=True, detail="every device within its memory")
    seen, limit, worst = max(over, key=lambda item: item[0] / item[1])
    detail = f"{len(over)} devices over their memory, most of all '{worst}'"
    return Check(name="devices.memory", ok=False, seen=seen, expected=limit, detail=detail)
