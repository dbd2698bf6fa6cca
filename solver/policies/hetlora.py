"""HetLoRA: all layers, one rank per device, by what the device can afford.

Cho et al., "Heterogeneous LoRA for Federated Fine-tuning of On-Device Foundation Models",
EMNLP 2024, arXiv 2401.06432. Ranks are uniform over the layers of a device; the server
truncates on the way down and zero-pads on the way up.
"""

import numpy as np
from msgspec.structs import replace

from solver.allocation import LEFT_OUT, Allocation, deepest, utility
from solver.explain import infeasible
from solver.outcome import Outcome
from solver.problem import Problem
from solver.waits import keeps_wait


def plan(problem: Problem) -> Outcome:
    """All layers; each device takes the largest rank that it can afford."""
    costs, layers, choices = problem.costs, problem.layers, problem.ranks
    n = len(costs.devices)
    row = np.full(n, LEFT_OUT)
    budget = problem.question.budgets.rank_budget
    rows = np.repeat(choices[:, None], layers, axis=1)
    for m in range(len(rows)):
        if budget is None or rows[m].sum() <= budget:
            row[deepest(costs, rows, np.full(n, m)) == layers] = m
    depth = np.where(row == LEFT_OUT, LEFT_OUT, layers)
    allocation = Allocation(rows=rows, row=row.clip(0), depth=depth)
    if not allocation.taking_part.any() or not keeps_wait(problem, allocation):
        least = np.full(layers, problem.ranks[0])
        raise infeasible(problem, least, layers, everybody=False, waiting=allocation)
    return Outcome(
        allocation=allocation,
        value=utility(problem, allocation),
        bound=None,
        method="largest affordable rank",
        question=replace(problem.question, structure="capped"),
    )
