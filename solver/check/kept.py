"""Whether what a plan says of an earlier one agrees with the plan itself.

The earlier plan is not at hand, so which devices are as they were there is not looked at; what
staying loses is the certificate's gap, which is.
"""

from msgspec import UNSET

from solver.check.finding import TOLERANCE, Check
from solver.plan import Kept, Plan

__all__ = ["kept_checks"]


def kept_checks(plan: Plan) -> list[Check]:
    """Check the decision against the loss, and the devices against those that take part."""
    kept = plan.kept
    if kept is UNSET:
        return []
    expected = _expected(kept)
    gap, loss = plan.certificate.gap_fraction, kept.loss_fraction
    stays = kept.decision != "new"
    same = loss is not None and gap is not None and abs(loss - gap) <= TOLERANCE
    part = sum(d.count for d in plan.devices if d.configuration is not None)
    counted = kept.same + kept.less + kept.added
    return [
        Check(
            name="kept.decision",
            ok=kept.decision == expected,
            seen=kept.decision,
            expected=expected,
        ),
        Check(
            name="kept.loss_fraction",
            ok=same or not stays,
            seen=loss,
            expected=gap if stays else loss,
            detail="the gap of a plan that stays" if stays else "",
        ),
        Check(
            name="kept.devices",
            ok=counted == (part if stays else 0),
            seen=float(counted),
            expected=float(part if stays else 0),
        ),
    ]


def _expected(kept: Kept) -> str:
    """The decision that goes with a loss."""
    if kept.loss_fraction is None:
        return "new"
    if kept.loss_fraction <= kept.within_fraction + TOLERANCE:
        return "kept"
    # Nothing better was found, or it was: the plan itself does not say.
    return "best" if kept.decision == "best" else "new"
