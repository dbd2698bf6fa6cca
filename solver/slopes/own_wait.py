"""Ranks of its own for every device that keep a mean wait, where costs are out of proportion.

As `solver.wait.deadlines` has it, with a knapsack for every device at every depth: what it
gains and how long it takes, at most, bounds an interval of round times; ranks that fit make
plans.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from solver.allocation import Allocation, deepest
from solver.costs.devices import Floats, Ints
from solver.costs.resource import Costs
from solver.own import OwnRanks
from solver.slopes.knapsacks import Knapsacks
from solver.slopes.own import GAP, knapsacks_of
from solver.wait.answers import Answers
from solver.wait.deadlines import Effort, search_deadlines

# Cells (device, depth, layer) of a fleet that answers deadlines this way, and of all looks.
CELLS, LOOKED_AT, FEWEST = 60_000, 1_000_000, 20


@dataclass(slots=True, kw_only=True)
class AtSlopes:
    """Devices that answer a deadline each for itself, see `solver.wait.answers.Answering`.

    Parameters
    ----------
    upper, lower : OwnRanks
        Optimistic and conservative.
    ranks : list of arrays, shape (P, L)
        Of all answers so far, which are numbered through.
    numbered : int
        How many that are.
    known : dict of float to Answers
        What is known at most, by deadline.
    """

    upper: OwnRanks
    lower: OwnRanks
    ranks: list[Ints] = field(default_factory=list)
    numbered: int = 0
    known: dict[float, Answers] = field(default_factory=dict)

    def most(self, costs: Costs) -> Answers:
        """Gain and own time at most, by depth."""
        # Intervals of round times share their ends.
        deadline_s = float(costs.seconds.limit[0])
        if deadline_s not in self.known:
            self.known[deadline_s] = self._most(costs)
        return self.known[deadline_s]

    def _most(self, costs: Costs) -> Answers:
        answers = self.upper.most(costs)
        at, device, knapsacks = self._all(answers, costs)
        _, least, _ = knapsacks.keeping()
        gain, own_s = answers.gain.copy(), np.full(answers.gain.shape, np.inf)
        gain[at, device] = np.minimum(gain[at, device], least)
        most_s = knapsacks.most_used(costs.resources.index(costs.seconds))
        own_s[at, device] = most_s + self._bare_s(costs, answers, at, device)
        return replace(answers, gain=gain, own_s=self._with_depth_0(costs, answers, own_s))

    def answers(self, costs: Costs) -> Answers:
        """What gains most, nearly, and what keeps a device busy, by depth."""
        answers = self.upper.best(costs)
        at, device, knapsacks = self._all(answers, costs)
        _, least, choice = knapsacks.keeping()
        fits, seconds = np.isfinite(least), costs.resources.index(costs.seconds)
        bare_s = self._bare_s(costs, answers, at, device)
        found = []
        busiest = knapsacks.filled(np.zeros_like(choice), by=seconds)
        for each in (knapsacks.filled(choice), busiest):
            gain, row = np.full(answers.gain.shape, -np.inf), np.zeros_like(answers.row)
            own_s = np.full(gain.shape, np.inf)
            gain[answers.depth == 0] = answers.gain[answers.depth == 0]
            gain[at, device] = np.where(fits, knapsacks.gained(each), -np.inf)
            row[at, device] = self.numbered + np.arange(len(at))
            own_s[at, device] = knapsacks.used(each)[seconds] + bare_s
            own_s = self._with_depth_0(costs, answers, own_s)
            self.ranks.append(np.where(knapsacks.deep, self.upper.problem.ranks[each], 0))
            self.numbered += len(at)
            nothing = np.full(gain.shape, np.inf)
            found.append(replace(answers, gain=gain, row=row, own_s=own_s, parameters=nothing))
        best, busy = found
        assert best.own_s is not None
        assert busy.own_s is not None
        return Answers(
            depth=np.concatenate([best.depth, busy.depth]),
            row=np.concatenate([best.row, busy.row]),
            parameters=np.concatenate([best.parameters, busy.parameters]),
            gain=np.concatenate([best.gain, busy.gain]),
            own_s=np.concatenate([best.own_s, busy.own_s]),
        )

    def allocation(self, answers: Answers, chosen: Ints) -> Allocation:
        """What devices train that choose these answers, shape (N,)."""
        costs, every = self.upper.problem.costs, np.arange(len(chosen))
        rows = np.concatenate(self.ranks)[answers.row[chosen, every]]
        rows[answers.depth[chosen] == 0] = 0
        return Allocation(rows=rows, row=every, depth=deepest(costs, rows, every))

    def _all(self, answers: Answers, costs: Costs) -> tuple[Ints, Ints, Knapsacks]:
        """Every depth that a device may have, but none at all."""
        at, device = np.nonzero(np.isfinite(answers.gain) & (answers.depth > 0)[:, None])
        problem = self.upper.problem
        return at, device, knapsacks_of(problem, costs, answers.depth[at], device)

    def _bare_s(self, costs: Costs, answers: Answers, at: Ints, device: Ints) -> Floats:
        """Own time at rank 0, shape (P,)."""
        q, c = costs.seconds[device], costs.devices.class_index[device]
        return np.asarray(q.fixed(c, answers.depth[at]) + q.offset)

    def _with_depth_0(self, costs: Costs, answers: Answers, own_s: Floats) -> Floats:
        if answers.depth[0] == 0:
            device = np.arange(own_s.shape[1])
            own_s[0] = self._bare_s(costs, answers, np.zeros_like(device), device)
        return own_s


def kept_at_slopes(
    upper: OwnRanks, lower: OwnRanks, start: Allocation, most: float, epsilon_s: float
) -> tuple[Allocation | None, float]:
    """Ranks and depths that keep a mean wait; see `solver.wait.deadlines.search_deadlines`."""
    problem = upper.problem
    number = len(problem.costs.devices)
    thorough, cells = Effort.thorough(number), number * problem.layers**2
    kept, bound = search_deadlines(problem, upper, lower, start, most, epsilon_s, thorough)
    if bound == -np.inf or cells > CELLS:
        # Nothing to look for, or too many devices for a knapsack each at every deadline.
        return kept, bound
    devices = AtSlopes(upper=upper, lower=lower)
    effort = Effort(gap=GAP, looks=max(LOOKED_AT // cells, FEWEST))
    again, lower_bound = search_deadlines(
        problem, devices, devices, kept or start, min(bound, most), epsilon_s, effort
    )
    return again or kept, min(bound, lower_bound)
