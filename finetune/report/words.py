"""Figures and findings in words and units for people."""

from collections.abc import Sequence
from typing import NamedTuple

from solver.plan import Plan

__all__ = [
    "TimeUnit",
    "amount",
    "certificate",
    "count",
    "energy",
    "percent",
    "printable",
    "seconds",
    "seconds_alike",
    "thousands",
    "time_unit",
    "title",
]

THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"


class TimeUnit(NamedTuple):
    """A unit of time: its length, its names, and from which times on it is used."""

    seconds: float
    name: str
    symbol: str
    from_s: float


SECOND = TimeUnit(1.0, "seconds", "s", 0.0)
TIME_UNITS = (
    TimeUnit(86400.0, "days", "d", 3 * 86400.0),
    TimeUnit(3600.0, "hours", "h", 3 * 3600.0),
    TimeUnit(60.0, "minutes", "min", 600.0),
)
BYTE_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
ENERGY_UNITS = ((1e6, "MJ"), (1e3, "kJ"))


def seconds(value: float) -> str:
    """Write a time, as '29.9 s', '20.2 min' or '5.00 h'."""
    return seconds_alike([value])[0]


def seconds_alike(values: Sequence[float]) -> list[str]:
    """Write the times of a column, all in the unit of the shortest."""
    unit = time_unit(min(values, default=0.0))
    return [f"{_digits(value / unit.seconds)} {unit.symbol}" for value in values]


def amount(value: float) -> str:
    """Write bytes with a decimal prefix, as '1.94 GB'."""
    for size, unit in BYTE_UNITS:
        if abs(value) >= size:
            return f"{_digits(value / size)} {unit}"
    return f"{value:.0f} B"


def energy(value_j: float) -> str:
    """Write joules, as '23.2 kJ'; '–' where unknown."""
    if value_j == 0:
        return "–"
    size, unit = next(((s, u) for s, u in ENERGY_UNITS if value_j >= s), (1.0, "J"))
    return f"{_digits(value_j / size)} {unit}"


def percent(fraction: float) -> str:
    """Write a share, as '3.44 %'."""
    return f"{_digits(100 * fraction)} %"


def time_unit(time_s: float) -> TimeUnit:
    """Unit that suits a time, or an axis of this length."""
    return next((unit for unit in TIME_UNITS if time_s >= unit.from_s), SECOND)


def count(number: int, one: str, many: str = "") -> str:
    """Write '1 device', '80 devices'."""
    return f"{thousands(number)} {one if number == 1 else many or one + 's'}"


def thousands(number: int) -> str:
    """Write a whole number with thin spaces, as '1 600'."""
    return f"{number:,}".replace(",", THIN_SPACE)


def _digits(value: float) -> str:
    """Three significant digits, all of the whole part, thin spaces between thousands."""
    places = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{places}f}".replace(",", THIN_SPACE)


def printable(text: str, most: int | None = None) -> str:
    """Replace what is not printable, and cut to `most` characters."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return clean if most is None or len(clean) <= most else clean[: most - 1] + "…"


def title(plan: Plan) -> str:
    """Name the plan by its model, fleet and policy."""
    devices = count(sum(d.count for d in plan.devices), "device")
    return f"{printable(plan.model.name, 60)} on {devices}"


def certificate(plan: Plan) -> str:
    """Say in one sentence how good the plan provably is."""
    proof, objective = plan.certificate, plan.question.objective
    what = {"time": "round time", "efficiency": "utility per second"}.get(objective, "utility")
    unit = " s" if objective == "time" else ""
    value, bound = f"{proof.value:.4g}{unit}", proof.bound
    if bound is None:
        return f"Its {what} is {value}; how much better another plan could be is not proven."
    better = "lower" if objective == "time" else "higher"
    if proof.status == "optimal":
        return f"Proven optimal: no plan for this question has a {better} {what} than {value}."
    gap = f"{100 * (proof.gap_fraction or 0.0):.3g}{THIN_SPACE}%"
    return (
        f"Its {what} is {value}; no plan for this question has one {better} than "
        f"{bound:.4g}{unit}, so at most {gap} is given away."
    )
