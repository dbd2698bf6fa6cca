"""What the solver's commands answered: the frontier and the comparison, read from their JSON.

`legend frontier --json` and `legend compare --json` are contracts between programs: the fields
used here are checked, others are let through, since each side may grow.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from profiler.schema import refuse_repeated_keys
from solver.plan import InputError, Plan, read_bytes

__all__ = [
    "Asked",
    "Cost",
    "FrontierPoint",
    "Policy",
    "decode_frontier",
    "decode_policies",
    "is_planned",
    "read_frontier",
    "read_policies",
]

T = TypeVar("T")


class FrontierPoint(Struct, frozen=True, kw_only=True):
    """The best plan within a round time; one element of ``legend frontier --json``.

    Attributes
    ----------
    round_time_s, mean_wait_s : float
        Realised.
    utility, mean_depth : float
    gap_fraction : float
        Of the utility, to what is possible at most.
    """

    round_time_s: float
    utility: float
    gap_fraction: float = 0.0
    mean_depth: float
    mean_wait_s: float


class Cost(Struct, frozen=True, kw_only=True):
    """What a round of a policy's plan costs; bytes and joules of all devices."""

    utility: float
    round_time_s: float
    mean_wait_s: float
    upload_bytes: float
    download_bytes: float
    energy_j: float


class Asked(Struct, frozen=True, kw_only=True):
    """What tells one row of a comparison from another."""

    policy: str
    structure: str = "shared"


class Policy(Struct, frozen=True, kw_only=True):
    """One element of ``legend compare --json``.

    Attributes
    ----------
    policy : str
        Name of the row.
    gap_fraction : float or None
        Utility given away against ranks of their own for every device.
    reason : str
        Why there is no plan, or no gap; '' if there is nothing to say.
    predicted, question : Cost and Asked, or None
        None without a plan.
    """

    policy: str
    gap_fraction: float | None = None
    reason: str = ""
    predicted: Cost | None = None
    question: Asked | None = None


def read_frontier(path: Path) -> list[FrontierPoint]:
    """Read what ``legend frontier --json`` printed; raises `InputError`."""
    return decode_frontier(read_bytes(path), str(path))


def read_policies(path: Path) -> list[Policy]:
    """Read what ``legend compare --json`` printed; raises `InputError`."""
    return decode_policies(read_bytes(path), str(path))


def decode_frontier(data: bytes, name: str) -> list[FrontierPoint]:
    """Parse a frontier, shortest round first; raises `InputError`."""
    points = _decode(data, name, FrontierPoint, "legend frontier --json")
    return sorted(points, key=lambda p: p.round_time_s)


def decode_policies(data: bytes, name: str) -> list[Policy]:
    """Parse a comparison; raises `InputError`."""
    return _decode(data, name, Policy, "legend compare --json")


def is_planned(policy: Policy, plan: Plan) -> bool:
    """Whether a row of the comparison is the plan's own policy."""
    asked = policy.question
    return asked is not None and (asked.policy, asked.structure) == (
        plan.question.policy,
        plan.question.structure,
    )


def _decode(data: bytes, name: str, kind: type[T], command: str) -> list[T]:
    try:
        found = msgspec.json.decode(data, type=list[kind])  # type: ignore[valid-type]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{name}: {error}; expected what '{command}' prints") from None
    refuse_repeated_keys(data, name)
    if not found:
        raise InputError(f"{name}: is an empty list; expected what '{command}' prints")
    _check_numbers(found, name, command)
    return list(found)


def _check_numbers(found: Sequence[object], name: str, command: str) -> None:
    """Refuse what cannot be drawn: every figure is finite and not below 0."""
    for row in found:
        cost = row.predicted if isinstance(row, Policy) else row
        for field, value in msgspec.structs.asdict(cost).items() if cost else ():  # type: ignore[arg-type]
            if not (0 <= value < 1e300 and math.isfinite(value)):
                raise InputError(
                    f"{name}: {field} is {value}; expected 0 or more and finite, as "
                    f"'{command}' prints"
                )
