"""Plans with caps behind shared links that keep a mean wait: round time and ranks in turn.

In a longer round the fastest devices wait longer unless the shared ranks give them more to do,
and the ranks that are best if nobody minds the wait give them too little. So these ranks are
only where to start: at a round time just beyond the longest that they keep, single layers are
changed while the linear program over what devices make of the ranks gains. There the wait
may be passed at a price, low at first, so that ranks go where a second is cheapest instead of
to the largest at once; what the program cannot keep at a low price, a higher one drives it to.
Then the round time is moved by steps that shrink, and last two layers are changed at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np

from solver.costs.devices import Ints
from solver.deadline import expired
from solver.links.blend import PLACES, moved
from solver.links.capped import CappedAnswer, Climb
from solver.links.mix import PENALTY, Basis, Mix, best_mix
from solver.links.pool import Pool, Prices
from solver.links.search import COLUMNS, Search

# What passing the wait costs, one after another; see `solver.links.pool`.
PENALTIES = (1.0, 3.0, PENALTY)
# Options to begin a program with: the best at these shares of the last program's link prices.
BEGIN = (0.5, 0.8, 1.0, 1.25, 2.0)
# Relative distance to its bound at which a program is solved, and gain that counts.
SOLVED, CLOSE = 2e-5, 1e-5
# Changes that are tried for one step, pairs of layers that are looked at, and last programs
# whose prices say what a change is worth at most.
TRIES, PAIRS, PLANES = 8, 60, 4
# Changes of single layers at a round time, times devices, and how many at most.
CHANGES, MOST_CHANGES = 16_000, 32
# Round times by bisection, then by steps, and the first of these, as a share.
HALVINGS, MOVES, FIRST_STEP = 9, 6, 0.01


class Tried(NamedTuple):
    """Ranks, the options that devices have with them, and their best mix."""

    ranks: Ints
    pool: Pool
    mix: Mix


def program(search: Search, ranks: Ints, prices: Prices, penalty: float = PENALTY) -> Tried:
    """Solve the program over what devices make of ranks, from prices that are near its own."""
    answers = CappedAnswer.of(search.problem, search.links, ranks)
    pool = search.pool()
    for share in BEGIN:
        pool.add(answers.best(replace(prices, links=prices.links * share)))
    start = Basis.at(pool, search.links, prices)
    mix = best_mix(pool, search.links, search.window, penalty, start)
    for _ in range(COLUMNS):
        best, alone = answers.best(mix.prices), Pool(problem=search.problem)
        alone.add(best)
        most = float(alone.tilted(search.links, mix.prices).sum())
        most += mix.prices.constant(search.links, search.window)
        if most - mix.value <= SOLVED * abs(most) or expired() or not pool.add(best):
            break
        mix = best_mix(pool, search.links, search.window, penalty, mix.basis)
    return Tried(ranks, pool, mix)


def improved(search: Search, ranks: Ints, prices: Prices, number: int) -> Tried:
    """Change single layers while that gains, by so many programs, fewer for each penalty."""
    for halved, penalty in enumerate(PENALTIES):
        now = program(search, ranks, prices, penalty)
        now = climbed(search, now, number >> halved, penalty, pairs=False)
        ranks, prices = now.ranks, now.mix.prices
        if now.mix.keeps and penalty >= PENALTIES[1]:
            break
    return now


def climbed(search: Search, now: Tried, number: int, penalty: float, *, pairs: bool) -> Tried:
    """Change one layer, or two at once, while that gains, by so many programs."""
    seen, planes = {tuple(now.ranks.tolist())}, Planes(search)
    planes.add(now)
    while number > 0:
        enough, better = now.mix.value * (1 + CLOSE), None
        tries = min(TRIES, number)
        for most, other in planes.near(now.ranks, pairs=pairs):
            # A program that was no better bounds what is like it, too.
            if most <= enough or tries == 0 or expired():
                break
            key = tuple(other.tolist())
            if key in seen or planes.most(other, enough) <= enough:
                continue
            tries, number = tries - 1, number - 1
            seen.add(key)
            found = program(search, other, now.mix.prices, penalty)
            planes.add(found)
            if found.mix.value > enough:
                better = found
                break
        if better is None:
            return now
        now = better
    return now


@dataclass(slots=True)
class Planes:
    """What ranks are worth at most at prices that programs ended in.

    Parameters
    ----------
    search : Search
    known : list of (Climb, float)
        Worth at such prices, and what it is to be moved by to be right where the program was.
    """

    search: Search
    known: list[tuple[Climb, float]] = field(default_factory=list)

    def add(self, found: Tried) -> None:
        """Take a program's prices; old ones are forgotten."""
        climb = Climb.of(self.search.own, found.mix.prices)
        self.known = [(climb, found.mix.value - climb.value(found.ranks)), *self.known][:PLANES]

    def most(self, ranks: Ints, enough: float = -np.inf) -> float:
        """No program over these ranks is worth more, but for what groups of devices hide."""
        least = np.inf
        for climb, moved_by in self.known:
            least = min(least, climb.value(ranks) + moved_by)
            if least <= enough:
                break
        return least

    def near(self, ranks: Ints, *, pairs: bool) -> list[tuple[float, Ints]]:
        """Ranks that differ in one layer, or in two of which one gets less, the best first.

        By the last program's prices alone. Of pairs only those are looked at that promise most
        if what both change added up.
        """
        problem, last = self.search.problem, replace(self, known=self.known[:1])
        alone = {
            (layer, place): (last.most(other), other)
            for layer in range(int((ranks > 0).sum()))
            for place in PLACES
            if (other := moved(problem, ranks, {layer: place})) is not None
        }
        sums = [
            (alone[one][0] + alone[two][0], one, two)
            for one, two in combinations(alone, 2)
            if pairs and one[0] != two[0] and one[1] * two[1] < 0
        ]
        sums.sort(key=lambda pair: -pair[0])
        both = [moved(problem, ranks, dict([one, two])) for _, one, two in sums[:PAIRS]]
        valued = [(last.most(other), other) for other in both if other is not None]
        return sorted([*alone.values(), *valued], key=lambda pair: -pair[0])


def over_rounds(
    at: Callable[[float, float], Search], ranks: Ints, low_s: float, end_s: float
) -> None:
    """Look for the best round time and ranks; plans and ranks go to the search's best.

    Parameters
    ----------
    at : callable
        The search over a window of round times.
    ranks : array of int, shape (L,)
        Where to start, such as the best ranks if nobody minds the wait.
    low_s, end_s : float
        Round times in question.
    """
    round_s, now = _longest(at, ranks, low_s, end_s)
    if now is None:
        return
    step, best = FIRST_STEP, -np.inf
    for move in range(MOVES):
        other_s = min(round_s * (1 + step), end_s) if move else round_s
        search = at(other_s, other_s)
        number = min(CHANGES // len(search.problem.costs.devices), MOST_CHANGES)
        number = number // 2 if move else number
        found = improved(search, now.ranks, now.mix.prices, number)
        search.offer(found.ranks, found.pool, found.mix)
        if found.mix.keeps and found.mix.value > best:
            round_s, now, best = other_s, found, found.mix.value
        elif move:
            step *= -0.5
        if expired():
            return
    _offer_polished(at(round_s, round_s), now)


def refine(search: Search) -> None:
    """Offer better plans near the best ranks known, at one round time."""
    caps = search.best.caps
    if caps.ranks is not None and caps.prices is not None:
        _offer_polished(search, program(search, caps.ranks, caps.prices))


def _offer_polished(search: Search, now: Tried) -> None:
    number = min(CHANGES // len(search.problem.costs.devices), MOST_CHANGES)
    found = climbed(search, now, number, PENALTY, pairs=True)
    search.offer(found.ranks, found.pool, found.mix)


def _longest(
    at: Callable[[float, float], Search], ranks: Ints, low_s: float, end_s: float
) -> tuple[float, Tried | None]:
    """Where given ranks are worth most, by bisection of the longest round they keep."""
    most_s, most, at_s, prices = low_s, None, end_s, None
    for _ in range(HALVINGS):
        search = at(at_s, at_s)
        found = program(search, ranks, prices or search.prices)
        prices = found.mix.prices
        if found.mix.keeps:
            low_s = at_s
            if most is None or found.mix.value > most.mix.value:
                most_s, most = at_s, found
        else:
            end_s = at_s
        at_s = (low_s + end_s) / 2
        if expired():
            break
    return most_s, most
