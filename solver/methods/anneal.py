"""Heuristic: simulated annealing of the shared ranks (Kirkpatrick et al., Science 220, 1983).

One layer's rank moves at a time, to a near choice or to none from there on down; worse ranks
are accepted with probability exp(-loss / temperature), the temperature falling geometrically.
Utility comes from the conservative table of `solver.costs.capacity`, so whatever is accepted is
feasible and a step costs the same for any number of devices.
"""

from dataclasses import dataclass

import numpy as np

from solver.allocation import utility
from solver.costs.capacity import Capacity, capacity
from solver.costs.devices import Ints
from solver.deadline import expired
from solver.least import least_allocation
from solver.methods.candidates import finished, may_be, plan_of, require_free, require_shared
from solver.methods.settings import Settings
from solver.outcome import Outcome
from solver.problem import Problem

STEPS = 20_000
# Temperatures at the start and the end, as shares of the first utility.
HOT, COLD = 3e-2, 1e-6
# Largest move of a rank, as a share of the choices.
REACH = 0.3


def plan(problem: Problem, settings: Settings) -> Outcome:
    """Anneal from the least configuration, or near it."""
    require_shared(problem, "anneal")
    require_free(problem, "anneal")
    landscape = _Landscape.of(problem)
    least = least_allocation(problem)
    layer = np.arange(problem.layers)
    start = np.where(layer < int(least.depth.max()), problem.ranks[0], 0)
    ranks = _anneal(problem, landscape, start, np.random.default_rng(settings.seed))
    found = plan_of(problem, ranks)
    if found is not None and utility(problem, found) < utility(problem, least):
        found = least
    return finished(problem, found, "simulated annealing of the ranks")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Landscape:
    """Utility of shared ranks, given as indices of the choices, -1 for a bare layer."""

    table: Capacity
    gains: list[list[float]]
    choices: list[int]
    min_depth: int

    @classmethod
    def of(cls, problem: Problem) -> "_Landscape":
        top = problem.question.rank_choices[-1]
        return cls(
            table=capacity(problem.costs, problem.weights, top, optimistic=False),
            gains=problem.gains.tolist(),
            choices=problem.ranks.tolist(),
            min_depth=problem.question.min_depth,
        )

    def value(self, index: list[int]) -> float:
        """Utility, or less than 0 where a device falls short of the least depth."""
        prefix, total = 0, 0.0
        steps, reach, least = self.table.steps, self.table.reach, self.table.least
        for k, at in enumerate(index, start=1):
            if at < 0:
                return total if k > self.min_depth else -1.0
            prefix += int(steps[k - 1]) * self.choices[at]
            if k <= self.min_depth and prefix > least[k]:
                return -1.0
            total += float(reach[k, prefix]) * self.gains[k - 1][at]
        return total


def _anneal(
    problem: Problem, landscape: _Landscape, start: Ints, rng: np.random.Generator
) -> Ints:
    """Best ranks met in `STEPS` steps."""
    choices = problem.ranks
    index = [int(np.searchsorted(choices, r)) if r > 0 else -1 for r in start]
    value = landscape.value(index)
    best, best_value = index, value
    scale = max(abs(value), float(problem.gains.max()) * 1e-3)
    cooling = (COLD / HOT) ** (1 / STEPS)
    heat = HOT * scale
    reach = max(1, round(REACH * len(choices)))
    layers = rng.integers(0, len(index), STEPS).tolist()
    moves = rng.integers(-reach, reach + 1, STEPS).tolist()
    luck = rng.random(STEPS).tolist()
    for layer, move, chance in zip(layers, moves, luck, strict=True):
        heat *= cooling
        near = _moved(index, layer, move, len(choices) - 1)
        if near == index or not may_be(problem, _ranks(choices, near)):
            continue
        found = landscape.value(near)
        if found < 0 or chance >= np.exp(min(0.0, (found - value) / heat)):
            continue
        index, value = near, found
        if value > best_value:
            best, best_value = index, value
        if expired():
            break
    return _ranks(choices, best)


def _moved(index: list[int], layer: int, move: int, last: int) -> list[int]:
    """Move one rank; below the first choice it and what lies deeper become bare."""
    depth = sum(at >= 0 for at in index)
    layer = min(layer, depth)
    near = index.copy()
    if layer < len(index):
        near[layer] = min(index[layer] + move, last) if index[layer] >= 0 else max(move, 0)
        near[layer] = min(near[layer], last)
        if near[layer] < 0:
            near[layer:] = [-1] * (len(index) - layer)
    return near


def _ranks(choices: Ints, index: list[int]) -> Ints:
    return np.array([choices[at] if at >= 0 else 0 for at in index], dtype=np.int64)
