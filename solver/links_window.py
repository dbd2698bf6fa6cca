"""The best plan for round times within a window, by structure, with a bound.

Three parts in turn: prices of the links (and of the wait) from the linear program over own
ranks, a bound that follows its subgradients, and for the ranks it proposes the program over
the options of these ranks, rounded to a plan. See `solver.links_pool`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from solver.allocation import Allocation, fits, shared
from solver.bundle import lowest
from solver.capacity import exact
from solver.deadline import expired
from solver.devices import Floats, Ints
from solver.explain import least_allocation
from solver.links import Links
from solver.links_best import Best, Caps
from solver.links_capped import CappedAnswer, Climb
from solver.links_copies import LAST_PRICES, Copies
from solver.links_own import OwnRanks
from solver.links_polish import Neighbours
from solver.links_pool import Mix, Pool, Prices, Window, best_mix
from solver.links_round import rounded
from solver.links_shared import PricedRanks
from solver.problem import Problem

GAP = 2e-4
# Times that the first bound by copies is priced anew, and looks for prices each time.
PHASES, PRICINGS = 4, 12
# Factor of the wait's price where capped ranks cannot keep it.
DEARER = 1.5
# Shares of the round time that rounding a plan with a wait may take off.
OFF = (0.0, 1e-3, 3e-3)
# Columns that the program over own or capped ranks takes at most, and when it is solved.
COLUMNS, CLOSE = 24, 1e-5
# First boxes of prices, as shares of all utility a second; smaller if prices are handed down.
LINK_RADIUS, WAIT_RADIUS, HANDED = 0.02, 0.4, 8.0
ROUNDING = 1e-12
# Closer than this, rounding is what is left.
NEAR = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much work a window is worth, counted so that a plan is the same on every machine.

    Parameters
    ----------
    steps : int
        Looks at the bound at other prices.
    programs : int
        Rank vectors that a linear program is solved for.
    copies : int
        Steps of the bound on capped ranks.
    polish : int
        Changes of single layers that a linear program is solved for, times the devices in it.
    """

    steps: int
    programs: int
    copies: int
    polish: int = 0


QUICK = Effort(steps=24, programs=2, copies=0)
THOROUGH = Effort(steps=120, programs=8, copies=50, polish=24_000)


@dataclass(slots=True, kw_only=True)
class Search:
    """One window's problem.

    Parameters
    ----------
    problem : Problem
        With the window's longest round time as its budget.
    window : Window
    best : Best
    own : OwnRanks
        Optimistic.
    prices : Prices
        The best known.
    handed_down : bool
        Whether they come from a window around this one.
    """

    problem: Problem
    window: Window
    best: Best
    own: OwnRanks
    prices: Prices
    handed_down: bool = False
    tried: set[tuple[int, ...]] = field(default_factory=set)

    @classmethod
    def of(
        cls, problem: Problem, links: Links, window: Window, best: Best, prices: Prices | None
    ) -> Self:
        """See `Search`; `prices` are those to start from, if any."""
        handed_down = prices is not None
        if prices is None:
            prices = Prices(links=np.zeros(len(links.names)))
        return cls(
            problem=problem,
            window=window,
            best=best,
            own=OwnRanks.of(problem, links, optimistic=True),
            prices=prices,
            handed_down=handed_down,
        )

    @property
    def links(self) -> Links:
        """The links."""
        return self.own.links

    def run(self, effort: Effort) -> float:
        """Look for better plans; a bound on all with a round time in the window."""
        structure = self.problem.question.structure
        if structure == "shared":
            return self._shared_ranks(effort)
        handed = self.prices if self.handed_down else None
        bound = self._own_ranks()
        if structure == "own" or bound <= self.best.value * (1 + GAP):
            return bound
        return min(bound, self._capped_ranks(effort, bound, handed))

    def _own_ranks(self) -> float:
        """The program over ranks of their own: its prices, a bound, and, if asked, plans."""
        same = exact(
            self.problem.costs,
            self.problem.question.rank_choices[-1],
            self.problem.question.min_depth,
        )
        wanted = self.problem.question.structure == "own"
        sides = [self.own]
        if wanted and not same:
            sides.append(OwnRanks.of(self.problem, self.links, optimistic=False))
        pool, bound = self._pool(), np.inf
        mix: Mix | None = None
        for _ in range(COLUMNS):
            found, value = self.own.answer(self.prices, self.window)
            bound = min(bound, value)
            # What is optimistic may not be allowed, but its prices are as good.
            new = pool.add(found)
            mix = best_mix(pool, self.links, self.window)
            self.prices = mix.prices
            if not new or bound - mix.value <= CLOSE * abs(bound) or expired():
                break
        bound = min(bound, self.own.answer(self.prices, self.window)[1])
        if wanted and mix is not None:
            if len(sides) > 1:
                pool, mix = self._generated(lambda p: sides[1].answer(p, self.window)[0])
            self._round(pool, mix)
        return bound + ROUNDING * abs(bound)

    def _pool(self) -> Pool:
        pool = Pool(problem=self.problem)
        pool.add(least_allocation(self.problem))
        return pool

    def _generated(self, best_at: Callable[[Prices], Allocation]) -> tuple[Pool, Mix]:
        """Add the best options at the program's own prices until they are all there."""
        pool, prices = self._pool(), self.prices
        for _ in range(COLUMNS):
            new = pool.add(best_at(prices))
            mix = best_mix(pool, self.links, self.window)
            prices = mix.prices
            if not new or expired():
                break
        return pool, mix

    def _round(self, pool: Pool, mix: Mix) -> None:
        """Offer the plan that a mix rounds to."""
        if not mix.keeps or mix.value <= self.best.value:
            return
        ends = {self.window.high_s}
        if self.window.epsilon_s is not None:
            # The mix may like a shorter round than the window's longest, and a plan one that
            # is shorter still, as devices then wait less.
            ends |= {max(mix.round_s * (1 - off), self.window.low_s) for off in OFF}
        for round_s in sorted(ends):
            chosen = rounded(pool, self.links, replace(self.window, high_s=round_s), mix)
            if chosen is not None:
                self.best.offer(pool.allocation(chosen))

    def try_ranks(self, ranks: Ints) -> Mix | None:
        """Solve the program over the options of shared ranks; None if they were tried."""
        key = tuple(ranks.tolist())
        if key in self.tried:
            return None
        self.tried.add(key)
        if self.problem.question.structure == "capped":
            answers = CappedAnswer.of(self.problem, self.links, ranks)
            pool, mix = self._generated(answers.best)
            caps = self.best.caps
            if mix.keeps and mix.value > caps.value:
                caps.ranks, caps.value, caps.prices = ranks, mix.value, mix.prices
        else:
            pool = self._depths(ranks)
            if not pool.rows or not np.isfinite(pool.value).any(axis=1).all():
                return None
            mix = best_mix(pool, self.links, self.window)
        self._round(pool, mix)
        return mix

    def _depths(self, ranks: Ints) -> Pool:
        """Every depth that each device can reach with shared ranks."""
        pool, least = Pool(problem=self.problem), self.problem.question.min_depth
        whole = shared(self.problem, ranks)
        for k in range(least, int(whole.depth.max()) + 1):
            able = fits(self.problem.costs, whole.rows, whole.row, k)
            depth = np.where(able, k, -1)
            pool.add(Allocation(rows=whole.rows, row=whole.row, depth=depth))
        return pool

    def _shared_ranks(self, effort: Effort) -> float:
        """Lowest bound of `solver.links_shared` over the prices; its ranks become plans."""
        program = PricedRanks.of(self.problem, self.links)
        start, ranks = self._vector(self.prices), list[Ints]()

        def look(at: Floats) -> tuple[float, Floats]:
            prices = self._prices(at)
            found, bound = program.solve(prices, self.window)
            if found is None:
                return -np.inf, at
            ranks.append(found.ranks)
            left_s, kept_s = program.slack(found, prices, self.window)
            slope = np.append(left_s[self.window.kept], kept_s / self.links.count.sum())
            return bound, slope[: len(at)]

        def enough(bound: float) -> bool:
            return bound <= self.best.value * (1 + GAP)

        found = lowest(look, start, self._radius(), steps=effort.steps, enough=enough)
        if found.value == -np.inf:
            return found.value
        self.prices = self._prices(found.at)
        bound = found.value + ROUNDING * abs(found.value)
        self._propose([ranks[i] for i in found.looks], effort)
        self._polish(program, bound, effort.polish)
        return bound

    def _propose(self, proposed: list[Ints], effort: Effort) -> None:
        """Try the ranks whose mix is the bound, the heaviest first."""
        for ranks in proposed[: effort.programs]:
            if not expired():
                self.try_ranks(ranks)

    def _radius(self) -> Floats:
        """How far prices may be from those to start from."""
        second = float(self.problem.weights.sum() * self.problem.gains[:, -1].sum())
        second /= max(self.window.high_s, 1e-300) * (HANDED if self.handed_down else 1.0)
        radius = np.full(len(self.window.kept), LINK_RADIUS * second)
        return (
            radius if self.window.epsilon_s is None else np.append(radius, WAIT_RADIUS * second)
        )

    def polish(self, number: int) -> None:
        """Look for better plans near the best only; see `Effort.polish`."""
        self._polish(PricedRanks.of(self.problem, self.links), np.inf, number)

    def _polish(self, program: PricedRanks, bound: float, number: int) -> None:
        """Change single layers of the best plan's ranks while that promises more."""
        if self.best.allocation is None or number == 0:
            return
        number //= len(self.problem.costs.devices)
        ranks = self.best.allocation.rows[0]
        mix = best_mix(self._depths(ranks), self.links, self.window)
        while number > 0 and self.best.value * (1 + NEAR) < bound and not expired():
            near = Neighbours.of(program, self.window, ranks, mix.prices)
            better = None
            for other in near.above(mix.value * (1 + CLOSE)):
                found = self.try_ranks(other)
                number -= found is not None
                if found is not None and found.keeps and found.value > mix.value * (1 + CLOSE):
                    better = other, found
                if better or number <= 0 or expired():
                    break
            if better is None:
                return
            ranks, mix = better

    def _vector(self, prices: Prices) -> Floats:
        """Prices of the kept links and of a second of mean wait."""
        own = prices.links[self.window.kept]
        if self.window.epsilon_s is None:
            return own
        return np.append(own, prices.wait * self.links.count.sum())

    def _prices(self, vector: Floats) -> Prices:
        links = np.zeros(len(self.links.names))
        kept = len(self.window.kept)
        links[self.window.kept] = vector[:kept]
        wait = float(vector[-1] / self.links.count.sum()) if len(vector) > kept else 0.0
        return Prices(links=links, wait=wait)

    def _capped_ranks(self, effort: Effort, bound: float, handed: Prices | None) -> float:
        """Climb to good ranks at the prices of the last ones, then bound by copies."""
        caps = self.best.caps
        if self.window.epsilon_s is not None:
            # Prices of capped ranks, where there are any, say more than those of own ranks.
            self.prices = handed or caps.prices or self.prices
        mean = self._vector(self.prices)
        ranks = self._start() if caps.ranks is None else caps.ranks
        for number in range(effort.programs):
            ranks = Climb.of(self.own, self._prices(mean)).ascend(ranks)
            mix = self.try_ranks(ranks)
            if mix is None:
                break
            if mix.keeps:
                mean = mean + (self._vector(mix.prices) - mean) / (number + 2)
            elif self.window.epsilon_s is not None:
                # Ranks that leave devices too little to do: what they do is worth more.
                mean[-1] = DEARER * mean[-1] + self._radius()[-1] / HANDED
        self.prices = self._prices(mean)
        if caps.ranks is None or effort.copies == 0 or self.best.allocation is None:
            return bound
        return min(bound, self._copies(caps, effort.copies))

    def _copies(self, caps: Caps, steps: int) -> float:
        """Bound by copies of the ranks, from the best multipliers so far."""
        assert caps.ranks is not None
        waits = self.window.epsilon_s is not None
        phases = PHASES if caps.copies is None else 1
        if caps.copies is None:
            caps.copies = Copies.of(self.own, self.prices, caps.ranks)
            caps.multipliers = caps.copies.at_rest(caps.ranks)
        bound, target = np.inf, self.best.value * (1 + GAP / 2)
        for phase in range(phases):
            copies = caps.copies.at(self.own, self.prices)
            constant = self.prices.constant(self.links, self.window)
            assert caps.multipliers is not None
            caps.multipliers, around, found = copies.descend(
                caps.multipliers, caps.ranks, target, constant, steps
            )
            bound = min(bound, found)
            if bound <= target or expired():
                return bound
            if waits or phase < phases - 1:
                bound = min(bound, self._priced(caps, around, target))
        assert caps.multipliers is not None
        last = caps.copies.at(self.own, self.prices).answers(
            caps.multipliers, around, LAST_PRICES
        )
        return min(bound, last.total + self.prices.constant(self.links, self.window))

    def _priced(self, caps: Caps, around: Floats, target: float) -> float:
        """Better prices for the copies' multipliers, and the bound there."""

        def look(at: Floats) -> tuple[float, Floats]:
            prices = self._prices(at)
            assert caps.copies is not None
            assert caps.multipliers is not None
            copies = caps.copies.at(self.own, prices)
            answers = copies.answers(caps.multipliers, around)
            left_s, kept_s = copies.slack(self.own, answers, prices, self.window)
            slope = np.append(left_s[self.window.kept], kept_s / self.links.count.sum())
            return answers.total + prices.constant(self.links, self.window), slope[: len(at)]

        found = lowest(
            look,
            self._vector(self.prices),
            self._radius() / HANDED,
            steps=PRICINGS,
            enough=lambda bound: bound <= target,
        )
        self.prices = self._prices(found.at)
        return found.value

    def _start(self) -> Ints:
        """Ranks to climb from: as large as a budget on them allows."""
        problem = self.problem
        budget, choices = problem.question.budgets.rank_budget, problem.ranks
        middle = choices[len(choices) // 2]
        if budget is None:
            return np.full(problem.layers, middle)
        level = choices[choices * problem.layers <= budget]
        rank = level[-1] if len(level) else choices[0]
        ranks = np.full(problem.layers, rank)
        return np.where(np.cumsum(ranks) <= budget, ranks, 0)
