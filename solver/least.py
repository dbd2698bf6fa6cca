"""The least configuration of every device, and the shortest round that lets it train that.

Costs never fall with the rank, so the budgets on one device can be kept exactly when its
*least configuration* keeps them: the smallest rank choice, at the shallowest depth from
`min_depth` on that fits (nearly always `min_depth` itself; a memory table may drop again at
a deeper one).
"""

import numpy as np

from solver.allocation import Allocation, busy_s, cost, shallowest
from solver.costs.devices import Floats, Ints
from solver.problem import Problem

__all__ = ["least_allocation", "least_round_time_s"]


def least_allocation(
    problem: Problem, ranks: Ints | None = None, depth: int | None = None
) -> Allocation:
    """Least configuration of every device; parameters as of `solver.explain.infeasible`."""
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
    are not looked at. Parameters as of `solver.explain.infeasible.infeasible`.
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


def _depths(problem: Problem) -> list[int]:
    return list(range(problem.question.min_depth, problem.layers + 1))
