"""Shared ranks that keep devices with caps busy: climbed to where own time has a price.

At one round time T the wait asks for own times that add up to C (T - epsilon). A price on a
second of them is a Lagrangian relaxation: ranks that are best at a price, climbed to
(`solver.capped.climb`), are a line over it, and the price that is tried next is where the lines
of ranks that wait too long, and of those that do not, meet.
"""

from collections.abc import Iterator
from dataclasses import replace

from solver.capped.climb import BusyTimes, Climb
from solver.costs.devices import Ints
from solver.deadline import expired
from solver.problem import Problem
from solver.slopes.rooms import added
from solver.wait.capped_bound import own_times

# Prices that are tried, and how far they go up or down until both kinds of ranks are known.
PRICES, FACTOR = 6, 4.0


def waiting_ranks(
    problem: Problem, round_s: float, start: Ints, epsilon_s: float
) -> Iterator[Ints]:
    """Shared ranks that are good at a round time, at one price of own time after the other.

    Parameters
    ----------
    problem : Problem
    round_s : float
        Round time.
    start : array of int, shape (L,)
        Good shared ranks.
    epsilon_s : float
        Largest mean wait, seconds.
    """
    climb = Climb.of(problem.under(round_time_s=round_s, mean_wait_s=None))
    fixed_s, slope_s = own_times(problem)
    unit_s = slope_s.sum(axis=1, keepdims=True) / climb.rooms.steps.sum()
    busy = BusyTimes(
        fixed_s=added(fixed_s, climb.rooms.group), unit_s=added(unit_s, climb.rooms.group)[0]
    )
    climb, total = replace(climb, busy=busy), float(problem.costs.devices.count.sum())
    needed_s, second = total * (round_s - epsilon_s), climb.value(start) / (total * round_s)
    waits: tuple[float, float] | None = None
    keeps: tuple[float, float] | None = None
    ranks = start
    for _ in range(PRICES):
        if expired():
            return
        priced = replace(climb, second=second)
        ranks = priced.ascend(ranks)
        yield ranks
        gain, own_s = priced.line(ranks)
        if own_s < needed_s:
            waits = (gain, own_s)
        else:
            keeps = (gain, own_s)
        if keeps is None:
            second *= FACTOR
        elif waits is None:
            second /= FACTOR
        else:
            # Ranks that were found by climbing need not be best: lines may not cross.
            second = max(waits[0] - keeps[0], 0.0) / (keeps[1] - waits[1])
            if second == 0:
                return
