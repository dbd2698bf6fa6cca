"""What holds and what does not: missed targets first, with their reason, then the met ones."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from benchmarks.registry import find
from benchmarks.result import Figure, Result
from benchmarks.words import number, quantity

__all__ = ["render_verdicts", "title"]

# Settings that meet a target are named up to here, and summed up beyond; missed ones always.
NAMED = 2

Targets = list[list[Figure]]


def render_verdicts(results: Sequence[Result], names: Sequence[str] = ()) -> str:
    """Missed targets by case, as Markdown; cases of `names` without a result are named too."""
    by_case = [(result, _targets(result)) for result in results]
    missed = [(r, targets) for r, targets in by_case if not all(map(_holds, targets))]
    every = [target for _, targets in by_case for target in targets]
    measured = {result.case for result in results}
    absent = ", ".join(name for name in names if name not in measured)
    lines = [f"**{sum(map(_holds, every))} of {len(every)} targets are met.**"]
    if absent:
        lines += ["", f"Without a result on file: {absent}."]
    for result, targets in missed:
        lines += ["", *_missed(result, targets)]
    whole = [(r, targets) for r, targets in by_case if targets and all(map(_holds, targets))]
    if whole:
        cases = ", ".join(f"{_link(r)} ({len(targets)})" for r, targets in whole)
        lines += ["", f"All targets are met (how many there are) in {cases}."]
    return "\n".join(lines)


def title(result: Result) -> str:
    """Heading of a case on the page."""
    return f"{result.case}{' (quick)' if result.quick else ''}"


def _link(result: Result) -> str:
    name = title(result)
    return f"[{name}](#{name.translate({ord(c): None for c in '()'}).replace(' ', '-')})"


def _missed(result: Result, targets: Targets) -> Iterator[str]:
    short = [target for target in targets if not _holds(target)]
    why = find(result.case).shortfall
    count = f"{len(targets) - len(short)} of {len(targets)} met"
    yield f"**{_link(result)}**: {count}. {why}".rstrip()
    yield ""
    for figures in short:
        yield f"- {_goal(figures[0])}: {_measured(figures)}"


def _goal(first: Figure) -> str:
    assert first.target is not None
    sign = {"low": "≤", "high": "≥"}[first.better]
    worst = " at worst" if first.judged == "worst" else ""
    return f"{first.name} {sign} {quantity(first.target, first.unit)}{worst}"


def _targets(result: Result) -> Targets:
    """Figures that are held against the same target, by name and target."""
    found = defaultdict[tuple[object, ...], list[Figure]](list)
    for one in result.figures:
        if one.target is not None:
            found[one.name, one.target, one.better, one.judged].append(one)
    return list(found.values())


def _holds(target: list[Figure]) -> bool:
    return all(one.met for one in target)


def _measured(figures: list[Figure]) -> str:
    missed = [one for one in figures if not one.met]
    met = [one for one in figures if one.met]
    return _one_by_one(missed) + (f"; met: {_in_short(met)}" if met else "")


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
