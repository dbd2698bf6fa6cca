"""The bound of `solver.wait.price` for shared ranks that must rise: one program a price.

The tables of `solver.dp.tables` do not know the rank before, so neither bands of prefix sums
nor labels are of use here. What is left is the price and the halving of round times.
"""

from solver.costs.devices import Ints
from solver.shapes import shaped_ranks
from solver.wait.price import CLOSE, POOL, Lines, higher
from solver.wait.relax import Relaxed

MOST_PRICES = 10


def shaped_bound(
    relaxed: Relaxed, needed_s: float, pool: list[Ints], floor: float
) -> tuple[float, Lines] | None:
    """Lower the Lagrangian bound over the prices; see `solver.wait.price.best_price`.

    Returns
    -------
    tuple of (float, Lines) or None
        The bound and the ranks tried; None where no ranks reach the least depth.
    """
    problem, question, lines = relaxed.problem, relaxed.problem.question, Lines()
    if pool:
        lines.add(relaxed, pool, needed_s)
    price, bound = 0.0, float("inf")
    for _ in range(MOST_PRICES):
        target = lines.lowest() if lines.gain else None
        price = higher(lines, price) if target is None else target[0]
        found = shaped_ranks(
            question.rank_shape,
            relaxed.capacity,
            problem.gains,
            problem.ranks,
            min_depth=question.min_depth,
            rank_budget=question.budgets.rank_budget,
            prices=relaxed.prices(price),
        )
        if found is None:
            return None
        height = found.value - price * needed_s
        bound = min(bound, height)
        pool.append(found.ranks)
        lines.add(relaxed, [found.ranks], needed_s)
        if bound <= floor:
            break
        if target is not None and height <= target[1] + CLOSE * (bound - floor):
            break
    del pool[:-POOL]
    return bound, lines
