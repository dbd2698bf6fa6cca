"""Heuristic: LEGEND's greedy LCD (layer and rank configuration), in our reading of it.

Liu et al., "Adaptive Parameter-Efficient Federated Fine-Tuning on Heterogeneous Devices",
arXiv 2412.20004, decide LoRA depth and rank distribution together by a greedy algorithm that
is not published in full. Our reading: everybody starts with the fewest layers at the least
rank; then whatever has the best marginal utility per second of the devices' time goes up,

    one layer more of device i:         w_i gain[k_i + 1, r] / (added seconds of i), or
    the next rank choice of layer j:    sum over the devices that hold it of the same,

until nothing fits. Nothing is ever taken back: that is what the greedy gives away.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from solver.allocation import Allocation, cost, fits, shared
from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE
from solver.deadline import expired
from solver.least import least_allocation
from solver.methods.candidates import (
    deepest_allowed,
    finished,
    may_be,
    require_free,
    require_shared,
)
from solver.methods.settings import Settings
from solver.outcome import Outcome
from solver.problem import Problem

# Added seconds below which a step counts as free.
SHORTEST_S = 1e-12


def plan(problem: Problem, settings: Settings) -> Outcome:
    """Raise depths and ranks greedily."""
    require_shared(problem, "lcd")
    require_free(problem, "lcd")
    greedy = _Greedy.of(problem)
    # Every step raises a rank, or the depth of one device or more.
    while not expired() and greedy.step():
        pass
    return finished(problem, greedy.allocation(), "greedy LCD, our reading of LEGEND")


@dataclass(slots=True, kw_only=True)
class _Greedy:
    """Where the greedy stands.

    Parameters
    ----------
    problem : Problem
    ranks : array of int, shape (L,)
        From the output, 0 where nobody adapts the layer yet.
    depth : array of int, shape (N,)
    full : set of int
        Layers whose rank can go no further: costs only grow.
    """

    problem: Problem
    ranks: Ints
    depth: Ints
    full: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, problem: Problem) -> Self:
        depth = least_allocation(problem).depth
        layer = np.arange(problem.layers)
        ranks = np.where(layer < depth.max(initial=0), problem.ranks[0], 0)
        return cls(problem=problem, ranks=ranks, depth=depth)

    def allocation(self) -> Allocation:
        """Ranks and depths as they stand."""
        return shared(self.problem, self.ranks, self.depth)

    def step(self) -> bool:
        """Take the best step, or every one that beats the best rank; False at the end."""
        deeper, ranks = self._deeper(), self._deeper_ranks()
        by_rank = [(self._worth_of_rank(layer), layer) for layer in range(len(self.ranks))]
        best_rank, layer = max(by_rank, key=lambda each: (each[0], -each[1]))
        best_depth = float(deeper.max(initial=-np.inf))
        if np.isneginf(best_rank) and np.isneginf(best_depth):
            return False
        if best_depth < best_rank:
            self.ranks = self._raised(layer)
            return True
        self.depth = self.depth + ((deeper >= best_rank) & (deeper > -np.inf))
        held = np.arange(len(self.ranks)) < self.depth.max()
        self.ranks = np.where(held, ranks, 0)
        return True

    def _deeper_ranks(self) -> Ints:
        """Ranks that layers have once somebody adapts them."""
        return np.where(self.ranks > 0, self.ranks, self.problem.ranks[0])

    def _deeper(self) -> Floats:
        """Utility per second of one layer more, (N,); minus infinity where not allowed."""
        problem, costs, ranks = self.problem, self.problem.costs, self._deeper_ranks()
        row = np.zeros(len(self.depth), dtype=np.int64)
        at = np.minimum(self.depth + 1, problem.layers)
        allowed = self.depth < deepest_allowed(problem)
        for k in np.unique(at).tolist():
            here = at == k
            within = np.where(np.arange(problem.layers) < max(k, self.depth.max()), ranks, 0)
            allowed[here] &= fits(costs, ranks[None, :], row, k)[here]
            allowed[here] &= may_be(problem, within)
        added_s = self._seconds(ranks, at) - self._seconds(ranks, self.depth)
        gain = problem.gains[at - 1, np.searchsorted(problem.ranks, ranks)[at - 1]]
        worth = problem.weights * gain / np.maximum(added_s * costs.devices.count, SHORTEST_S)
        return np.where(allowed, worth, -np.inf)

    def _worth_of_rank(self, layer: int) -> float:
        """Utility per second of the layer's next rank; minus infinity where not allowed."""
        problem, costs = self.problem, self.problem.costs
        raised = self._raised(layer)
        if layer in self.full or self.ranks[layer] == 0 or not may_be(problem, raised):
            return -np.inf
        if raised[layer] == self.ranks[layer] or not self._holds(raised):
            self.full.add(layer)
            return -np.inf
        at = np.searchsorted(problem.ranks, self.ranks[layer])
        more = problem.gains[layer, at + 1] - problem.gains[layer, at]
        holders = self.depth > layer
        added_s = self._seconds(raised, self.depth) - self._seconds(self.ranks, self.depth)
        total_s = float(np.dot(added_s[holders], costs.devices.count[holders]))
        return float(problem.weights[holders].sum() * more) / max(total_s, SHORTEST_S)

    def _raised(self, layer: int) -> Ints:
        choices = self.problem.ranks
        following = np.searchsorted(choices, self.ranks[layer], side="right")
        raised = self.ranks.copy()
        raised[layer] = choices[min(int(following), len(choices) - 1)]
        return raised

    def _holds(self, ranks: Ints) -> bool:
        """Whether every device keeps its limits at its depth."""
        costs, row = self.problem.costs, np.zeros(len(self.depth), dtype=np.int64)
        return all(
            (cost(costs, q, ranks[None, :], row, self.depth) <= q.limit * (1 + TOLERANCE)).all()
            for q in costs.resources
        )

    def _seconds(self, ranks: Ints, depth: Ints) -> Floats:
        costs, row = self.problem.costs, np.zeros(len(depth), dtype=np.int64)
        return cost(costs, costs.seconds, ranks[None, :], row, depth)
