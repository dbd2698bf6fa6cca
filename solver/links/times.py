"""Round times of plans behind shared links, and the search over a window of them."""

import numpy as np

from solver.allocation import longest_round_s
from solver.costs.devices import Floats
from solver.costs.resource import TOLERANCE
from solver.least import least_round_time_s
from solver.links.best import Best
from solver.links.graph import Links, that_may_bind
from solver.links.own import OwnAtPrices
from solver.links.pool import Prices, Window
from solver.links.search import Search
from solver.problem import Problem


def least_s(problem: Problem) -> float:
    """A round time below which there is no plan."""
    return (least_round_time_s(problem) or 0.0) * (1 - TOLERANCE)


def longest_s(problem: Problem) -> float:
    """A round time that no plan passes."""
    budget_s = problem.question.budgets.round_time_s
    if budget_s is not None:
        return budget_s
    return longest_round_s(problem)


def window(problem: Problem, links: Links, low_s: float, high_s: float) -> Window:
    """Round times from one to another, with the links that may bind."""
    epsilon_s = problem.question.budgets.mean_wait_s
    most, least = _extremes(problem.under(round_time_s=high_s), links)
    if epsilon_s is None:
        kept = that_may_bind(links, most, least, high_s)
    else:
        # Any link that outlasts the shortest round may be what the others wait for.
        busy = links.busy_s(most, np.ones(len(most), dtype=np.bool_))
        kept = np.flatnonzero(busy > low_s)
    return Window(low_s=low_s, high_s=high_s, epsilon_s=epsilon_s, kept=kept)


def over(
    problem: Problem,
    links: Links,
    best: Best,
    low_s: float,
    high_s: float,
    prices: Prices | None = None,
) -> Search:
    """The search over round times from one to another, from prices if there are any."""
    within = problem.under(round_time_s=high_s)
    return Search.of(within, links, window(problem, links, low_s, high_s), best, prices)


def _extremes(problem: Problem, links: Links) -> tuple[Floats, Floats]:
    """Parameters of every device at its largest plan, or more, and at its least, or fewer."""
    own = OwnAtPrices.of(problem, links, optimistic=True)
    most = own.units.max(axis=0).clip(0) * own.unit * own.stretch
    least = problem.ranks[0] * problem.costs.sizes[: problem.question.min_depth].sum()
    return most.astype(np.float64), np.full(len(most), float(least))
