"""What is said beside a plan: prices of budgets, and what each device lacks for more."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from solver.cli.terminal import watched

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from profiler.schema import Fleet
    from solver.plan import Plan
    from solver.problem import Problem

__all__ = ["lacking", "priced", "views"]

# By its name in JSON.
Beside = dict[str, list[Any]]


def priced(problem: "Problem") -> Beside:
    """What one more unit of each budget buys."""
    from solver.prices import prices

    return {"prices": prices(problem, lambda budgets: watched(budgets, "prices"))}


def lacking(plan: "Plan", fleet: "Fleet") -> Beside:
    """What each device lacks for one layer more."""
    from solver.next_layer import next_layers

    return {"next_layer": next_layers(plan, fleet)}


def views(beside: Beside, plan: "Plan") -> "Iterator[Group | Table | str]":
    """The same for people."""
    if "prices" in beside:
        from solver.show.prices import prices_table

        prices = beside["prices"]
        yield prices_table(prices) if prices else "prices: no budget is in force"
    if "next_layer" in beside:
        from solver.show.next_layer import next_layer_view

        lacks = beside["next_layer"]
        none = "next layer: every device adapts all layers"
        yield next_layer_view(lacks, len(plan.devices)) if lacks else none
