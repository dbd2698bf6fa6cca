"""What it costs to receive everybody's adapters stacked instead of one's own (FLoRA).

The download of every device is then the sum over all devices that take part,
``sum_i count_i sum_{j<=k_i} size_j r_ij`` LoRA parameters and the head, whatever its own ranks,
as the question's codec sends them.
"""

import numpy as np
from msgspec.structs import replace

from solver.allocation import Allocation
from solver.problem import Problem


def stack_bytes(problem: Problem, allocation: Allocation) -> float:
    """Bytes of the adapters of all devices that take part, without the head."""
    costs, layers = problem.costs, np.arange(problem.layers)
    held = np.where(layers < allocation.depth[:, None], allocation.rows[allocation.row], 0)
    own = (np.dot(held, costs.sizes), held.sum(axis=1))
    parameters, ranks = (np.dot(each.astype(np.float64), costs.devices.count) for each in own)
    return float(costs.download.adapter_bytes(parameters, ranks))


def stacked(problem: Problem, allocation: Allocation) -> Problem:
    """Return the problem with every download priced as the stack of an allocation."""
    question = replace(problem.question, download="stacked")
    return problem.asking(question, stack_bytes(problem, allocation))
