"""Why no plan keeps the budgets: the devices, what they need, and the nearest repair.

All that is said here is read off the least configuration of every device (`solver.least`), not
off a failed search.
"""

from solver.allocation import Allocation, mean_wait_s
from solver.costs.devices import Ints
from solver.costs.resource import TOLERANCE
from solver.errors import Infeasible, Shortfall, Stopped
from solver.explain.binding import shortfalls
from solver.least import least_allocation, least_round_time_s
from solver.problem import Problem
from solver.show.figures import friendly, plain, rounded

__all__ = ["describe", "heads", "infeasible", "too_low", "without_plan"]

_SHOWN = 3


def infeasible(
    problem: Problem,
    ranks: Ints | None = None,
    depth: int | None = None,
    *,
    everybody: bool = True,
    waiting: Allocation | None = None,
    proven: bool = True,
) -> Infeasible:
    """Explain a problem that has no plan.

    Parameters
    ----------
    problem : Problem
    ranks, depth : array of int (L,) and int, optional
        The least configuration; a policy that is bound to one (all layers at one rank) gives
        its own.
    everybody : bool
        Whether every device must take part, or one is enough.
    waiting : Allocation, optional
        What keeps all budgets but that on the mean wait; the least configuration by default.
    proven : bool
        Whether a search that ended without a plan proved that there is none.
    """
    least = least_allocation(problem, ranks, depth)
    failing = ~least.taking_part
    if failing.all() or (everybody and failing.any()):
        return _alone(problem, least, depth, everybody=everybody)
    return _together(problem, least, waiting, proven=proven)


def without_plan(problem: Problem) -> Infeasible | None:
    """Explain why the limits on devices or the rank sum allow no plan; None if they do.

    Exact: where it finds nothing, the least configuration keeps every budget but, perhaps,
    that on the mean wait.
    """
    least = least_allocation(problem)
    broken = not least.taking_part.all() or _missing_ranks(problem, least) > 0
    return infeasible(problem) if broken else None


def too_low(
    floor: float, found: float | None = None, bound: float | None = None
) -> Stopped | Infeasible:
    """Explain that no plan reaches a utility, or that none was found that does."""
    if found is not None and (bound is None or bound >= floor):
        none = "" if bound is None else f" and none has more than {bound:.6g}"
        return Stopped(
            f"found no plan with a utility of {floor:.6g}: the best has {found:.6g}{none}; "
            "lower --min-utility or try --method milp"
        )
    repair = "Lower --min-utility."
    if found is not None:
        repair = f"The greatest utility under these budgets is {rounded(found, up=False)}."
    return Infeasible(
        reason=f"a utility of {floor:.6g} is out of reach. {repair}", repair=repair
    )


def describe(short: Shortfall) -> str:
    """Say in one phrase what a device needs and has."""
    need, limit = friendly(short.need, short.unit), friendly(short.limit, short.unit)
    if need == limit:
        need, limit = f"{short.need:.9g} {short.unit}", f"{short.limit:.9g}"
    return f"{short.device} needs {need} of {short.constraint} and has {limit}"


def _alone(
    problem: Problem, least: Allocation, depth: int | None, *, everybody: bool
) -> Infeasible:
    """Devices that cannot keep their own limits."""
    at = problem.question.min_depth if depth is None else depth
    ranks = least.rows[0]
    short = shortfalls(problem, ranks, at, ~least.taking_part)
    least_s = least_round_time_s(problem, ranks, depth, everybody=everybody)
    remark = ""
    if least_s is not None:
        at_least = least_allocation(problem.under(round_time_s=least_s), ranks, depth)
        remark = _remark(problem, at_least)
    repair = _repair(problem, short, least_s, remark)
    # Where no round time helps, what does comes first.
    told = sorted(short, key=lambda s: least_s is None and s.constraint == "round time")
    worst = "; ".join(describe(s) for s in told[:_SHOWN])
    others = heads(problem, {s.device for s in short} - {s.device for s in told[:_SHOWN]})
    more = f"; {others} more" if others else ""
    return Infeasible(
        reason=f"with {_layers(at, ranks)}, {worst}{more}. {repair}",
        shortfalls=short,
        least_round_time_s=None if remark else least_s,
        repair=repair,
    )


def _layers(depth: int, ranks: Ints) -> str:
    return f"{depth} layer{'s' * (depth != 1)} at rank {ranks[: max(depth, 1)].min()}"


def _repair(
    problem: Problem, short: list[Shortfall], least_s: float | None, remark: str
) -> str:
    if least_s is not None:
        # Rounded up, so that the figure printed is itself feasible.
        return f"The least feasible round time is {rounded(least_s, up=True)} s{remark}."
    kinds = {s.constraint for s in short if s.constraint != "round time"}
    names = {s.device for s in short if s.constraint != "round time"}
    count, every = heads(problem, names), problem.costs.devices.count.sum()
    lower = ", lower --min-depth" if problem.question.min_depth > 1 else ""
    leave = f" or leave out {count} of {every} devices" if count < every else ""
    return (
        f"No round time helps: raise the limit on {' and '.join(sorted(kinds))}{lower}{leave}."
    )


def heads(problem: Problem, names: set[str]) -> int:
    """How many devices go by these names, those alike counted."""
    devices = problem.costs.devices
    return int(devices.count[[name in names for name in devices.names]].sum()) if names else 0


def _remark(problem: Problem, least: Allocation) -> str:
    """What else the least configuration needs of the budgets on everybody together."""
    remark = ""
    total = _rank_sum(least)
    if _missing_ranks(problem, least) > 0:
        remark += f", with a rank budget of {total}"
    wait_s, epsilon_s = mean_wait_s(problem, least), problem.question.budgets.mean_wait_s
    if epsilon_s is not None and wait_s > epsilon_s * (1 + TOLERANCE):
        remark += f", with a mean wait of {rounded(wait_s, up=True)} s"
    return remark


def _together(
    problem: Problem, least: Allocation, waiting: Allocation | None, *, proven: bool
) -> Infeasible:
    """Every device keeps its limits, but not all of them together keep the others."""
    budgets = problem.question.budgets
    if _missing_ranks(problem, least) > 0:
        total = _rank_sum(least)
        reason = (
            f"the ranks of {_deepest(least)} sum to {total} and the rank budget is "
            f"{budgets.rank_budget}"
        )
        repair = f"The least rank budget is {total}."
        return Infeasible(reason=f"{reason}. {repair}", repair=repair)
    waiting = least if waiting is None else waiting
    wait_s = mean_wait_s(problem, waiting)
    none = "no depths keep" if proven else "no depths that were tried keep"
    ranks = _deepest(waiting) if len(waiting.rows) == 1 else "ranks that keep devices busy"
    reason = (
        f"{none} the mean wait within {budgets.mean_wait_s or 0:.6g} s; with "
        f"{ranks} it is {plain(wait_s, 4)} s"
    )
    repair = f"A mean wait of {rounded(wait_s, up=True)} s is feasible."
    return Infeasible(reason=f"{reason}. {repair}", repair=repair, proven=proven)


def _deepest(allocation: Allocation) -> str:
    return _layers(int(allocation.depth.max()), allocation.rows[0])


def _rank_sum(allocation: Allocation) -> int:
    return int(allocation.rows[0, : max(int(allocation.depth.max()), 0)].sum())


def _missing_ranks(problem: Problem, least: Allocation) -> int:
    """By how much the ranks of the layers in use pass the rank budget, if there is one."""
    budget = problem.question.budgets.rank_budget
    return 0 if budget is None else max(_rank_sum(least) - budget, 0)
