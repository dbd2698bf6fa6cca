"""Iterated local search over shared ranks, for costs out of proportion to the layers' sizes.

One layer's rank is changed at a time, to the best of all choices: with the other ranks held,
device i can train depth k exactly up to a largest rank of that layer,

    r_max = min over resources of (limit - cost without it) / slope,

so one pass over devices and depths gives the utility of every choice at once. Where no layer
improves, a few ranks are changed at random and the ascent starts again (iterated local
search: Lourenço, Martin and Stützle, Handbook of Metaheuristics, 2003).
"""

import numpy as np

from solver.allocation import cost_by_depth, shared, utility
from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE
from solver.deadline import expired
from solver.problem import Problem

# Devices times layers times resources held at once; larger fleets keep the start.
MOST_CELLS = 4_000_000
KICKS = 60
KICKED_LAYERS = 2


def improve(problem: Problem, ranks: Ints, seed: int = 0, kicks: int = KICKS) -> Ints:
    """Better shared ranks, or the same.

    Parameters
    ----------
    problem : Problem
        Shared ranks; a budget on the mean wait is not looked at.
    ranks : array of int, shape (L,)
        A feasible start, from the output.
    seed : int
        Seed of the kicks.
    kicks : int
        How often the ascent starts again.

    Returns
    -------
    array of int, shape (L,)
        Feasible, of at least the start's utility.
    """
    depth = int((ranks > 0).sum())
    if depth == 0 or too_large(problem):
        return ranks
    rng = np.random.default_rng(seed)
    best = _ascend(problem, ranks)
    best_value = _value(problem, best)
    for _ in range(kicks):
        if expired():
            break
        kicked = best.copy()
        layers = rng.choice(depth, size=min(KICKED_LAYERS, depth), replace=False)
        kicked[layers] = rng.choice(problem.ranks, size=len(layers))
        if problem.question.rank_shape != "free":
            kicked[:depth] = np.sort(kicked[:depth])[::-1]
        found = _ascend(problem, kicked)
        value = _value(problem, found)
        if value > best_value:
            best, best_value = found, value
    return best if best_value > _value(problem, ranks) else ranks


def too_large(problem: Problem) -> bool:
    """Whether the search would hold too much at once."""
    costs = problem.costs
    cells = len(costs.devices) * (problem.layers + 1) * max(1, len(costs.resources))
    return cells > MOST_CELLS


def _value(problem: Problem, ranks: Ints) -> float:
    """Utility; -1 where a device falls short of the least depth or the ranks are too many."""
    budget = problem.question.budgets.rank_budget
    allocation = shared(problem, ranks)
    least = problem.question.min_depth
    if (allocation.depth < least).any() or (budget is not None and ranks.sum() > budget):
        return -1.0
    return utility(problem, allocation)


def _ascend(problem: Problem, ranks: Ints) -> Ints:
    """Change one layer at a time to its best rank until none improves."""
    ranks, depth = ranks.copy(), int((ranks > 0).sum())
    value = -np.inf
    while True:
        before = value
        for layer in range(depth):
            values = _by_rank(problem, ranks, layer)
            choice = int(np.argmax(values))
            ranks[layer], value = problem.ranks[choice], float(values[choice])
        if value <= before + 1e-12 * abs(before):
            return ranks


def _by_rank(problem: Problem, ranks: Ints, layer: int) -> Floats:
    """Utility of every rank choice of one layer, the others held, shape (R,)."""
    choices, question = problem.ranks, problem.question
    top = int(choices[-1])
    depth = int((ranks > 0).sum())
    value, index = np.zeros(len(choices)), np.searchsorted(choices, ranks)
    allowed = choices <= _budget_left(problem, ranks, layer)
    if question.rank_shape != "free":
        # From the output on ranks never rise.
        allowed &= choices >= (ranks[layer + 1] if layer + 1 < depth else 0)
        allowed &= choices <= (ranks[layer - 1] if layer > 0 else top)
    most = _largest_ranks(problem, ranks, layer)
    if 1 <= question.min_depth <= depth:
        allowed &= choices <= most[question.min_depth - 1].min()
    bins = most + 1 + np.arange(depth)[:, None] * (top + 2)
    weights = np.broadcast_to(problem.weights, most.shape)
    held = np.bincount(bins.ravel(), weights=weights.ravel(), minlength=depth * (top + 2))
    reach = held.reshape(depth, -1)[:, :0:-1].cumsum(axis=1)[:, ::-1]
    for k in range(depth):
        gain = problem.gains[k]
        value += reach[k, choices] * (gain if k == layer else gain[index[k]])
    # Where nothing is allowed the least rank breaks the budgets least.
    worse: Floats = -np.arange(1.0, len(choices) + 1)
    return np.where(allowed, value, worse)


def _largest_ranks(problem: Problem, ranks: Ints, layer: int) -> Ints:
    """Largest rank of `layer` at which each depth fits, by depth and device, shape (K, N).

    K is the depth of the ranks; at most the last choice, and -1 where no rank fits.
    """
    costs, top, depth = problem.costs, float(problem.ranks[-1]), int((ranks > 0).sum())
    c = costs.devices.class_index
    without = ranks[None, :].copy()
    without[0, layer] = 0
    row = np.zeros(len(c), dtype=np.int64)
    room = np.full((depth, len(c)), top)
    for q in costs.resources:
        most = q.limit * (1 + TOLERANCE)
        left = most - cost_by_depth(costs, q, without, row)[1 : depth + 1]
        above, from_here = left[:layer], left[layer:]
        slope = q.scale * q.per_rank[c, layer] + q.wire * costs.sizes[layer]
        if q.flat is not None:
            slope += q.flat
        above[:] = np.where(above >= 0, top, -1.0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            free = np.where(from_here >= 0, top, -1.0)
            from_here[:] = np.where(slope > 0, from_here / slope, free)
        np.minimum(room, left, out=room)
    whole: Ints = np.floor(room).clip(-1, top).astype(np.int64)
    return whole


def _budget_left(problem: Problem, ranks: Ints, layer: int) -> int:
    budget = problem.question.budgets.rank_budget
    others = int(ranks.sum() - ranks[layer])
    return int(problem.ranks[-1]) if budget is None else budget - others
