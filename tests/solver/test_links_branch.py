"""Shared ranks behind links with a mean wait: parts and credits cut no plan off."""

from collections.abc import Iterator

import numpy as np
import pytest

from solver.allocation import mean_wait_s
from solver.errors import Infeasible, Stopped
from solver.exact import maximise_utility
from solver.explain.repair import repairs
from solver.least import least_allocation
from solver.links import branch as links_branch
from solver.links import plan as links_plan
from solver.links.few import Few
from solver.links.part import Deadline
from solver.links.pool import Prices
from solver.outcome import Outcome
from solver.problem import Problem
from tests.solver.answers import gap, verified
from tests.solver.linked import linked_case, preset
from tests.solver.mixed import best_value
from tests.solver.questions import less_wait, within


def waiting_cases(number: int) -> Iterator[tuple[Problem, float | None]]:
    """Small problems with links and a mean wait, and the utility of their best plan."""
    for seed in range(number):
        fleet, options = linked_case(seed)
        if len(fleet.devices) > 3:
            continue
        if "mean_wait_s" not in options:
            share = float(np.random.default_rng(seed + 9).uniform(0.05, 0.6))
            options["mean_wait_s"] = share * options["round_time_s"]
        problem = Problem.of(fleet, **options)
        if problem.costs.links is not None:
            yield problem, best_value(fleet, problem.question, "shared")


def answer(problem: Problem) -> Outcome | Infeasible | Stopped:
    try:
        return maximise_utility(problem)
    except (Infeasible, Stopped) as error:
        return error


def test_no_plan_is_better_than_the_program_at_any_prices_and_credits() -> None:
    tried = 0
    for seed, (problem, best) in enumerate(waiting_cases(60)):
        links, high_s = problem.costs.links, problem.question.budgets.round_time_s
        assert links is not None
        assert high_s is not None
        if best is None:
            continue
        tried += 1
        deadline, rng = Deadline.of(problem, links, high_s), np.random.default_rng(seed)
        window, program = deadline.window(0.0, high_s), deadline.ranks
        least = problem.question.min_depth
        for scale in (0.0, 0.01, 0.1, 1.0):
            prices = Prices(
                links=scale * rng.uniform(0, 1, len(links.names)),
                wait=0.1 * scale * float(rng.uniform(0, 1)),
            )
            for credit in (0.0, 0.1, 1.0):
                shape = (len(problem.weights), problem.layers + 1)
                ahead = credit * rng.uniform(0, 1, shape) * (rng.uniform(0, 1, shape) < 0.5)
                ahead[:, : least + 1] = 0.0
                table = program.tables(prices, program.everything(), ahead)
                bound = float(table.flat[least:].max())
                bound += program.start(prices) + prices.constant(links, window)
                assert bound >= best * (1 - 1e-9)
    assert tried >= 8


def test_parts_bracket_the_best_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without trying all ranks, which is what settles small problems otherwise."""
    none, found, near = Few(ranks=0, choices=0), 0, 0
    monkeypatch.setattr(links_branch, "SMALL", 0)
    monkeypatch.setattr(links_branch, "WORK", 180)
    for problem, best in waiting_cases(60):
        with monkeypatch.context() as changed:
            changed.setattr(links_plan, "FEW", none)
            outcome = answer(problem)
        if isinstance(outcome, Infeasible):
            assert best is None or not outcome.proven
        if not isinstance(outcome, Outcome):
            continue
        assert best is not None
        assert outcome.bound is not None
        assert outcome.value <= best * (1 + 1e-9) <= outcome.bound * (1 + 2e-9)
        found += 1
        near += outcome.bound <= best * 1.02
    assert found >= 8
    assert near >= 0.6 * found


def test_a_wait_much_shorter_than_nobody_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_branch, "WORK", 18_000)
    problem = less_wait(within(Problem.of(preset(60, 6, 1)), 1.5), 0.6)
    assert gap(verified(problem)) <= 0.03


def test_a_wait_that_is_named_is_one_that_a_plan_has() -> None:
    problem = within(Problem.of(preset(30, 4, 1)), 1.5)

    hopeless = problem.under(mean_wait_s=0.01)
    named = [r for r in repairs(hopeless) if "mean wait" in r.text]
    assert len(named) == 1
    assert named[0].text.startswith("a mean wait of at most ")
    asked = named[0].problem.question.budgets.mean_wait_s
    assert asked is not None
    assert asked < 0.95 * mean_wait_s(problem, least_allocation(problem))
    verified(named[0].problem)
