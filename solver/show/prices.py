"""Prices of budgets as a table that people read."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from solver.prices import Price


def prices_table(prices: Sequence[Price]) -> Table:
    """What one more unit of each budget buys."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("one more")
    table.add_column("buys utility", justify="right")
    table.add_column("that is", justify="right")
    for price in prices:
        sure = "" if price.exact else " (not proven)"
        table.add_row(price.budget, f"{price.utility:.6f}{sure}", f"{price.fraction:.3%}")
    if not all(price.exact for price in prices):
        table.caption = (
            "not proven: a difference of two plans of which one is not proven the best"
        )
        table.caption_justify = "left"
    return table
