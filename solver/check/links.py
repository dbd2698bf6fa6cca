"""The links that devices share, worked out again from the fleet's list of links.

Every device that takes part sends and receives over its own link and every link above it.
Plain sums, link by link, and no line in common with the solvers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from profiler.schema import Fleet
from solver.check.finding import Check, close, within
from solver.plan import Plan, PredictedDevice

__all__ = ["LinkTraffic", "link_checks", "link_traffic"]

FIGURES = ("busy_s", "upload_bytes", "download_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTraffic:
    """What a round costs one link: bytes each way, and the seconds that takes it."""

    busy_s: float
    upload_bytes: float
    download_bytes: float


def link_traffic(
    fleet: Fleet, devices: Mapping[str, PredictedDevice]
) -> dict[str, LinkTraffic]:
    """Recompute every link of a fleet for the devices that take part.

    Parameters
    ----------
    fleet : Fleet
    devices : mapping of str to PredictedDevice
        Recomputed figures by device name.

    Returns
    -------
    dict of str to LinkTraffic
        Empty where no device of the fleet is behind a link.
    """
    if not any(device.link for device in fleet.devices):
        return {}
    parents = {link.name: link.parent for link in fleet.links}
    sent: dict[str, list[float]] = {name: [] for name in parents}
    received: dict[str, list[float]] = {name: [] for name in parents}
    for device in fleet.devices:
        own = devices.get(device.name)
        at = device.link if own is not None else ""
        while at and own is not None:
            sent[at].append(device.count * own.upload_bytes)
            received[at].append(device.count * own.download_bytes)
            at = parents[at]
    found = {}
    for link in fleet.links:
        up, down = math.fsum(sent[link.name]), math.fsum(received[link.name])
        found[link.name] = LinkTraffic(
            busy_s=up / link.uplink_bytes_per_s + down / link.downlink_bytes_per_s,
            upload_bytes=up,
            download_bytes=down,
        )
    return found


def link_checks(plan: Plan, truth: Mapping[str, LinkTraffic]) -> list[Check]:
    """Check the figures of every link, and that none outlasts the round-time budget.

    Parameters
    ----------
    plan : Plan
    truth : mapping of str to LinkTraffic
        From `link_traffic`.
    """
    if not truth and not plan.links:
        return []
    names = [link.name for link in plan.links]
    same = sorted(names) == sorted(truth)
    checks = [
        Check(
            name="links",
            ok=same,
            seen=float(len(names)),
            expected=float(len(truth)),
            detail="the links of the fleet, each once",
        )
    ]
    checks += [_figure(plan, truth, field) for field in FIGURES]
    limit_s = plan.question.budgets.round_time_s
    if limit_s is not None and truth:
        worst = max(truth, key=lambda name: truth[name].busy_s)
        detail = f"busiest: '{worst}'"
        checks.append(within("links.budget", truth[worst].busy_s, limit_s, detail))
    return checks


def _figure(plan: Plan, truth: Mapping[str, LinkTraffic], field: str) -> Check:
    """One figure over all links; reports the first that is wrong."""
    name = f"links.{field}"
    for link in plan.links:
        real = truth.get(link.name)
        if real is None:
            continue  # whether the right links are there is another check
        seen, expected = float(getattr(link, field)), float(getattr(real, field))
        if not close(seen, expected):
            return Check(name=name, ok=False, seen=seen, expected=expected, detail=link.name)
    return Check(name=name, ok=True, detail=f"{len(truth)} recomputed")
