"""Every vector of shared ranks in turn, where there are few of them.

With a handful of devices what bounds all plans is far from any, for it mixes ranks, and the
best ranks need not be the best at any prices. A model of a few layers with a few choices has
few vectors, though, and each alone has a linear program whose prices bound its plans.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from solver.deadline import expired
from solver.devices import Ints
from solver.links_search import Search
from solver.problem import Problem
from solver.shapes import keeps_shape


def try_all(search: Search, most: int) -> float:
    """Try all shared ranks, if there are no more than `most`; a bound on every plan.

    Infinite where there are more, or no time is left.
    """
    every = list(islice(_longest(search.problem, ()), most + 1))
    if len(every) > most:
        return np.inf
    bound = -np.inf
    for ranks in every:
        if expired():
            return np.inf
        bound = max(bound, search.bounded(ranks))
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
