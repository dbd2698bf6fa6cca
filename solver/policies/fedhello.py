"""Fed-HeLLo: devices in groups of depth by capability, one rank.

"Fed-HeLLo: Efficient Federated Foundation Model Fine-Tuning with Heterogeneous LoRA
Allocation", IEEE TNNLS 2025, arXiv 2506.12213. It decides which layers a device trains, not
at how many ranks; its groups train 6, 9 or 12 of 12 layers. Our reading: a half, three
quarters or all of the layers, each device in the deepest group it affords, at the one rank
of largest utility; who affords no group is left out. Which layers these are follows Fisher
information and geometric patterns there; a plan adapts layers next to the output, so the
pattern is the one that grows from there.
"""

import numpy as np

from solver.allocation import Allocation, utility
from solver.costs.devices import Ints
from solver.explain.infeasible import infeasible
from solver.least import least_round_time_s
from solver.outcome import Outcome
from solver.problem import Problem
from solver.uniform import Flags, best_kept, deepest_that_fits, uniform

# 6, 9 and 12 of the paper's 12 layers.
SHARES = (0.5, 0.75, 1.0)


def depth_groups(layers: int, min_depth: int) -> list[int]:
    """Depths of the groups: the shares of all layers, rounded up, from the least depth on."""
    return sorted({max(int(np.ceil(share * layers)), min_depth) for share in SHARES})


def plan(problem: Problem) -> Outcome:
    """Half, three quarters or all layers by capability, at one rank."""
    groups = depth_groups(problem.layers, problem.question.min_depth)

    def deepest_group(usable: Flags) -> Ints:
        in_group = np.isin(np.arange(usable.shape[1]), groups)
        return deepest_that_fits(usable & in_group)

    best = best_kept(problem, uniform(problem, deepest_group))
    if best is None:
        patient = problem.under(mean_wait_s=None)
        raise _refusal(problem, groups, best_kept(patient, uniform(patient, deepest_group)))
    return Outcome(
        allocation=best,
        value=utility(problem, best),
        bound=None,
        method="deepest affordable group at the best uniform rank",
    )


def _refusal(problem: Problem, groups: list[int], waiting: Allocation | None) -> Exception:
    """Explain at the group that somebody affords soonest."""
    ranks = np.full(problem.layers, problem.ranks[0])
    least_s = [least_round_time_s(problem, ranks, k, everybody=False) for k in groups]
    soonest = min(range(len(groups)), key=lambda g: np.inf if (s := least_s[g]) is None else s)
    return infeasible(problem, ranks, groups[soonest], everybody=False, waiting=waiting)
