"""FedLoRA (FedIT): every device adapts all layers at one uniform rank.

Zhang et al., "Towards Building the Federated GPT: Federated Instruction Tuning" (FedIT),
arXiv 2305.05644. One device that cannot keep up makes three variants: it sets everybody's
rank, it is left out (exclusive), or it is waited for (straggler).
"""

from dataclasses import replace

import numpy as np

from solver.allocation import LEFT_OUT, Allocation, shared, utility
from solver.explain.infeasible import infeasible
from solver.outcome import Outcome
from solver.problem import Problem
from solver.wait.limit import keeps_wait

# What FedIT and its successors run with where nothing forces another rank.
USUAL_RANK = 8


def plan(problem: Problem) -> Outcome:
    """All layers at one rank, the largest that every device can afford."""
    found = [a for a in _uniform(problem) if a.taking_part.all()]
    if not found:
        layers = problem.layers
        raise infeasible(problem, np.full(layers, problem.ranks[0]), layers)
    return _outcome(problem, found[-1])


def plan_exclusive(problem: Problem) -> Outcome:
    """All layers at one rank; devices that cannot afford it are left out."""
    found = [a for a in _uniform(problem) if a.taking_part.any()]
    if not found:
        layers, least = problem.layers, int(problem.ranks[0])
        raise infeasible(
            problem,
            np.full(layers, least),
            layers,
            everybody=False,
            waiting=_all_layers(problem, least),
        )
    return _outcome(problem, max(found, key=lambda a: utility(problem, a)))


def plan_straggler(problem: Problem) -> Outcome:
    """All layers at the usual rank 8 for everybody; the slowest device is waited for.

    The budgets on round time and mean wait are dropped, and the plan's question says so.
    """
    patient = problem.under(round_time_s=None, mean_wait_s=None)
    ranks = patient.ranks
    usual = ranks[ranks <= USUAL_RANK]
    rank = int(usual[-1] if len(usual) else ranks[0])
    allocation = _all_layers(patient, rank)
    if not allocation.taking_part.all() or not _keeps_shared(patient, rank, allocation):
        raise infeasible(patient, np.full(problem.layers, rank), problem.layers)
    return replace(_outcome(patient, allocation), question=patient.question)


def _outcome(problem: Problem, allocation: Allocation) -> Outcome:
    return Outcome(
        allocation=allocation,
        value=utility(problem, allocation),
        bound=None,
        method="uniform rank by enumeration",
    )


def _uniform(problem: Problem) -> list[Allocation]:
    """Uniform allocations by rising rank that keep the budgets on everybody together."""
    every = [(int(rank), _all_layers(problem, int(rank))) for rank in problem.ranks]
    return [a for rank, a in every if _keeps_shared(problem, rank, a)]


def _all_layers(problem: Problem, rank: int) -> Allocation:
    """Every device that can afford all layers at `rank` trains them; the others do not."""
    found = shared(problem, np.full(problem.layers, rank))
    whole = found.depth == problem.layers
    return replace(found, depth=np.where(whole, problem.layers, LEFT_OUT))


def _keeps_shared(problem: Problem, rank: int, allocation: Allocation) -> bool:
    budgets = problem.question.budgets
    if budgets.rank_budget is not None and rank * problem.layers > budgets.rank_budget:
        return False
    return keeps_wait(problem, allocation)
