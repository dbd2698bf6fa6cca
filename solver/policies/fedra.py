"""FedRA: random layers for every device, as many as it can afford.

Su et al., "FedRA: A Random Allocation Strategy for Federated Tuning to Unleash the Power of
Heterogeneous Clients", ECCV 2024, arXiv 2311.11227. Each device is given a random set of
layers. A plan adapts consecutive layers from the output, so a random set cannot be expressed.
The closest that can: a random depth, uniform over those that fit the device, drawn from the
seed, at the one rank of largest utility. One plan stands for one draw: run it with several
seeds. FedRA makes a smaller model of a device's layers and so saves the forward pass of the
others too; here every device runs all layers forward.
"""

import numpy as np

from solver.allocation import LEFT_OUT, utility
from solver.costs.devices import Ints
from solver.explain.infeasible import infeasible
from solver.outcome import Outcome
from solver.problem import Problem
from solver.uniform import Flags, best_kept, uniform


def plan(problem: Problem, seed: int = 0) -> Outcome:
    """Every device at a random depth that it can afford, at one rank."""
    luck = np.random.default_rng(seed).random(len(problem.costs.devices))

    def random_depth(usable: Flags) -> Ints:
        """Pick the depth at the same share of a device's fitting depths at every rank."""
        fitting = np.cumsum(usable, axis=1)
        wanted = 1 + np.floor(luck * fitting[:, -1])
        depth = (fitting >= wanted[:, None]).argmax(axis=1)
        return np.where(usable.any(axis=1), depth, LEFT_OUT)

    candidates = (a for a in uniform(problem, random_depth) if a.taking_part.all())
    best = best_kept(problem, candidates)
    if best is None:
        patient = problem.under(mean_wait_s=None)
        rest = (a for a in uniform(patient, random_depth) if a.taking_part.all())
        raise infeasible(problem, waiting=best_kept(patient, rest))
    return Outcome(
        allocation=best,
        value=utility(problem, best),
        bound=None,
        method=f"random depth, seed {seed}, at the best uniform rank",
    )
