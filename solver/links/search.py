"""One window of round times: what is asked, known and found, and plans for given ranks.

`solver.links.window` searches with it, `solver.links.capped_window` where ranks have caps. For
given ranks the linear program of `solver.links.pool` mixes options, and the mix is rounded to
a plan.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from solver.allocation import LEFT_OUT, Allocation, fits, shared
from solver.costs.devices import Floats, Ints
from solver.deadline import expired
from solver.least import least_allocation
from solver.links.best import Best
from solver.links.capped import CappedAnswer
from solver.links.graph import Links
from solver.links.mix import Basis, Mix, best_mix
from solver.links.own import OwnAtPrices
from solver.links.pool import Pool, Prices, Window
from solver.links.round import best_packed, rounded
from solver.problem import Problem

GAP = 2e-4
ROUNDING = 1e-12
# Shares of the round time that rounding a plan with a wait may take off.
OFF = (0.0, 1e-3, 3e-3)
# Shares of the wait that a mix is made to spare where it rounds to no plan.
SPARED = (2e-3, 1e-2)
# Columns that the program over own or capped ranks takes at most.
COLUMNS = 24
# Devices up to which options are added that are best at prices around the program's own, and
# these prices in its own: where devices are few, a mix is far from a plan.
FEW = 48
AROUND = (0.25, 0.5, 0.7, 0.85, 0.95, 1.05, 1.15, 1.4, 2.0, 4.0)
# First boxes of prices, as shares of all utility a second; smaller if prices are handed down.
LINK_RADIUS, WAIT_RADIUS, HANDED = 0.02, 0.4, 8.0


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
    few : bool
        Whether to look further where devices are few and one round time is asked for, as no
        mix is near a plan there.
    """

    steps: int
    programs: int
    copies: int
    polish: int = 0
    few: bool = False


@dataclass(slots=True, kw_only=True)
class Search:
    """One window's problem.

    Parameters
    ----------
    problem : Problem
        With the window's longest round time as its budget.
    window : Window
    best : Best
    own : OwnAtPrices
        Optimistic.
    prices : Prices
        The best known.
    handed_down : bool
        Whether they come from a window around this one.
    few : bool
        Whether to look further; see `Effort.few`.
    tried : set of tuple of int
        Shared ranks that a program was solved for.
    basis : Basis or None
        Where the last of these programs ended, for ranks without caps.
    """

    problem: Problem
    window: Window
    best: Best
    own: OwnAtPrices
    prices: Prices
    handed_down: bool = False
    few: bool = False
    tried: set[tuple[int, ...]] = field(default_factory=set)
    basis: Basis | None = None

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
            own=OwnAtPrices.of(problem, links, optimistic=True),
            prices=prices,
            handed_down=handed_down,
        )

    @property
    def links(self) -> Links:
        """The links."""
        return self.own.links

    def begin(self, effort: Effort) -> None:
        """Set how far to look."""
        one, n = self.window.low_s == self.window.high_s, len(self.problem.costs.devices)
        self.few = effort.few and one and n <= FEW

    def pool(self) -> Pool:
        """The least option of every device alone."""
        pool = Pool(problem=self.problem)
        pool.add(least_allocation(self.problem))
        return pool

    def generated(self, best_at: Callable[[Prices], Sequence[Allocation]]) -> tuple[Pool, Mix]:
        """Add the best options at the program's own prices until they are all there."""
        pool, prices, basis = self.pool(), self.prices, None
        for _ in range(COLUMNS):
            new = _add(pool, best_at(prices))
            mix = best_mix(pool, self.links, self.window, start=basis)
            prices, basis = mix.prices, mix.basis
            if not new or expired():
                break
        if not self.few or not prices.links.any():
            return pool, mix
        for share in AROUND:
            _add(pool, best_at(replace(prices, links=prices.links * share)))
        return pool, best_mix(pool, self.links, self.window, start=basis)

    def round(self, pool: Pool, mix: Mix) -> None:
        """Offer the plan that a mix rounds to, or a mix of less wait if that rounds to none."""
        if not mix.keeps or mix.value <= self.best.value:
            return
        if self._round(pool, mix) or self.window.epsilon_s is None:
            return
        for spared in SPARED:
            epsilon_s = self.window.epsilon_s * (1 - spared)
            less = replace(self.window, epsilon_s=epsilon_s)
            mix = best_mix(pool, self.links, less, start=mix.basis)
            if not mix.keeps or self._round(pool, mix):
                return

    def _round(self, pool: Pool, mix: Mix) -> bool:
        """Offer the plan that a mix rounds to; whether it rounds to one."""
        ends, found = {self.window.high_s}, False
        if self.window.epsilon_s is not None:
            # The mix may like a shorter round than the window's longest, and a plan one that
            # is shorter still, as devices then wait less.
            ends |= {max(mix.round_s * (1 - off), self.window.low_s) for off in OFF}
        for round_s in sorted(ends):
            chosen = rounded(pool, self.links, replace(self.window, high_s=round_s), mix)
            if chosen is not None:
                self.best.offer(pool.allocation(chosen))
                found = True
        chosen = best_packed(pool, self.links, self.window, mix)
        if chosen is not None:
            self.best.offer(pool.allocation(chosen))
        return found or chosen is not None

    def try_ranks(self, ranks: Ints) -> Mix | None:
        """Solve the program over the options of shared ranks; None if they were tried."""
        key = tuple(ranks.tolist())
        if key in self.tried:
            return None
        self.tried.add(key)
        if self.problem.question.structure == "capped":
            answers = CappedAnswer.of(self.problem, self.links, ranks)
            pool, mix = self.generated(lambda p: [answers.best(p)])
            self.offer(ranks, pool, mix)
            return mix
        pool = self.depths(ranks)
        if not pool.rows or not np.isfinite(pool.value).any(axis=1).all():
            return None
        mix = self.mixed(pool)
        self.round(pool, mix)
        return mix

    def mixed(self, pool: Pool) -> Mix:
        """Solve the program over the options of shared ranks, from where the last one ended."""
        mix = best_mix(pool, self.links, self.window, start=self.basis)
        self.basis = mix.basis
        return mix

    def offer(self, ranks: Ints, pool: Pool, mix: Mix) -> None:
        """Offer what devices make of ranks with caps, and note these if they are better."""
        caps = self.best.caps
        if mix.keeps and mix.value > caps.value:
            caps.ranks, caps.value, caps.prices = ranks, mix.value, mix.prices
        self.round(pool, mix)

    def bounded(self, ranks: Ints) -> float:
        """Try shared ranks that were not tried, and bound every plan with them."""
        mix = self.try_ranks(ranks)
        if mix is None:
            return -np.inf
        if self.problem.question.structure == "capped":
            pool = Pool(problem=self.problem)
            pool.add(CappedAnswer.of(self.problem, self.links, ranks).best(mix.prices))
        else:
            pool = self.depths(ranks)
        if not pool.rows:
            return -np.inf
        most = pool.tilted(self.links, mix.prices).max(axis=1).sum()
        bound = float(most) + mix.prices.constant(self.links, self.window)
        return bound + ROUNDING * abs(bound)

    def depths(self, ranks: Ints) -> Pool:
        """Every depth that each device can reach with shared ranks."""
        pool = Pool(problem=self.problem)
        for found in self.at_depths(ranks):
            pool.add(found)
        return pool

    def at_depths(self, ranks: Ints) -> Iterator[Allocation]:
        """Shared ranks at every depth, for those devices that can reach it."""
        least, whole = self.problem.question.min_depth, shared(self.problem, ranks)
        for k in range(least, int(whole.depth.max()) + 1):
            able = fits(self.problem.costs, whole.rows, whole.row, k)
            yield Allocation(rows=whole.rows, row=whole.row, depth=np.where(able, k, LEFT_OUT))

    def radius(self) -> Floats:
        """How far prices may be from those to start from."""
        second = float(self.problem.weights.sum() * self.problem.gains[:, -1].sum())
        second /= max(self.window.high_s, 1e-300) * (HANDED if self.handed_down else 1.0)
        radius = np.full(len(self.window.kept), LINK_RADIUS * second)
        return (
            radius if self.window.epsilon_s is None else np.append(radius, WAIT_RADIUS * second)
        )

    def vector(self, prices: Prices) -> Floats:
        """Prices of the kept links and of a second of mean wait."""
        own = prices.links[self.window.kept]
        if self.window.epsilon_s is None:
            return own
        return np.append(own, prices.wait * self.links.count.sum())

    def prices_at(self, vector: Floats) -> Prices:
        """What `vector` was made of."""
        links = np.zeros(len(self.links.names))
        kept = len(self.window.kept)
        links[self.window.kept] = vector[:kept]
        wait = float(vector[-1] / self.links.count.sum()) if len(vector) > kept else 0.0
        return Prices(links=links, wait=wait)


def _add(pool: Pool, found: Sequence[Allocation]) -> bool:
    """Add options; whether any is new."""
    new = [pool.add(one) for one in found]
    return any(new)
