"""Capped ranks behind links that keep a mean wait: what changes of layers promise and bring."""

import numpy as np

from solver.links.best import Best
from solver.links.capped_wait import Planes, climbed, program
from solver.links.mix import PENALTY
from solver.links.search import Search
from solver.problem import Problem
from tests.solver.linked import preset, search_at
from tests.solver.questions import less_wait, longest_s, within

# How far from its bound a program may stop, and the gain that counts.
SOLVED, CLOSE = 1e-4, 1e-6


def posed(seed: int, rank_budget: int | None = None) -> Search:
    """Forty devices behind links, each a group of its own, at one round time."""
    problem = Problem.of(preset(40, 4, seed), structure="capped", rank_budget=rank_budget)
    problem = less_wait(within(problem, 1.5), 0.9)
    return search_at(problem, Best(problem=problem), 0.95 * longest_s(problem))


def test_no_ranks_are_worth_more_than_prices_of_other_ranks_promise() -> None:
    rng, search = np.random.default_rng(0), posed(1)
    ranks = np.array([48, 32, 24, 16, 16, 12, 12, 12, 8, 8, 8, 8])
    first = program(search, ranks, search.prices)
    planes = Planes(search)
    planes.add(first)
    others = planes.near(ranks, pairs=True)
    assert sum((other != ranks).sum() == 2 for _, other in others) > 20
    for at in rng.integers(len(others), size=8).tolist():
        most, other = others[at]
        found = program(search, other, first.mix.prices)
        assert found.mix.value <= most * (1 + SOLVED)
        assert planes.most(other) <= most * (1 + 1e-12)
        planes.add(found)
        assert planes.most(other) <= found.mix.value * (1 + 1e-12)


def test_where_a_budget_on_ranks_is_spent_one_layer_gets_what_another_gives() -> None:
    ranks = np.arange(6, 18)
    search = posed(0, rank_budget=int(ranks.sum()))
    start = program(search, ranks, search.prices)
    found = climbed(search, start, 24, PENALTY, pairs=True)
    assert found.mix.value > start.mix.value * (1 + CLOSE)
    assert found.ranks.sum() <= ranks.sum()
    assert (found.ranks > ranks).any()
    assert (found.ranks < ranks).any()
