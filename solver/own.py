"""Ranks of its own for every device: one table of the dynamic program serves them all.

With everybody's weight set to 1, V_k(S) is the most a device can gain from its last k layers
with prefix sum S, so device i gains max over k and S <= h_i(k) of V_k(S).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from solver.allocation import Allocation, deepest, utility
from solver.costs.capacity import exact, units_by_depth
from solver.costs.devices import Floats, Ints
from solver.costs.resource import Costs
from solver.dp.alone import alone
from solver.dp.values import Tables
from solver.explain.infeasible import infeasible, without_plan
from solver.least import least_allocation
from solver.outcome import Outcome
from solver.problem import Problem
from solver.wait.answers import Answering, Answers
from solver.wait.deadlines import GAP as WAIT_GAP
from solver.wait.deadlines import Effort, search_deadlines, shortest_wait

# Values by prefix sum to the value at each or below, and the place that has it.
_Running = Callable[[Floats], tuple[Floats, Ints]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRanks:
    """The table, and what every device makes of it.

    Parameters
    ----------
    problem : Problem
    optimistic : bool
        Which side of the truth capacities err on.
    unit : int
        LoRA parameters in one unit of the prefix sum.
    table : Tables
        Of one device of weight 1 without limits.
    """

    problem: Problem
    optimistic: bool
    unit: int
    table: Tables

    @classmethod
    def of(cls, problem: Problem, *, optimistic: bool) -> Self:
        """Fill the table."""
        unit, _, table = alone(
            problem.costs.sizes, problem.gains, problem.ranks, optimistic=optimistic
        )
        return cls(problem=problem, optimistic=optimistic, unit=unit, table=table)

    def most(self, costs: Costs) -> Answers:
        """More than any plan, under some limits: best gain and largest prefix sum by depth."""
        longest = self._each(costs, _running_last)
        return replace(self.best(costs), parameters=longest.parameters)

    def best(self, costs: Costs) -> Answers:
        """By depth, from the least on, what gains most under some limits."""
        return self._each(costs, _running_best)

    def answers(self, costs: Costs) -> Answers:
        """By depth what gains most, and what has the largest prefix sum and takes longest."""
        best, longest = self.best(costs), self._each(costs, _running_last)
        return Answers(
            depth=np.concatenate([best.depth, longest.depth]),
            row=np.concatenate([best.row, longest.row]),
            parameters=np.concatenate([best.parameters, longest.parameters]),
            gain=np.concatenate([best.gain, longest.gain]),
        )

    def allocation(self, answers: Answers, chosen: Ints) -> Allocation:
        """What devices train that choose these answers, shape (N,)."""
        device = np.arange(len(chosen))
        at = np.stack([answers.depth[chosen], answers.row[chosen, device]], axis=1)
        at[np.isneginf(answers.gain[chosen, device])] = 0
        pairs, row = np.unique(at, axis=0, return_inverse=True)
        rows = np.array([self.table.backtrack(int(k), int(s)) for k, s in pairs])
        row = row.reshape(-1)
        return Allocation(rows=rows, row=row, depth=deepest(self.problem.costs, rows, row))

    def plan(self) -> tuple[float, Allocation]:
        """Largest utility, and who trains what; a device without an answer adds nothing."""
        best = self.best(self.problem.costs)
        # The first largest: the smallest depth.
        gain = best.gain.max(axis=0)
        value = float(np.dot(self.problem.weights, np.where(np.isneginf(gain), 0.0, gain)))
        return value, self.allocation(best, best.gain.argmax(axis=0))

    def _each(self, costs: Costs, running: _Running) -> Answers:
        """An answer by depth, with a prefix sum as its row."""
        values, least = self.table.values[:, :, 0], self.problem.question.min_depth
        top = values.shape[1] - 1
        units = units_by_depth(costs, self.unit, top, optimistic=self.optimistic)
        held = np.array(units[least:])
        gain, prefix = np.full(held.shape, -np.inf), np.zeros_like(held)
        for at, room in enumerate(held):
            best, where = running(values[least + at])
            gain[at] = np.where(room >= 0, best[room.clip(0)], -np.inf)
            prefix[at] = where[room.clip(0)]
        # Where sizes are rounded to the unit, prefix sums say little of the parameters.
        whole = not (costs.sizes % self.unit).any()
        return Answers(
            depth=np.arange(least, least + len(held)),
            row=prefix,
            parameters=np.where(whole, prefix * float(self.unit), np.inf),
            gain=gain,
        )


def plan_own(problem: Problem) -> Outcome:
    """Find ranks and depth of every device, of largest utility.

    Raises
    ------
    Infeasible
        If a device cannot reach the least depth, or nothing keeps the mean wait.
    """
    upper = OwnRanks.of(problem, optimistic=True)
    if exact(problem.costs, problem.question.rank_choices[-1], problem.question.min_depth):
        method, target, gap = "dynamic program, one table for all devices", 0.0, WAIT_GAP
        bound, allocation = upper.plan()
        effort = Effort.thorough(len(problem.costs.devices))
        keep = partial(search_deadlines, problem, upper, upper, effort=effort)
    else:
        # Here, not above: it asks for what is defined here, and most fleets start without it.
        from solver.slopes.own import GAP, plan_at_slopes
        from solver.slopes.own_wait import kept_at_slopes

        method, target, gap = "a knapsack for every device", GAP, GAP
        lower = OwnRanks.of(problem, optimistic=False)
        bound, allocation = plan_at_slopes(upper, lower)
        keep = partial(kept_at_slopes, upper, lower)
    short = allocation.depth < problem.question.min_depth
    if short.any():
        # What errs on the safe side finds no room; the least configuration, exact, may fit.
        reason = without_plan(problem)
        if reason is not None:
            raise reason
        allocation = _mixed(allocation, least_allocation(problem), short)
    epsilon_s = problem.question.budgets.mean_wait_s
    if epsilon_s is not None:
        kept, bound = keep(allocation, bound, epsilon_s)
        if kept is None:
            waiting = waits_little(problem)
            raise infeasible(problem, waiting=waiting, proven=bound == -np.inf)
        allocation, method, target = kept, f"{method}, priced wait", gap
    value = utility(problem, allocation)
    return Outcome(
        allocation=allocation,
        value=value,
        bound=max(bound, value),
        method=method,
        target_gap=target,
    )


class Most(NamedTuple):
    """A bound on the utility of ranks of their own, and devices that answer deadlines."""

    value: float
    devices: Answering


def most_of_own(problem: Problem) -> Most:
    """Bound all plans with ranks of their own, whoever they leave out, the wait aside."""
    upper = OwnRanks.of(problem, optimistic=True)
    if exact(problem.costs, problem.question.rank_choices[-1], problem.question.min_depth):
        return Most(upper.plan()[0], upper)
    from solver.slopes.own import plan_at_slopes

    lower = OwnRanks.of(problem, optimistic=False)
    return Most(plan_at_slopes(upper, lower)[0], upper)


def waits_little(problem: Problem) -> Allocation:
    """A plan with ranks of their own that waits little; the least configuration at worst."""
    own = OwnRanks.of(problem, optimistic=False)
    return shortest_wait(problem, own) or least_allocation(problem)


def _mixed(one: Allocation, other: Allocation, second: npt.NDArray[np.bool_]) -> Allocation:
    """The second allocation for some devices, the first for the others."""
    return Allocation(
        rows=np.concatenate([one.rows, other.rows]),
        row=np.where(second, other.row + len(one.rows), one.row),
        depth=np.where(second, other.depth, one.depth),
    )


def _running_best(values: Floats) -> tuple[Floats, Ints]:
    """Largest value at or below each prefix sum, and the first place it stands at."""
    best = np.maximum.accumulate(values)
    rises = np.append(True, best[1:] > best[:-1])
    where = np.maximum.accumulate(np.where(rises, np.arange(len(best)), 0))
    return best, where


def _running_last(values: Floats) -> tuple[Floats, Ints]:
    """Value of the largest prefix sum at or below each that ranks lead to, and its place."""
    reached = np.where(np.isneginf(values), 0, np.arange(len(values)))
    where = np.maximum.accumulate(reached)
    return values[where], where
