"""The cheapest change that makes an infeasible problem feasible.

One thing is changed at a time: a budget raised to the least that will do, the least depth
lowered, or the devices left out that cannot take part. Each change is tried before it is
named, rounded as it is printed. Cheap is what changes by the smallest share: of a budget's
value, of the layers, or of the devices' weight.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from msgspec.structs import replace as replace_fields

from solver import own
from solver.allocation import Allocation, cost, mean_wait_s, utility
from solver.costs.devices import Floats
from solver.costs.limited import OWN
from solver.costs.resource import TOLERANCE
from solver.errors import Infeasible, Stopped
from solver.exact import maximise_utility
from solver.explain.infeasible import without_plan
from solver.least import least_allocation, least_round_time_s
from solver.leave_out import without_unable
from solver.links.said import overloaded
from solver.problem import Problem
from solver.show.figures import friendly, rounded
from solver.wait import capped
from solver.wait.limit import limit_wait

# Budgets on every device, by field: resource and unit.
_BUDGETS = {
    "upload_bytes": ("upload", "bytes"),
    "download_bytes": ("download", "bytes"),
    "energy_j": ("energy", "J"),
}
# More than any device needs, and yet a limit.
_PLENTY = 1e30
_HALVINGS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """One change.

    Parameters
    ----------
    text : str
        Such as 'a round time of 7.2 s instead of 5 s'.
    share : float
        How large it is, relatively.
    problem : Problem
        The problem so changed; it has a plan.
    """

    text: str
    share: float
    problem: Problem


def explained(problem: Problem, error: Infeasible) -> Infeasible:
    """Add the cheapest repair to what is said of a problem without a plan."""
    found = repairs(problem)
    if not found:
        return error
    cheapest = f"Cheapest repair: {found[0].text}."
    said, reason = error.repair, error.reason
    if "mean wait" in found[0].text:
        # One mean wait is enough: the smaller one.
        said, reason = "", reason.removesuffix(f" {said}")
    return Infeasible(
        reason=f"{reason} {cheapest}",
        shortfalls=error.shortfalls,
        least_round_time_s=error.least_round_time_s,
        repair=f"{said} {cheapest}".strip(),
        proven=error.proven,
    )


def repairs(problem: Problem) -> list[Repair]:
    """Every single change that makes a plan possible, cheapest first."""
    every = (
        *_round_time(problem),
        *_device_budgets(problem),
        *_own_limits(problem),
        *_rank_budget(problem),
        *_mean_wait(problem),
        *_min_depth(problem),
        *_leaving_out(problem),
    )
    return sorted(every, key=lambda repair: repair.share)


def _round_time(problem: Problem) -> Iterator[Repair]:
    limit_s = problem.question.budgets.round_time_s
    need_s = None if limit_s is None else least_round_time_s(problem)
    if limit_s is not None and need_s is not None and need_s > limit_s:
        text = rounded(need_s, up=True)
        mended = problem.under(round_time_s=float(text))
        yield from _kept(mended, f"a round time of {text} s instead of {limit_s:.6g} s",
                         need_s, limit_s)  # fmt: skip


def _device_budgets(problem: Problem) -> Iterator[Repair]:
    for field, (name, unit) in _BUDGETS.items():
        limit = getattr(problem.question.budgets, field)
        if limit is None:
            continue
        patient = problem.under(**{field: _PLENTY})
        least = least_allocation(patient)
        if not least.taking_part.all():
            continue
        need = max(
            float(cost(patient.costs, q, least.rows, least.row, least.depth).max())
            for q in patient.costs.resources
            if q.name == name
        )
        if need > limit:
            need = float(rounded(need, up=True))
            # All five digits: with fewer, what is printed may not do.
            text = f"{name} of {friendly(need, unit, 5)} instead of {friendly(limit, unit, 5)}"
            yield from _kept(problem.under(**{field: need}), text, need, limit)


def _own_limits(problem: Problem) -> Iterator[Repair]:
    """One kind of limits of devices' own raised, of those that need it, to the most of them."""
    devices = problem.costs.devices
    for q in problem.costs.resources:
        if q.name not in OWN:
            continue
        kind, limit = OWN[q.name], q.limit
        patient = _with_limit(problem, kind.field, None)
        least = least_allocation(patient)
        if not least.taking_part.all():
            continue
        need = cost(problem.costs, q, least.rows, least.row, least.depth)
        short = need > limit * (1 + TOLERANCE)
        if not short.any():
            continue
        most = float(rounded(float(need[short].max()), up=True))
        raised = np.where(short, np.maximum(limit, most), limit)
        mended = _with_limit(problem, kind.field, raised)
        first, count = devices.names[int(short.argmax())], int(devices.count[short].sum())
        whose = f"of {first}" if short.sum() == 1 else f"of {count} devices"
        lowest = float(limit[short].min())
        text = (
            f"{q.name} {whose} of {friendly(most, kind.unit, 5)} instead of "
            f"{friendly(lowest, kind.unit, 5)}"
        )
        yield from _kept(mended, text, most, lowest)


def _with_limit(problem: Problem, field: str, limit: Floats | None) -> Problem:
    """The problem with other limits of its devices' own."""
    column: dict[str, Any] = {field: limit}
    devices = replace(problem.costs.devices, **column)
    return replace(problem, costs=replace(problem.costs, devices=devices)).under()


def _rank_budget(problem: Problem) -> Iterator[Repair]:
    limit, least = problem.question.budgets.rank_budget, least_allocation(problem)
    if limit is not None and least.taking_part.all():
        need = int(least.rows[0, : int(least.depth.max())].sum())
        if need > limit:
            text = f"a rank budget of {need} instead of {limit}"
            yield from _kept(problem.under(rank_budget=need), text, need, limit)


def _mean_wait(problem: Problem) -> Iterator[Repair]:
    limit_s = problem.question.budgets.mean_wait_s
    if limit_s is None or without_plan(problem) is not None:
        return
    if overloaded(problem, least_allocation(problem)):
        # No wait makes room on a link.
        return
    need_s = short_wait_s(problem)
    if need_s > limit_s:
        text = rounded(need_s, up=True)
        mended = problem.under(mean_wait_s=float(text))
        # Behind shared links others may wait less.
        most = "" if problem.costs.links is None else "at most "
        said = f"a mean wait of {most}{text} s instead of {limit_s:.6g} s"
        yield from _kept(mended, said, need_s, limit_s, waits=True)


def short_wait_s(problem: Problem) -> float:
    """A mean wait that some plan keeps: the shortest at the least ranks and at the best.

    Behind shared links also at ranks that are tried for it; see `solver.links.shortest`.

    Parameters
    ----------
    problem : Problem
        With a plan, but for the mean wait.
    """
    patient = problem.under(mean_wait_s=None)
    found = [least_allocation(patient)]
    if problem.question.objective == "utility":
        found.append(maximise_utility(patient, branching=False).allocation)
    if problem.costs.links is not None:
        # Here, not above: a fleet without links starts without it.
        from solver.links.shortest import shortest

        found.append(shortest(patient))
    elif problem.question.structure == "own":
        found.append(own.waits_little(patient))
    elif problem.question.structure == "capped":
        found.append(capped.waits_little(patient))
    return min(_shortest_s(problem, each) for each in found)


def _shortest_s(problem: Problem, allocation: Allocation) -> float:
    """Shortest mean wait with an allocation's ranks and at most its depths, by halving."""
    low, high = 0.0, mean_wait_s(problem, allocation)
    for _ in range(_HALVINGS):
        kept = limit_wait(problem, allocation, (low + high) / 2)
        if kept is None:
            low = (low + high) / 2
        else:
            high = min((low + high) / 2, mean_wait_s(problem, kept))
    return high


def _min_depth(problem: Problem) -> Iterator[Repair]:
    asked = problem.question.min_depth
    for depth in range(asked - 1, 0, -1):
        question = replace_fields(problem.question, min_depth=depth)
        text = f"at least {depth} layer{'s' * (depth != 1)} a device instead of {asked}"
        share = (asked - depth) / problem.layers
        found = list(_kept(problem.asking(question), text, 1 + share, 1.0))
        if found:
            yield from found
            return


def _leaving_out(problem: Problem) -> Iterator[Repair]:
    able = least_allocation(problem).taking_part
    if problem.question.leave_out != "nobody" or able.all() or not able.any():
        return
    mended = problem.asking(replace_fields(problem.question, leave_out="unable"))
    count = problem.costs.devices.count
    share = float(problem.weights[~able].sum())
    with suppress(Infeasible, Stopped):
        found = without_unable(mended, partial(maximise_utility, branching=False))
        # Objectives with a floor ask for more than a plan.
        floor = problem.question.min_utility or 0.0
        reached = utility(problem, found.allocation)
        if reached >= floor:
            text = (
                f"leave out {count[~able].sum()} of {count.sum()} devices ({share:.1%} of the "
                f"weight), for a utility of {rounded(reached, up=False)} "
                "(--leave-out unable)"
            )
            yield Repair(text=text, share=share, problem=mended)


def _kept(
    mended: Problem, text: str, need: float, limit: float, *, waits: bool = False
) -> Iterator[Repair]:
    """The change, if the problem so changed has a plan.

    With `waits` one is known that keeps the mean wait.
    """
    if without_plan(mended) is not None or overloaded(mended, least_allocation(mended)):
        return
    budgets = mended.question.budgets
    if budgets.mean_wait_s is not None and not waits:
        least = least_allocation(mended)
        if limit_wait(mended, least, budgets.mean_wait_s) is None and (
            short_wait_s(mended) > budgets.mean_wait_s
        ):
            return
    share = need / limit - 1 if limit > 0 else np.inf
    yield Repair(text=text, share=float(share), problem=mended)
