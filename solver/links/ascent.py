"""Better shared ranks behind links with a mean wait: ranks and round time in turn.

At one round time ranks are changed, one layer or two at once, while the linear program over
depths gains. What a change is worth at most at the program's prices says which to try first. A
wait that is too long is paid for on the way, so that ranks may begin where none is short.

Up to the least depth everybody sends the same, and often the fullest link has time for no more
than that: the round then lasts as long as these layers' ranks need, and a longer one is only
good for a larger rank there. So these ranks and the round time move together; where there is
time to spare, the round time moves alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple, Self

import numpy as np

from solver.costs.devices import Floats, Ints
from solver.deadline import expired
from solver.links.mix import Mix
from solver.links.part import SLACK, Deadline
from solver.links.pool import Prices, Window
from solver.links.search import Search
from solver.links.shared import PricedRanks
from solver.problem import Problem
from solver.shapes import is_allowed

# Places by which a choice is moved, alone, and at most with another layer's; such pairs that
# are looked at.
ALONE, PAIRED, PAIRS = (-8, -4, -2, -1, 1, 2, 4, 8), 4, 60
# Programs for one step, for one round time in all, and the relative gain that counts.
TRIES, PROGRAMS, CLOSE = 20, 150, 1e-6
# Moves of the round time, and the first of them as a share of it.
MOVES, FIRST_STEP = 5, 0.004


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What ranks are worth at most at given prices.

    Parameters
    ----------
    problem : Problem
    earned : array, shape (N, L, R)
        Of every device by layer and choice.
    start : array, shape (N,)
    units : array of int, shape (N, L)
        What a device carries at each depth from 1 on.
    steps : array of int, shape (L,)
    constant : float
    """

    problem: Problem
    earned: Floats
    start: Floats
    units: Ints
    steps: Ints
    constant: float

    @classmethod
    def of(cls, program: PricedRanks, window: Window, prices: Prices) -> Self:
        """Tabulate it."""
        return cls(
            problem=program.problem,
            earned=program.by_device(prices),
            start=program.start(prices),
            units=np.stack(program.most[1:], axis=1),
            steps=program.table.steps,
            constant=prices.constant(program.links, window),
        )

    def most(self, ranks: Ints) -> float:
        """No program over these ranks' options is worth more."""
        depth, least = int((ranks > 0).sum()), self.problem.question.min_depth
        at = np.searchsorted(self.problem.ranks, ranks[:depth])
        total = np.cumsum(self.earned[:, np.arange(depth), at], axis=1)
        total[self.units[:, :depth] < np.cumsum(ranks[:depth] * self.steps[:depth])] = -np.inf
        total[:, : max(least - 1, 0)] = -np.inf
        best = total.max(axis=1, initial=0.0 if least == 0 else -np.inf)
        return float((best + self.start).sum()) + self.constant


class Stand(NamedTuple):
    """Ranks, a round time, and the best mix there."""

    ranks: Ints
    round_s: float
    mix: Mix


@dataclass(slots=True, kw_only=True)
class Ascent:
    """A search under way.

    Parameters
    ----------
    at : callable
        The search at one round time.
    deadline : Deadline
        Of the longest one.
    searches : dict of float to Search
    """

    at: Callable[[float], Search]
    deadline: Deadline
    searches: dict[float, Search] = field(default_factory=dict)

    def run(self, ranks: Ints, round_s: float) -> None:
        """Offer better plans from ranks and a round time on."""
        ranks, round_s = self._fitting(ranks, round_s)
        best, step = self.climb(ranks, round_s), FIRST_STEP
        begun = set[tuple[float, ...]]()
        for _ in range(MOVES):
            if best is None or expired() or abs(step) < FIRST_STEP / 8:
                return
            moved = self._moved(best, step)
            key = () if moved is None else (moved[1], *moved[0].tolist())
            found = None if moved is None or key in begun else self.climb(*moved)
            begun.add(key)
            if found is not None and found.mix.value > best.mix.value * (1 + CLOSE):
                best = found
            elif step > 0:
                step = -step
            else:
                step = -step / 2

    def climb(self, ranks: Ints, round_s: float) -> Stand | None:
        """Change ranks while that gains at one round time; offer the plan they round to."""
        search = self._search(round_s)
        mix = self._mix(search, ranks)
        if mix is None:
            return None
        program = PricedRanks.of(search.problem, search.links)
        seen, number = {tuple(ranks.tolist())}, PROGRAMS
        while number > 0 and not expired():
            worth = Worth.of(program, search.window, mix.prices)
            enough, better = mix.value * (1 + CLOSE), None
            others = [
                other
                for most, other in neighbours(worth, ranks)
                if most > enough and tuple(other.tolist()) not in seen
            ]
            for other in others[: min(TRIES, number)]:
                seen.add(tuple(other.tolist()))
                number -= 1
                found = self._mix(search, other)
                if found is not None and found.value > enough:
                    better = other, found
                    break
            if better is None:
                break
            ranks, mix = better
        search.round(search.depths(ranks), mix)
        return Stand(ranks, round_s, mix)

    def _search(self, round_s: float) -> Search:
        if round_s not in self.searches:
            self.searches[round_s] = self.at(round_s)
        return self.searches[round_s]

    def _mix(self, search: Search, ranks: Ints) -> Mix | None:
        pool = search.depths(ranks)
        if not pool.rows or not np.isfinite(pool.value).any(axis=1).all():
            return None
        return search.mixed(pool)

    def _shortest_s(self, ranks: Ints) -> float:
        """The round time that the layers which all adapt need at least."""
        least = self.deadline.problem.question.min_depth
        prefix = int((ranks * self.deadline.ranks.steps)[:least].sum())
        return self.deadline.shortest_s(prefix) * (1 + SLACK)

    def _fitting(self, ranks: Ints, round_s: float) -> tuple[Ints, float]:
        """The same ranks at the round time they need if a little less is all they need."""
        shortest_s = self._shortest_s(ranks)
        near = shortest_s > round_s * (1 - FIRST_STEP)
        return ranks, shortest_s if near else round_s

    def _moved(self, stand: Stand, step: float) -> tuple[Ints, float] | None:
        """A round longer or shorter by a share, or by what one rank more or less asks for."""
        problem = self.deadline.problem
        limit_s = problem.question.budgets.round_time_s or np.inf
        ranks, least = stand.ranks.copy(), problem.question.min_depth
        if least and self._shortest_s(ranks) > stand.round_s * (1 - SLACK):
            at = int(np.searchsorted(problem.ranks, ranks[least - 1])) + (1 if step > 0 else -1)
            if not 0 <= at < len(problem.ranks):
                return None
            ranks[least - 1] = problem.ranks[at]
            moved_s = self._shortest_s(ranks)
            return (
                None
                if moved_s > limit_s or not is_allowed(problem.question, ranks)
                else (ranks, moved_s)
            )
        moved_s = max(stand.round_s * (1 + step), self._shortest_s(ranks))
        moved_s = min(moved_s, limit_s)
        return None if moved_s == stand.round_s else (ranks, moved_s)


def neighbours(worth: Worth, ranks: Ints) -> list[tuple[float, Ints]]:
    """Ranks that differ a little, with what they are worth at most, the best first.

    One layer differs, or two of which one gets less; or there is a layer more. The last layer
    that all must adapt stays as it is. Of pairs only those are looked at that promise most if
    what both layers change added up.
    """
    problem, least = worth.problem, worth.problem.question.min_depth
    depth = int((ranks > 0).sum())
    layers = [k for k in range(depth) if k != least - 1]
    alone = {
        (k, by): worth.most(other)
        for k in layers
        for by in ALONE
        if (other := _changed(problem, ranks, {k: by})) is not None
    }
    pairs = [
        (one[0], one[1], two[0], two[1], alone[one] + alone[two])
        for one, two in combinations(alone, 2)
        if one[0] != two[0] and one[1] * two[1] < 0 and max(abs(one[1]), abs(two[1])) <= PAIRED
    ]
    pairs.sort(key=lambda pair: -pair[-1])
    changes: list[dict[int, int]] = [{k: by} for k, by in alone]
    changes += [{a: more, b: less} for a, more, b, less, _ in pairs[:PAIRS]]
    found = [_changed(problem, ranks, change) for change in changes]
    if depth < problem.layers:
        longer = np.tile(ranks, (len(problem.ranks), 1))
        longer[:, depth] = problem.ranks
        found += [row for row in longer if is_allowed(problem.question, row)]
    valued = [(worth.most(other), other) for other in found if other is not None]
    return sorted(valued, key=lambda pair: -pair[0])


def _changed(problem: Problem, ranks: Ints, by: dict[int, int]) -> Ints | None:
    """Ranks with the choice of some layers moved, None where there are no such."""
    other = ranks.copy()
    for layer, places in by.items():
        at = int(np.searchsorted(problem.ranks, ranks[layer])) + places
        if not 0 <= at < len(problem.ranks):
            return None
        other[layer] = problem.ranks[at]
    return other if is_allowed(problem.question, other) else None
