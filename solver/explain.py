"""Why no plan keeps the budgets: the devices, what they need, and the nearest repair.

Costs never fall with the rank, so the budgets on one device can be kept exactly when its
*least configuration* keeps them: the smallest rank choice, at the shallowest depth from
`min_depth` on that fits (nearly always `min_depth` itself; a memory table may drop again at
a deeper one). All that is said here is read off that configuration, not off a failed search.
"""

import numpy as np

from solver.allocation import Allocation, busy_s, cost, mean_wait_s, shallowest
from solver.binding import shortfalls
from solver.capacity import TOLERANCE
from solver.devices import Floats, Ints
from solver.errors import Infeasible, Shortfall, Stopped
from solver.problem import Problem

_SHOWN = 3
# Larger units that people use, largest first.
_STEPS = {
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")),
    "J": ((1e6, "MJ"), (1e3, "kJ")),
}


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


def least_allocation(
    problem: Problem, ranks: Ints | None = None, depth: int | None = None
) -> Allocation:
    """Least configuration of every device; see `infeasible` for the parameters."""
    ranks = np.full(problem.layers, problem.ranks[0]) if ranks is None else ranks
    depths = [depth] if depth is not None else _depths(problem)
    return shallowest(problem, ranks, depths)


def least_round_time_s(
    problem: Problem,
    ranks: Ints | None = None,
    depth: int | None = None,
    *,
    everybody: bool = True,
) -> float | None:
    """Smallest round time that lets the devices train their least configuration.

    None if a limit on a device forbids it whatever the round time. Rank sum and mean wait
    are not looked at. See `infeasible` for the parameters.
    """
    patient = problem.under(round_time_s=None)
    least = least_allocation(patient, ranks, depth)
    part = least.taking_part
    if not part.any() or (everybody and not part.all()):
        return None
    own_s = _least_own_s(patient, least, depth)[part]
    if not everybody:
        return float(own_s.min())
    return float(busy_s(patient.costs, least).max(initial=own_s.max()))


def _least_own_s(patient: Problem, least: Allocation, depth: int | None) -> Floats:
    """Least time of each device that takes part, shape (N,).

    Time rises with the depth, except that one layer may take less than none with a cache.
    """
    costs = patient.costs
    own_s = cost(costs, costs.seconds, least.rows, least.row, least.depth)
    if depth is None and costs.caches is not None and patient.question.min_depth == 0:
        adapting = shallowest(patient, least.rows[0], _depths(patient)[1:])
        one_s = cost(costs, costs.seconds, adapting.rows, adapting.row, adapting.depth)
        np.minimum(own_s, one_s, out=own_s, where=adapting.taking_part)
    return own_s


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


def friendly(value: float, unit: str, digits: int | None = None) -> str:
    """A quantity in a unit people use: 3 digits of bytes, 4 of anything else."""
    digits = digits or (3 if unit == "bytes" else 4)
    steps = _STEPS.get(unit, ())
    size, name = next(((s, n) for s, n in steps if value >= s), (1.0, unit))
    number = value / size
    return f"{plain(number, digits) if number >= 1 else f'{number:.{digits}g}'} {name}"


def plain(value: float, digits: int = 3) -> str:
    """A figure for a table: so many digits, never a power of ten."""
    # From here on `g` would round up into one.
    if value >= 10**digits - 0.5:
        return f"{value:.0f}"
    return "<0.001" if 0 < value < 1e-3 else f"{value:.{digits}g}"


def _depths(problem: Problem) -> list[int]:
    return list(range(problem.question.min_depth, problem.layers + 1))


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


def rounded(value: float, *, up: bool) -> str:
    """Five digits, erring on the side that is feasible."""
    step = 10.0 ** (np.floor(np.log10(value)) - 4) if value > 0 else 1.0
    return f"{(np.ceil if up else np.floor)(value / step) * step:.6g}"
