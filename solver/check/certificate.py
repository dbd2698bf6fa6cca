"""Whether a plan's certificate is sound: with its figures, in itself, and of its question."""

import math

from solver.check.costs import Recomputed
from solver.check.finding import TOLERANCE, Check, close, within
from solver.plan import Certificate, Plan
from solver.seal import seal

__all__ = ["UNSEALED", "certificate_checks", "seal_checks"]

LARGEST_TOLERANCE = 1e-6
EDITED = (
    "the question or the certificate was edited since the plan was made, so bound, gap and "
    "status are not known to be of this question"
)
UNSEALED = (
    "the plan has no seal, as those of earlier versions have none, so it could not be checked "
    "that its bound, gap and status are of this question"
)


def certificate_checks(plan: Plan, truth: Recomputed) -> list[Check]:
    """Check that value, bound, gap and status agree with the plan and with each other."""
    certificate = plan.certificate
    tolerance = min(max(certificate.tolerance_fraction, TOLERANCE), LARGEST_TOLERANCE)
    value = _objective(plan.question.objective, truth)
    return [
        within(
            "certificate.tolerance_fraction", certificate.tolerance_fraction, LARGEST_TOLERANCE
        ),
        Check(
            name="certificate.value",
            ok=close(certificate.value, value),
            seen=certificate.value,
            expected=value,
            detail=f"objective '{plan.question.objective}'",
        ),
        _bound(plan, tolerance),
        _gap(certificate, tolerance),
        _status(certificate, tolerance),
    ]


def seal_checks(plan: Plan) -> list[Check]:
    """Check that the certificate is of this question, where it has a seal."""
    seen = plan.certificate.seal_sha256
    if seen is None:
        return []
    expected = seal(plan.question, plan.certificate)
    ok = seen == expected
    detail = "" if ok else EDITED
    name = "certificate.seal_sha256"
    return [Check(name=name, ok=ok, seen=seen, expected=expected, detail=detail)]


def _objective(objective: str, truth: Recomputed) -> float:
    if objective == "legend":
        return truth.mean_depth
    if objective == "time":
        return truth.round.round_time_s
    if objective == "efficiency":
        seconds = truth.round.round_time_s
        return truth.round.utility / seconds if seconds > 0 else 0.0
    return truth.round.utility


def _bound(plan: Plan, tolerance: float) -> Check:
    """Check that the bound is above the value, or below it where that is minimised."""
    name, value, bound = "certificate.bound", plan.certificate.value, plan.certificate.bound
    if bound is None:
        return Check(name=name, ok=True, detail="no bound is claimed")
    excess = bound - value if plan.question.objective == "time" else value - bound
    return Check(
        name=name,
        ok=math.isfinite(bound) and excess <= tolerance * max(abs(value), abs(bound)),
        seen=value,
        expected=bound,
        detail="value must not pass its bound",
    )


def _gap(certificate: Certificate, tolerance: float) -> Check:
    """``|bound - value| / |bound|``, and none without a bound."""
    name, seen = "certificate.gap_fraction", certificate.gap_fraction
    expected = _gap_fraction(certificate)
    if expected is None or seen is None:
        ok = expected is None and seen is None
        return Check(name=name, ok=ok, seen=seen, expected=expected)
    return Check(name=name, ok=abs(seen - expected) <= tolerance, seen=seen, expected=expected)


def _gap_fraction(certificate: Certificate) -> float | None:
    bound, value = certificate.bound, certificate.value
    if bound is None:
        return None
    if bound == value:
        return 0.0
    return abs(bound - value) / max(abs(bound), abs(value))


def _status(certificate: Certificate, tolerance: float) -> Check:
    """`optimal` and `gap_reached` need a bound; a plan that exists is not `infeasible`."""
    status, gap = certificate.status, _gap_fraction(certificate)
    sound = {
        "optimal": gap is not None and gap <= tolerance,
        "gap_reached": gap is not None and math.isfinite(gap),
        "feasible": True,
        "unknown": True,
        "infeasible": False,
    }[status]
    needs = {"optimal": "a bound equal to the value", "gap_reached": "a bound"}
    expected = needs.get(status, "a status that a plan can have")
    return Check(
        name="certificate.status",
        ok=sound,
        seen=status,
        expected=expected,
        detail="" if gap is None else f"gap {gap:.3g}",
    )
