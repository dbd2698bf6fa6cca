"""HetLoRA: all layers, one rank per device, by what the device can afford.

Cho et al., "Heterogeneous LoRA for Federated Fine-tuning of On-Device Foundation Models",
EMNLP 2024, arXiv 2401.06432. Ranks are uniform over the layers of a device; the server
truncates on the way down and zero-pads on the way up. Our reading of "by capability": the
largest rank that every limit of the device allows; who affords none is left out.
"""

import numpy as np
from msgspec.structs import replace

from solver.allocation import Allocation, utility
from solver.explain.infeasible import infeasible
from solver.outcome import Outcome
from solver.problem import Problem
from solver.uniform import largest_ranks
from solver.wait.limit import keeps_wait


def plan(problem: Problem) -> Outcome:
    """All layers; each device takes the largest rank that it can afford."""
    return Outcome(
        allocation=(allocation := largest_affordable(problem)),
        value=utility(problem, allocation),
        bound=None,
        method="largest affordable rank",
        question=replace(problem.question, structure="capped"),
    )


def largest_affordable(problem: Problem) -> Allocation:
    """`largest_ranks`; raises `Infeasible` if nobody trains or the mean wait is not kept."""
    allocation = largest_ranks(problem)
    if not allocation.taking_part.any() or not keeps_wait(problem, allocation):
        least = np.full(problem.layers, problem.ranks[0])
        raise infeasible(problem, least, problem.layers, everybody=False, waiting=allocation)
    return allocation
