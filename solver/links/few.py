"""Every choice in turn, where there are few.

With a handful of devices what bounds all plans is far from any, for it mixes ranks and
options, and the best ranks need not be the best at any prices. A model of a few layers with a
few choices has few rank vectors, though. Each is tried: every choice of one option a device
where these are few too, and the program over mixes of them otherwise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from solver.allocation import Allocation
from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE
from solver.deadline import expired
from solver.links.capped import CappedAnswer
from solver.links.pool import Pool
from solver.links.search import ROUNDING, Search
from solver.problem import Problem
from solver.shapes import keeps_shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Few:
    """Up to how many are few.

    Parameters
    ----------
    ranks : int
        Vectors of shared ranks.
    choices : int
        Choices of one option a device.
    """

    ranks: int
    choices: int


def try_all(search: Search, few: Few) -> float:
    """Try all shared ranks, if they are few; a bound on every plan.

    Infinite where there are more, or no time is left.
    """
    most = few.ranks
    every = list(islice(_longest(search.problem, ()), most + 1))
    if len(every) > most:
        return np.inf
    if search.problem.question.structure == "own":
        return _best_choice(search, _options(search, every), few.choices)
    bound = -np.inf
    for ranks in every:
        if expired():
            return np.inf
        found = _best_choice(search, _options(search, [ranks]), few.choices)
        bound = max(bound, search.bounded(ranks) if found == np.inf else found)
    return bound


def _longest(problem: Problem, ranks: tuple[int, ...]) -> Iterator[Ints]:
    """Ranks from the output that go on as these do and cannot be continued.

    Devices may stop at any depth, so shorter ones promise nothing more.
    """
    question = problem.question
    used, budget = len(ranks), question.budgets.rank_budget
    full = problem.layers if question.max_depth is None else question.max_depth
    left = np.inf if budget is None else budget - sum(ranks)
    if used == full or question.rank_choices[0] > left:
        padded = np.zeros(problem.layers, dtype=np.int64)
        padded[:used] = ranks
        yield padded
        return
    for rank in question.rank_choices:
        longer = (*ranks, rank)
        if rank <= left and keeps_shape(question.rank_shape, np.array(longer)):
            yield from _longest(problem, longer)


def _options(search: Search, every: Sequence[Ints]) -> Pool:
    """All that a device can do with given ranks."""
    problem, pool = search.problem, Pool(problem=search.problem)
    for ranks in every:
        if problem.question.structure != "capped":
            for found in search.at_depths(ranks):
                pool.add(found)
            continue
        answer = CappedAnswer.of(problem, search.links, ranks)
        for depth, last in enumerate(answer.last):
            for cap in range(int(last.max()) + 1):
                pool.add(
                    Allocation(
                        rows=answer.rows,
                        row=np.full(len(last), cap),
                        depth=np.where(cap <= last, depth, -1),
                    )
                )
    return pool


def _best_choice(search: Search, pool: Pool, most: int) -> float:
    """Offer the best choice of one option a device; its value, infinite if too many.

    Minus infinity where none keeps the links and the wait.
    """
    if not pool.rows:
        return -np.inf
    able = [np.flatnonzero(np.isfinite(value)) for value in pool.value]
    number = np.prod([float(len(options)) for options in able])
    if number == 0:
        return -np.inf
    if number > most:
        return np.inf
    place = np.indices([len(options) for options in able]).reshape(len(able), -1)
    chosen = np.stack([options[at] for options, at in zip(able, place, strict=True)])

    def taken(table: Floats) -> Floats:
        return np.take_along_axis(table, chosen, axis=1)

    value = taken(pool.value).sum(axis=0)
    keeps = _keeps(search, taken(pool.parameters), taken(pool.seconds))
    if not keeps.any():
        return -np.inf
    best = int(np.where(keeps, value, -np.inf).argmax())
    search.best.offer(pool.allocation(chosen[:, best]))
    return float(value[best]) * (1 + ROUNDING)


def _keeps(search: Search, size: Floats, own_s: Floats) -> npt.NDArray[np.bool_]:
    """Which choices keep the links and the wait; size and time have shape (N, choices)."""
    links, window = search.links, search.window
    linked = np.flatnonzero(links.own >= 0)
    through = links.above[links.own[linked]] * links.count[linked, None]
    busy = links.bare_s[:, None] + links.s_per_parameter[:, None] * (through.T @ size[linked])
    keeps = (busy <= window.high_s * (1 + TOLERANCE)).all(axis=0)
    if window.epsilon_s is None:
        return np.asarray(keeps)
    round_s = np.maximum(own_s.max(axis=0), busy.max(axis=0))
    wait_s = round_s - links.count @ own_s / links.count.sum()
    return np.asarray(keeps & (wait_s <= window.epsilon_s * (1 + TOLERANCE)))
