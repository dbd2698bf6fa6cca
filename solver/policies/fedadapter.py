"""FedAdapter (AdaFL): one configuration for all, its depth and width tuned to time.

Cai et al., "FedAdapter: Efficient Federated Learning for Modern NLP", MobiCom 2023,
arXiv 2205.10162. Depth and width of the adapters are the same on every device and are raised
by trial groups while that pays in time. Our plan-time reading: the single pair of depth and
rank of largest utility that every device affords within the budgets, which is where trials
without error would end. Its cache of activations over rounds is not modelled.
"""

import numpy as np

from solver.allocation import LEFT_OUT, shared, utility
from solver.costs.devices import Ints
from solver.explain.infeasible import infeasible
from solver.outcome import Outcome
from solver.problem import Problem
from solver.uniform import Flags, best_kept, depths_that_fit, uniform


def plan(problem: Problem) -> Outcome:
    """One depth and one rank for everybody, the best that all can afford."""
    best = best_kept(problem, uniform(problem, _common))
    if best is None:
        raise _refusal(problem)
    return Outcome(
        allocation=best,
        value=utility(problem, best),
        bound=None,
        method="best common depth and rank by enumeration",
    )


def _common(usable: Flags) -> Ints:
    """Largest depth that fits everybody, or nobody trains."""
    together = np.flatnonzero(usable.all(axis=0))
    depth = together[-1] if len(together) else LEFT_OUT
    return np.full(len(usable), depth)


def _refusal(problem: Problem) -> Exception:
    """Explain at the shallowest depth that, time aside, shuts the fewest devices out."""
    ranks = np.full(problem.layers, problem.ranks[0])
    usable = depths_that_fit(problem.under(round_time_s=None), ranks)
    depth = max(int(usable.sum(axis=0).argmax()), problem.question.min_depth)
    waiting = shared(problem, ranks, np.full(len(usable), depth))
    return infeasible(problem, ranks, depth, waiting=waiting)
