"""Most utility under a mean wait, with a bound: branch on the round time, price the wait.

With T the realised round time, c_i the counts, C their sum and epsilon the budget, the wait
is kept exactly when the devices' own times add up to enough:

    sum_i c_i t_i  >=  C (T - epsilon).

Those times add up over layers as the gains do, so a price on them enters the dynamic program
of `solver.dp` as one more reward per layer. For all plans with T in [a, b],

    max over ranks of  U + price * (sum_i c_i t_i - C (a - epsilon)),   every t_i <= b,

is an upper bound for any price >= 0 (Lagrangian relaxation; everybody as deep as b allows is
best for both terms). The price is bisected, and intervals are split, best bound first. Every
solution's ranks are finished exactly by `solver.waits.limit_wait`, which yields the plans.
"""

import heapq
from dataclasses import dataclass

import numpy as np

from solver.allocation import Allocation, round_time_s, shared, utility
from solver.capacity import Capacity, capacity, units_by_depth
from solver.devices import Floats
from solver.dp import Prices, SharedRanks
from solver.explain import least_round_time_s
from solver.problem import Problem
from solver.shapes import shaped_ranks
from solver.waits import limit_wait

GAP = 1e-4
PRICE_STEPS = 10
# Dynamic programs in one search: by work, not by the clock, so that the plan is the same on
# every machine.
WORK = 4e8
FEWEST, MOST = 24, 120


@dataclass(slots=True, kw_only=True)
class _Best:
    """Best allocation so far that keeps the wait."""

    allocation: Allocation | None
    value: float

    def offer(self, problem: Problem, candidate: Allocation, epsilon_s: float) -> None:
        kept = limit_wait(problem, candidate, epsilon_s)
        if kept is not None and utility(problem, kept) > self.value:
            self.allocation, self.value = kept, utility(problem, kept)


def search(
    problem: Problem, unlimited: Allocation, upper: float, epsilon_s: float
) -> tuple[Allocation | None, float]:
    """Find shared ranks and depths that keep the mean wait.

    Parameters
    ----------
    problem : Problem
        Shared ranks.
    unlimited : Allocation
        Best allocation without the wait.
    upper : float
        Its bound.
    epsilon_s : float
        Largest mean wait, seconds.

    Returns
    -------
    tuple of (Allocation or None, float)
        Best allocation found, and a bound on the utility of every one that keeps the wait.
    """
    best = _Best(allocation=None, value=-1.0)
    best.offer(problem, unlimited, epsilon_s)
    start = least_round_time_s(problem)
    end = _longest_s(problem)
    if start is None:
        return best.allocation, upper
    # (minus the bound, from, to); a split inherits the bound of its whole.
    queue = [(-upper, start, end)]
    for _ in range(_tries(problem)):
        if not queue or -queue[0][0] <= best.value * (1 + GAP):
            break
        _, low, high = heapq.heappop(queue)
        bound = _interval_bound(problem, low, high, epsilon_s, best)
        if bound is None or high - low <= 1e-9 * high:
            if bound is not None:
                heapq.heappush(queue, (-bound, low, low))
            continue
        middle = (low + high) / 2
        heapq.heappush(queue, (-bound, low, middle))
        heapq.heappush(queue, (-bound, middle, high))
    bound = max(-queue[0][0] if queue else 0.0, best.value)
    return best.allocation, min(bound, upper) if best.allocation else upper


def _longest_s(problem: Problem) -> float:
    """A round time that no plan passes: `unlimited` may well be shorter than the best one."""
    n, layers = len(problem.costs.devices), problem.layers
    everything = Allocation(
        rows=np.full((1, layers), problem.ranks[-1]),
        row=np.zeros(n, dtype=np.int64),
        depth=np.full(n, layers),
    )
    budget_s = problem.question.budgets.round_time_s
    longest_s = round_time_s(problem, everything)
    return longest_s if budget_s is None else min(longest_s, budget_s)


def _tries(problem: Problem) -> int:
    layers, ranks = problem.gains.shape
    work = layers * ranks * int(problem.ranks[-1]) * layers * PRICE_STEPS
    return int(np.clip(WORK / work, FEWEST, MOST))


def _interval_bound(
    problem: Problem, low: float, high: float, epsilon_s: float, best: _Best
) -> float | None:
    """Least Lagrangian bound found for round times in [low, high]; None if there is none."""
    within = problem.under(round_time_s=high)
    question = problem.question
    top = question.rank_choices[-1]
    table = capacity(within.costs, problem.weights, top, optimistic=True)
    if table.least[question.min_depth] < 0:
        return None
    times = _Times.of(within, table)
    counts = problem.costs.devices.count
    needed_s = float(counts.sum()) * (low - epsilon_s) - times.bare_s
    least, price, cheap, dear = np.inf, 0.0, 0.0, np.inf
    for _ in range(PRICE_STEPS):
        found = shaped_ranks(
            question.rank_shape,
            table,
            problem.gains,
            problem.ranks,
            min_depth=question.min_depth,
            rank_budget=question.budgets.rank_budget,
            prices=times.prices(price) if price > 0 else None,
        )
        if found is None:
            return None
        least = min(least, found.value - price * needed_s)
        best.offer(problem, shared(within, found.ranks), epsilon_s)
        if least <= best.value * (1 + GAP):
            break
        if times.total_s(found, table) >= needed_s:
            dear = price
            if price == 0:
                break
        else:
            cheap = price
        price = _next_price(price, cheap, dear, least, times, needed_s)
    return least


def _next_price(
    price: float, cheap: float, dear: float, value: float, times: "_Times", needed_s: float
) -> float:
    if np.isfinite(dear):
        return (cheap + dear) / 2
    if price > 0:
        return price * 4
    return value / max(abs(needed_s), times.bare_s, 1e-12) / 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    """Own times of all devices together, per layer, as the dynamic program adds them up.

    Parameters
    ----------
    bare_s : float
        Sum over devices at depth 0, or 1 where nobody may stay at 0.
    fixed_s, per_rank_s : arrays, shape (L, S + 1)
        What layer k adds at prefix sum S, beside and per rank.
    """

    bare_s: float
    fixed_s: Floats
    per_rank_s: Floats

    @classmethod
    def of(cls, problem: Problem, table: Capacity) -> "_Times":
        """Aggregate the devices that can carry each prefix sum."""
        costs, q = problem.costs, problem.costs.seconds
        c, counts, top = (
            costs.devices.class_index,
            costs.devices.count,
            table.reach.shape[1] - 1,
        )
        units = units_by_depth(costs, table.unit, top, optimistic=True)
        ratio = np.maximum.accumulate(q.per_rank / costs.sizes, axis=1)
        # Everybody is this deep at least: its time is no reward of a layer.
        first = min(problem.question.min_depth, 1)
        fixed_s, per_rank_s = np.zeros((2, problem.layers, top + 1))
        for k in range(1, problem.layers + 1):
            able = units[k] >= 0
            # With a cache the first layer may save time, and whoever adapts none wait less.
            deeper_s = np.maximum(q.fixed(c, k) - q.fixed(c, max(k - 1, first)), 0.0) * counts
            slope_s = (q.scale * ratio[c, k - 1] + q.wire) * int(costs.sizes[k - 1]) * counts
            if q.flat is not None:
                slope_s += q.flat * counts
            for into, added_s in ((fixed_s, deeper_s), (per_rank_s, slope_s)):
                held = np.bincount(units[k][able], weights=added_s[able], minlength=top + 1)
                into[k - 1] = held[::-1].cumsum()[::-1]
        bare_s = float(np.dot(q.fixed(c, first) + q.offset, counts))
        return cls(bare_s=bare_s, fixed_s=fixed_s, per_rank_s=per_rank_s)

    def prices(self, price: float) -> Prices:
        """Reward of the time itself at a price per second."""
        return Prices(fixed=price * self.fixed_s, per_rank=price * self.per_rank_s)

    def total_s(self, found: SharedRanks, table: Capacity) -> float:
        """Own times beyond `bare_s` of a solution."""
        depth = int((found.ranks > 0).sum())
        prefix = np.cumsum(found.ranks * table.steps)[:depth]
        layer, ranks = np.arange(depth), found.ranks[:depth]
        added = self.fixed_s[layer, prefix] + ranks * self.per_rank_s[layer, prefix]
        return float(added.sum())
