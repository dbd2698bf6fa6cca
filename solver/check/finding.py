"""One finding of the checker, and what it counts as equal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was checked.

    Attributes
    ----------
    name : str
        Field of the plan it is about, such as ``predicted.round_time_s``.
    ok : bool
        Whether it holds.
    seen, expected : float, str or None
        What the plan says and what it should say; for a limit, the figure and the limit.
    detail : str
        The worst device, how many are wrong, or what was compared.
    """

    name: str
    ok: bool
    seen: float | str | None = None
    expected: float | str | None = None
    detail: str = ""


def close(seen: float, expected: float, scale: float = 0.0) -> bool:
    """Equal but for rounding: within 1e-9 of the larger of the two and of `scale`."""
    if not (math.isfinite(seen) and math.isfinite(expected)):
        return False
    return abs(seen - expected) <= TOLERANCE * max(abs(seen), abs(expected), abs(scale))


def within(name: str, seen: float, limit: float, detail: str = "", scale: float = 0.0) -> Check:
    """Check that `seen` does not pass `limit`, but for rounding at the scale of either."""
    slack = TOLERANCE * max(abs(limit), abs(scale))
    ok = math.isfinite(seen) and seen <= limit + slack
    return Check(name=name, ok=ok, seen=seen, expected=limit, detail=detail)


def reaches(name: str, seen: float, floor: float) -> Check:
    """Check that `seen` does not fall short of `floor`, but for rounding."""
    ok = math.isfinite(seen) and seen >= floor - TOLERANCE * abs(floor)
    return Check(name=name, ok=ok, seen=seen, expected=floor)


def verdict(name: str, wrong: Sequence[tuple[str, object, object]]) -> Check:
    """Turn a list of (owner, seen, expected) that are wrong into a check."""
    if not wrong:
        return Check(name=name, ok=True)
    owner, seen, expected = wrong[0]
    detail = f"{len(wrong)} wrong, first '{owner}'"
    return Check(name=name, ok=False, seen=str(seen), expected=str(expected), detail=detail)
