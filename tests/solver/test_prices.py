"""Prices of budgets are differences of exact plans."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from solver.exact import maximise_utility
from solver.limited_instances import with_limits
from solver.prices import Price, prices
from solver.problem import Problem
from solver.show.prices import prices_table
from tests.solver.instances import random_fleet
from tests.solver.mixed import mixed_case


def problem(**budgets: float) -> Problem:
    fleet = random_fleet(3, layers=4, devices=8, max_rank=6)
    return Problem.of(fleet, ranks=range(1, 7), **budgets)  # type: ignore[arg-type]


def test_a_price_is_the_gain_of_one_unit_more() -> None:
    asked = problem(round_time_s=18.0, rank_budget=9)
    base = maximise_utility(asked).value
    found = {p.budget: p for p in prices(asked)}
    longer = maximise_utility(problem(round_time_s=19.0, rank_budget=9)).value
    richer = maximise_utility(problem(round_time_s=18.0, rank_budget=10)).value
    assert found["second of round time"].utility == pytest.approx(longer - base)
    assert found["rank in the budget"].utility == pytest.approx(richer - base)
    assert found["rank in the budget"].utility > 0
    assert all(p.exact for p in found.values())


def test_a_budget_that_does_not_bind_is_worth_nothing() -> None:
    found = {p.budget: p for p in prices(problem(round_time_s=1e6, upload_bytes=1e12))}
    assert found["second of round time"].utility == 0
    assert found["MB of upload"].utility == 0
    assert found["100 MB of memory everywhere"].utility > 0


def test_prices_come_dearest_first() -> None:
    gained = [p.utility for p in prices(problem(round_time_s=18.0, energy_j=200.0))]
    assert gained == sorted(gained, reverse=True)
    assert len(gained) == 3


def test_who_watches_sees_every_plan_that_prices_take() -> None:
    seen: list[str] = []

    def watch(budgets: list[str]) -> Iterator[str]:
        for words in budgets:
            seen.append(words)
            yield words

    found = prices(problem(round_time_s=18.0), watch)
    assert seen[0] == "budgets as asked"
    assert sorted(seen[1:]) == sorted(p.budget for p in found)


@pytest.mark.parametrize(("exact", "said"), [(True, False), (False, True)])
def test_what_is_not_proven_is_explained(exact: bool, said: bool) -> None:
    out = io.StringIO()
    found = Price(budget="joule", utility=0.1, fraction=0.01, exact=exact)
    Console(width=80, file=out).print(prices_table([found]))
    assert ("one is not proven the best" in " ".join(out.getvalue().split())) is said


def test_more_of_what_leaves_no_plan_buys_nothing() -> None:
    """With more storage a device has a faster cache, and then waits for longer than it may."""
    fleet, options = mixed_case(254)
    assert options["cache"] == "auto"
    found = {price.budget: price for price in prices(Problem.of(fleet, **options))}
    assert found["GB of storage everywhere"].utility == 0


def test_a_looser_limit_that_has_no_method_is_not_priced() -> None:
    """With more download more devices take part, and a link may bind, which it did not."""
    fleet, options = mixed_case(444)
    asked = Problem.of(with_limits(fleet, 444, 1.0), **options, leave_out="unable")
    assert options["rank_shape"] == "progression"
    budgets = {price.budget for price in prices(asked)}
    assert "joule of own energy" in budgets
    assert "MB of own download" not in budgets
