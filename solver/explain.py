"""Why no plan keeps the budgets: the devices, what they need, and the nearest repair.

Costs never fall with the rank, so a budget on one device can be kept exactly when the
device's *least configuration* keeps it: `min_depth` layers at the smallest rank choice. All
that is said here is read off that configuration, not off a failed search.
"""

import numpy as np

from solver.allocation import cost
from solver.binding import shortfalls
from solver.devices import Floats, Ints
from solver.errors import Infeasible, Shortfall
from solver.problem import Problem

_SHOWN = 3


def infeasible(
    problem: Problem, ranks: Ints | None = None, depth: int | None = None
) -> Infeasible:
    """Explain a problem that has no plan.

    Parameters
    ----------
    problem : Problem
    ranks, depth : array of int (L,) and int, optional
        The least configuration; a policy that is bound to one (all layers at one rank) gives
        its own.
    """
    depth = problem.question.min_depth if depth is None else depth
    ranks = least_ranks(problem, depth) if ranks is None else ranks
    short = shortfalls(problem, ranks, depth)
    layers = f"{depth} layer{'s' * (depth != 1)} at rank {ranks[: max(depth, 1)].min()}"
    if not short:
        return _not_one_device(problem, ranks, layers)
    least_s = least_round_time_s(problem, ranks, depth)
    names = {s.device for s in short}
    repair = _repair(problem, short, least_s, len(names))
    worst = "; ".join(describe(s) for s in short[:_SHOWN])
    more = f"; {len(short) - _SHOWN} more" if len(short) > _SHOWN else ""
    return Infeasible(
        reason=f"infeasible: with {layers}, {worst}{more}. {repair}",
        shortfalls=short,
        least_round_time_s=least_s,
        repair=repair,
    )


def least_ranks(problem: Problem, depth: int) -> Ints:
    """Smallest rank choice on the last `depth` layers, shape (L,)."""
    return np.where(np.arange(problem.layers) < depth, problem.ranks[0], 0)


def least_round_time_s(problem: Problem, ranks: Ints, depth: int) -> float | None:
    """Smallest round time that lets every device train a configuration.

    None if another limit forbids it whatever the round time.
    """
    if any(s.constraint != "round time" for s in shortfalls(problem, ranks, depth)):
        return None
    return float(_seconds(problem, ranks, depth).max())


def describe(short: Shortfall) -> str:
    """Say in one phrase what a device needs and has."""
    need, limit = friendly(short.need, short.unit), friendly(short.limit, short.unit)
    return f"{short.device} needs {need} of {short.constraint} and has {limit}"


def friendly(value: float, unit: str) -> str:
    """A quantity in a unit people use."""
    if unit == "bytes":
        size, prefix = next(
            ((s, p) for s, p in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if value >= s),
            (1.0, "bytes"),
        )
        return f"{value / size:.3g} {prefix}"
    return f"{value:.4g} {unit}"


def _seconds(problem: Problem, ranks: Ints, depth: int) -> Floats:
    costs = problem.costs
    row = np.zeros(len(costs.devices), dtype=np.int64)
    return cost(costs, costs.seconds, ranks[None, :], row, np.full(len(row), depth))


def _repair(problem: Problem, short: list[Shortfall], least_s: float | None, n: int) -> str:
    if least_s is not None:
        # Rounded up, so that the figure printed is itself feasible.
        return f"The least feasible round time is {_rounded_up(least_s)} s."
    devices = f"leave out {n} device{'s' * (n != 1)} of {len(problem.costs.devices)}"
    kinds = sorted({s.constraint for s in short if s.constraint != "round time"})
    lower = ", lower --min-depth" if problem.question.min_depth > 0 else ""
    return f"No round time helps: raise the limit on {' and '.join(kinds)}{lower} or {devices}."


def _rounded_up(value: float) -> str:
    step = 10.0 ** (np.floor(np.log10(value)) - 4) if value > 0 else 1.0
    return f"{np.ceil(value / step) * step:.6g}"


def _not_one_device(problem: Problem, ranks: Ints, layers: str) -> Infeasible:
    budgets = problem.question.budgets
    total = int(ranks.sum())
    if budgets.rank_budget is not None and total > budgets.rank_budget:
        reason = f"{layers} sum to {total} and the rank budget is {budgets.rank_budget}"
        repair = f"The least rank budget is {total}."
    else:
        depth = int((ranks > 0).sum())
        seconds = _seconds(problem, ranks, depth)
        wait_s = seconds.max() - np.average(seconds, weights=problem.costs.devices.count)
        reason = (
            f"no depths were found that keep the mean wait within {budgets.mean_wait_s:.4g} s; "
            f"{layers} on every device waits {wait_s:.4g} s"
        )
        repair = f"A mean wait of {_rounded_up(float(wait_s))} s is feasible."
    return Infeasible(reason=f"infeasible: {reason}. {repair}", repair=repair)
