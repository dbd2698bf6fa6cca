"""What holds and what does not: every target with its figures, missed ones first."""

from collections import defaultdict
from collections.abc import Sequence

from benchmarks.result import Figure, Result
from benchmarks.words import number, quantity

__all__ = ["render_verdicts"]

# Settings that meet a target are named up to here, and summed up beyond; missed ones always.
NAMED = 2

Target = tuple[Result, list[Figure]]


def render_verdicts(results: Sequence[Result], names: Sequence[str] = ()) -> str:
    """One line a target, as Markdown; cases of `names` without a result are named too."""
    targets = [target for result in results for target in _targets(result)]
    missed = [target for target in targets if not _holds(target)]
    met = [target for target in targets if _holds(target)]
    measured = {result.case for result in results}
    absent = ", ".join(name for name in names if name not in measured)
    count = f"{len(targets)} targets: **{len(missed)} missed**, {len(met)} met."
    return "\n".join(
        [
            count + (f" Without a result on file: {absent}." if absent else ""),
            "",
            *_table("**missed**", missed),
            "",
            *_table("met", met),
        ]
    )


def _targets(result: Result) -> list[Target]:
    """Figures that are held against the same target, by name and target."""
    found = defaultdict[tuple[object, ...], list[Figure]](list)
    for one in result.figures:
        if one.target is not None:
            found[one.name, one.target, one.better, one.judged].append(one)
    return [(result, figures) for figures in found.values()]


def _holds(target: Target) -> bool:
    return all(one.met for one in target[1])


def _table(verdict: str, targets: Sequence[Target]) -> list[str]:
    if not targets:
        return []
    head = [f"| {verdict} | target | what was measured |", "|---|---|---|"]
    return [*head, *(_line(*target) for target in targets)]


def _line(result: Result, figures: list[Figure]) -> str:
    first = figures[0]
    assert first.target is not None
    name = f"{result.case}{' (quick)' if result.quick else ''}"
    sign = {"low": "≤", "high": "≥"}[first.better]
    goal = f"{first.name} {sign} {quantity(first.target, first.unit)}"
    if first.judged == "worst":
        goal += " at worst"
    anchor = name.translate({ord(c): None for c in "()"}).replace(" ", "-")
    return f"| [{name}](#{anchor}) | {goal} | {_measured(figures)} |"


def _measured(figures: list[Figure]) -> str:
    missed = [one for one in figures if not one.met]
    met = [one for one in figures if one.met]
    if not missed:
        return _in_short(met)
    if not met:
        return _one_by_one(missed)
    counts = f"missed in {len(missed)} of {len(figures)}"
    return f"{counts}: {_one_by_one(missed)}; met: {_in_short(met)}"


def _one_by_one(figures: list[Figure]) -> str:
    return "; ".join(
        quantity(judged(one), one.unit) + (f" ({one.setting})" if one.setting else "")
        for one in figures
    )


def _in_short(figures: list[Figure]) -> str:
    """Judged values with their settings, or their range where they are many."""
    if len(figures) <= NAMED:
        return _one_by_one(figures)
    values = sorted(judged(one) for one in figures)
    ends = list(dict.fromkeys(number(value) for value in (values[0], values[-1])))
    unit = "" if figures[0].unit == "1" else f" {figures[0].unit}"
    return f"{' to '.join(ends)}{unit} in {len(figures)} settings"


def judged(one: Figure) -> float:
    """What is held against the target."""
    if one.judged == "median":
        return one.median
    return one.highest if one.better == "low" else one.lowest
