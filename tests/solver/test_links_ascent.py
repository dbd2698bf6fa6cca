"""Shared ranks and round time in turn: what changes promise, which are tried, what comes."""

import numpy as np

from solver.allocation import round_time_s
from solver.costs.devices import Ints
from solver.exact import maximise_utility
from solver.links.ascent import Ascent, Worth, neighbours
from solver.links.best import Best
from solver.links.part import Deadline
from solver.links.shared import PricedRanks
from solver.problem import Problem
from solver.shapes import is_allowed
from solver.wait.limit import keeps_wait
from tests.solver.linked import preset, search_at
from tests.solver.questions import less_wait, longest_s, within


def posed(seed: int, share: float, rank_budget: int | None = None) -> Problem:
    """Forty devices behind links, with a share of the wait that nobody minds."""
    problem = Problem.of(preset(40, 4, seed), rank_budget=rank_budget)
    return less_wait(within(problem, 1.5), share)


def quick(problem: Problem) -> tuple[Ints, float]:
    """Ranks of a plan that keeps every limit, and its round time."""
    found = maximise_utility(problem, branching=False).allocation
    return found.rows[0], round_time_s(problem, found)


def test_no_ranks_are_worth_more_than_they_promise() -> None:
    """At the prices of any program; at their own they promise what they are worth."""
    rng, problem, compared = np.random.default_rng(0), posed(0, 0.8), 0
    good, round_s = quick(problem)
    search = search_at(problem, Best(problem=problem), 1.001 * round_s)
    program = PricedRanks.of(search.problem, search.links)
    for _ in range(30):
        ranks, other = good.copy(), good.copy()
        for each in (ranks, other):
            layer = rng.integers(1, problem.layers)
            each[layer] = max(each[layer] - rng.integers(3), 1)
        mixes = [search.mixed(search.depths(each)) for each in (ranks, other)]
        worth = Worth.of(program, search.window, mixes[0].prices)
        if all(mix.keeps for mix in mixes):
            compared += 1
            assert worth.most(ranks) >= mixes[0].value - 1e-9
            assert worth.most(ranks) <= mixes[0].value + 1e-6
            assert worth.most(other) >= mixes[1].value - 1e-9
    assert compared >= 10


def test_neighbours_differ_little_are_allowed_and_come_best_first() -> None:
    problem = posed(2, 0.8, rank_budget=130)
    search = search_at(problem, Best(problem=problem), longest_s(problem))
    ranks = np.where(np.arange(problem.layers) < 10, 12, 0)
    mix = search.mixed(search.depths(ranks))
    worth = Worth.of(PricedRanks.of(search.problem, search.links), search.window, mix.prices)
    found, least = neighbours(worth, ranks), problem.question.min_depth
    assert [most for most, _ in found] == sorted((most for most, _ in found), reverse=True)
    assert any((other > 0).sum() > (ranks > 0).sum() for _, other in found)
    for most, other in found:
        assert most == worth.most(other)
        assert is_allowed(problem.question, other)
        assert 1 <= np.count_nonzero(other != ranks) <= 2
        assert other[least - 1] == ranks[least - 1]


def test_an_ascent_gains_and_keeps_every_limit_even_from_a_wait_too_long() -> None:
    too_long = 0
    for seed in (0, 2):
        problem = posed(seed, 0.8)
        links, best = problem.costs.links, Best(problem=problem)
        assert links is not None
        ascent = Ascent(
            at=lambda at_s, p=problem, b=best: search_at(p, b, at_s),  # type: ignore[misc]
            deadline=Deadline.of(problem, links, longest_s(problem)),
        )
        start, at_s = quick(problem)
        start[1:6] = np.maximum(start[1:6] - 1, 1)
        worse = search_at(problem, Best(problem=problem), at_s)
        mix = worse.mixed(worse.depths(start))
        ascent.run(start, at_s)
        assert best.allocation is not None
        assert keeps_wait(problem, best.allocation)
        assert round_time_s(problem, best.allocation) <= longest_s(problem) * (1 + 1e-9)
        assert best.value > 1.001 * mix.value
        too_long += not mix.keeps
    assert too_long
