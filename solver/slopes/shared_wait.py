"""Shared ranks that keep a mean wait, where costs are out of proportion to the layers' sizes.

`solver.wait.search` bounds round times between two ends with a price on own times, and
`solver.slopes.branch` bounds ranks in a box by capacities that hold there. Here a node is both:
round times and a box of ranks. Within it devices are as optimistic as the box and the later end
allow, the wait is priced, and ranks through which no better plan goes are forgotten. What is
left is cut where more is open: at the round time while the wait's price on it weighs more than
what is missing, else in the box.
"""

import heapq
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from solver.allocation import Allocation, longest_round_s
from solver.costs.devices import Ints
from solver.deadline import expired
from solver.least import least_round_time_s
from solver.problem import Problem
from solver.slopes.branch import Box, box_capacity, narrowed, split, spread
from solver.slopes.levels import MOST_CELLS, Levels, levels
from solver.wait.incumbent import Incumbent
from solver.wait.price import Lines, higher
from solver.wait.relax import Relaxed, under_deadline

# Gap at which to stop, and work of a search, as cells of tables and of devices.
GAP, WORK, FEWEST, MOST = 1e-4, 2e10, 16, 2000
# Nodes without any plan.
WITHOUT = 600
# Prices of a node, and how close to the lines known they have to come, as a share of the rest.
PRICES, CLOSE = 6, 0.3
# Rounds over the layers of the climb from a new plan, and how far ranks are moved.
ROUNDS, MOVES = 4, (-4, -2, -1, 1, 2, 4)
# Round times this close are one, and how far apart they may be, times what is unsure of costs,
# while boxes are cut.
SAME, SURE = 1e-9, 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """Round times between two ends and ranks in a box, and the price that its whole took."""

    start_s: float
    end_s: float
    box: Box
    price: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounded:
    """What a node may hold at most, at its best price."""

    bound: float
    price: float
    through: Levels
    ranks: list[Ints]


def searchable(problem: Problem) -> bool:
    """Whether ranks may be any in a box, and the tables of a node fit."""
    question = problem.question
    cells = int(problem.costs.sizes.sum() // np.gcd.reduce(problem.costs.sizes))
    free = question.rank_shape == "free" and question.budgets.rank_budget is None
    return free and cells * int(problem.ranks[-1]) * len(problem.ranks) <= MOST_CELLS


def search_boxes(
    problem: Problem, start: Allocation | None, upper: float, epsilon_s: float
) -> tuple[Allocation | None, float]:
    """Improve a plan that keeps the wait, if there is one, and the bound.

    Parameters
    ----------
    problem : Problem
        See `searchable`.
    start : Allocation or None
    upper : float
        A bound to start from.
    epsilon_s : float
        Largest mean wait, seconds.

    Returns
    -------
    tuple of (Allocation or None, float)
        As `solver.wait.search.search`.
    """
    state = Incumbent(problem=problem, epsilon_s=epsilon_s)
    if start is not None:
        state.consider(start)
        _climb(state)
    least_s, budget_s = least_round_time_s(problem), problem.question.budgets.round_time_s
    if least_s is None:
        return state.allocation, upper
    longest_s = longest_round_s(problem)
    end_s = longest_s if budget_s is None else min(longest_s, budget_s)
    layers, choices = problem.gains.shape
    box = Box(low=np.zeros(layers, np.int64), high=np.full(layers, choices - 1))
    order, settled = count(), -np.inf
    queue = [(-upper, next(order), _Node(start_s=least_s, end_s=end_s, box=box))]
    for number in range(_nodes(problem)):
        if number >= WITHOUT and state.allocation is None:
            break
        if not queue or -queue[0][0] <= _floor(state) or expired():
            break
        above, _, node = heapq.heappop(queue)
        found = _bound(state, node)
        if found is None:
            continue
        bound, before = min(found.bound, -above), state.value
        for ranks in found.ranks:
            state.offer(ranks)
        if state.value > before:
            _climb(state)
        inner, forgotten = narrowed(node.box, found.through, _floor(state))
        if forgotten > 0:
            # At 0 nothing was forgotten that is a plan.
            settled = max(settled, min(forgotten, bound))
        if bound <= _floor(state):
            continue
        parts = _cut(state, replace(node, box=inner, price=found.price), found, bound)
        settled = settled if parts else max(settled, bound)
        for part in parts:
            heapq.heappush(queue, (-bound, next(order), part))
    bound = max(-queue[0][0] if queue else -np.inf, settled)
    if state.allocation is None:
        return None, bound
    return state.allocation, min(max(bound, state.value), upper)


def _floor(state: Incumbent) -> float:
    return state.value + GAP * abs(state.value)


def _nodes(problem: Problem) -> int:
    """How many nodes to look at, by work and not by the clock."""
    costs, (layers, ranks) = problem.costs, problem.gains.shape
    devices = len(costs.devices) * layers * layers * len(costs.resources)
    cells = layers * ranks * int(problem.ranks[-1]) * layers
    return int(np.clip(WORK / (20 * devices + 20 * cells), FEWEST, MOST))


def _bound(state: Incumbent, node: _Node) -> _Bounded | None:
    """Bound a node at the best price; None where it holds no plan."""
    problem, least = state.problem, state.problem.question.min_depth
    costs = under_deadline(problem.costs, node.end_s)
    within = replace(problem, costs=costs)
    table = box_capacity(within, node.box)
    if table.least[least] < 0:
        return None
    relaxed = Relaxed.of(problem, costs, table)
    needed_s = relaxed.needed_s(node.start_s, state.epsilon_s)
    lines, price, best = Lines(), node.price, None
    for _ in range(PRICES):
        found = levels(
            table, problem.gains, problem.ranks, node.box.low, node.box.high,
            min_depth=least, prices=relaxed.prices(price),
        )  # fmt: skip
        if found.value == -np.inf:
            return None
        height = found.value - price * needed_s
        if best is None or height < best.bound:
            through = replace(found, through=found.through - price * needed_s)
            best = _Bounded(bound=height, price=price, through=through, ranks=lines.ranks)
        if best.bound <= _floor(state):
            break
        lines.add(relaxed, [found.ranks], needed_s)
        target = lines.lowest() if lines.gain else None
        if target is not None:
            if best.bound <= target[1] + CLOSE * max(best.bound - _floor(state), 0.0):
                break
            price = target[0]
        else:
            price = higher(lines, price)
    return best


def _cut(state: Incumbent, node: _Node, found: _Bounded, bound: float) -> list[_Node]:
    """Halve the round times or the box, where less is certain; nothing if neither is left."""
    problem, width_s = state.problem, node.end_s - node.start_s
    total = float(problem.costs.devices.count.sum())
    parts = split(problem, node.box, found.through)
    low, high = problem.ranks[node.box.low], problem.ranks[node.box.high]
    # What a rank costs differs by layers so much, and so do ranks in the box.
    unsure = float(spread(problem.costs).max() * (high - low).sum() / high.sum())
    long = width_s > SAME * node.end_s
    wide = width_s > SURE * unsure * node.end_s
    if long and (
        parts is None or wide or found.price * total * width_s > bound - _floor(state)
    ):
        middle_s = (node.start_s + node.end_s) / 2
        return [replace(node, end_s=middle_s), replace(node, start_s=middle_s)]
    return [] if parts is None else [replace(node, box=part) for part in parts]


def _climb(state: Incumbent) -> None:
    """Move one layer's rank at a time while that gains."""
    choices = state.problem.ranks
    for _ in range(ROUNDS):
        before = state.value
        if state.allocation is None or expired():
            return
        depth = int((state.allocation.rows[0] > 0).sum())
        for layer in range(depth):
            ranks = state.allocation.rows[0]
            at = int(np.searchsorted(choices, ranks[layer]))
            for move in MOVES:
                if 0 <= at + move < len(choices):
                    other = ranks.copy()
                    other[layer] = choices[at + move]
                    state.offer(other)
        if state.value <= before:
            return
