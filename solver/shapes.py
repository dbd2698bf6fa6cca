"""How shared ranks may run over the layers: freely, rising, or by a constant step."""

from collections.abc import Sequence

from solver.costs.capacity import Capacity
from solver.costs.devices import Floats, Ints
from solver.dp.shared import SharedRanks, shared_ranks
from solver.dp.values import Prices
from solver.plan import Question, RankShape


def shaped_ranks(
    shape: RankShape,
    capacity: Capacity,
    gains: Floats,
    choices: Ints,
    *,
    min_depth: int,
    rank_budget: int | None,
    prices: Prices | None = None,
    earned: Sequence[Floats] | None = None,
) -> SharedRanks | None:
    """Ranks of largest utility among those of a shape; see `solver.dp.shared.shared_ranks`.

    A progression is a rising one too, so its answer to 'progression' is a bound, whose ranks
    need not be one; `solver.progression` finds those.
    """
    if shape == "free":
        solve = shared_ranks
    else:
        from solver.dp.rising import rising_ranks as solve
    return solve(
        capacity,
        gains,
        choices,
        min_depth=min_depth,
        rank_budget=rank_budget,
        prices=prices,
        earned=earned,
    )


def is_allowed(question: Question, ranks: Ints) -> bool:
    """Whether shared ranks keep the rank budget and the shape that were asked for."""
    budget = question.budgets.rank_budget
    within = budget is None or int(ranks.sum()) <= budget
    return within and keeps_shape(question.rank_shape, ranks)


def keeps_shape(shape: RankShape, ranks: Ints) -> bool:
    """Whether shared ranks, from the output and 0 beyond the last adapted layer, have it."""
    if shape == "free":
        return True
    used = ranks[: int((ranks > 0).sum())]
    falls = (used[:-1] - used[1:]).tolist()
    constant = shape == "rising" or len(set(falls)) <= 1
    return constant and all(fall >= 0 for fall in falls)
