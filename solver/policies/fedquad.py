"""FedQuad: depth per device as far as memory and time allow, one rank.

"Adaptive Layer-Wise LoRA Deployment and Activation Quantization" (FedQuad), by the group of
LEGEND, arXiv 2506.01001. Depth counts consecutive layers from the output and is chosen per
device, greedily under memory and time. Our reading: at the one rank of largest utility,
every device as deep as every limit and the mean wait allow. FedQuad also quantises saved
activations, which trades memory for time; the cost tables hold no such choice, so it is not
modelled, and its depths under tight memory are understated.
"""

from collections.abc import Iterator

from solver.allocation import Allocation, utility
from solver.explain.infeasible import infeasible
from solver.outcome import Outcome
from solver.problem import Problem
from solver.uniform import best_kept, deepest_that_fits, uniform
from solver.wait.limit import within_wait


def plan(problem: Problem) -> Outcome:
    """Every device as deep as it can, at the one rank of largest utility."""
    best = best_kept(problem, _candidates(problem))
    if best is None:
        raise infeasible(problem)
    return Outcome(
        allocation=best,
        value=utility(problem, best),
        bound=None,
        method="greedy depth at the best uniform rank",
    )


def _candidates(problem: Problem) -> Iterator[Allocation]:
    """Allocations of all devices by rising rank."""
    for found in uniform(problem, deepest_that_fits):
        kept = within_wait(problem, found) if found.taking_part.all() else None
        if kept is not None:
            yield kept
