"""The dynamic program against every rank vector, ties included, and its completions."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from solver.costs.capacity import Capacity
from solver.costs.devices import Floats, Ints
from solver.dp import small as dp_small
from solver.dp import tables as dp_tables
from solver.dp.completions import completions
from solver.dp.rising import rising_ranks
from solver.dp.shared import SharedRanks, shared_ranks
from solver.dp.tables import tables
from solver.dp.values import Band, Prices


def random_capacity(rng: np.random.Generator, steps: Ints, most: int) -> Capacity:
    """Capacities of a few devices that fall with the depth; some cannot train the deepest."""
    layers, top, devices = len(steps), int(steps.sum()) * most, int(rng.integers(1, 5))
    room = np.sort(rng.integers(-1, top + 1, (devices, layers + 1)), axis=1)[:, ::-1]
    room[:, 0] = top
    weights = rng.integers(1, 4, devices).astype(np.float64)
    reach = np.array(
        [[weights[room[:, k] >= s].sum() for s in range(top + 1)] for k in range(layers + 1)]
    )
    return Capacity(unit=1, steps=steps, reach=reach, least=room.min(axis=0))


def every_path(
    capacity: Capacity, gains: Floats, choices: Ints, least: int, budget: int | None
) -> list[tuple[float, tuple[int, ...]]]:
    """Value and ranks of all paths that end at the least depth or beyond."""
    found = []
    for depth in range(least, len(gains) + 1):
        for ranks in product(choices.tolist(), repeat=depth):
            prefix = np.cumsum(np.array(ranks) * capacity.steps[:depth])
            carried = [
                prefix[k] <= capacity.least[k + 1]
                if k < least
                else capacity.reach[k + 1, prefix[k]] > 0
                for k in range(depth)
            ]
            if all(carried) and (budget is None or sum(ranks) <= budget):
                value = 0.0
                for k, rank in enumerate(ranks):
                    at = choices.tolist().index(rank)
                    value += capacity.reach[k + 1, prefix[k]] * gains[k, at]
                found.append((value, ranks))
    return found


@pytest.mark.parametrize(("cells", "small"), [(1, 0), (1 << 14, 0), (1, 1 << 14)])
def test_ranks_are_optimal_and_unique(
    cells: int, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With whole gains ties abound; the smaller depth and prefix sum win, the answer stays."""
    monkeypatch.setattr(dp_tables, "CELLS", cells)
    monkeypatch.setattr(dp_small, "CELLS", small)
    for seed in range(150):
        rng = np.random.default_rng(seed)
        layers = int(rng.integers(1, 4))
        steps = rng.integers(0 if seed % 7 == 0 else 1, 4, layers)
        steps = steps if seed % 2 and steps.any() else np.ones(layers, dtype=np.int64)
        choices = np.array([[1, 2, 3], [1, 3, 4], [2, 4, 6], [3, 3, 3]][seed % 4])
        choices = np.unique(choices)
        gains = np.sort(rng.integers(0, 4, (layers, len(choices))), axis=1).astype(np.float64)
        capacity = random_capacity(rng, steps, int(choices[-1]))
        least = int(rng.integers(0, layers + 1))
        budget = None if seed % 3 else int(rng.integers(1, layers * int(choices[-1]) + 1))
        paths = every_path(capacity, gains, choices, least, budget)
        found = shared_ranks(capacity, gains, choices, min_depth=least, rank_budget=budget)
        assert (found is None) == (not paths)
        if found is None:
            continue
        best = max(value for value, _ in paths)
        assert found.value == best
        ends = [
            (len(r), int(np.dot(r, steps[: len(r)])), r) for value, r in paths if value == best
        ]
        depth = int((found.ranks > 0).sum())
        mine = (depth, int(np.dot(found.ranks, steps)))
        assert mine == min(end[:2] for end in ends)
        assert (*mine, tuple(found.ranks[:depth].tolist())) in ends


def _sums(capacity: Capacity, own: Floats) -> Floats:
    """Weights and what is priced, per rank and beside, as `Prices` has them side by side."""
    return np.concatenate([capacity.reach[1:, None], own], axis=1)


def test_completions_and_bands_lead_to_the_optimum() -> None:
    """Through every node of the best path goes the best value, and the path stays in a band."""
    for seed in range(60):
        rng = np.random.default_rng(1000 + seed)
        layers = int(rng.integers(2, 5))
        steps = rng.integers(1, 4, layers) if seed % 2 else np.full(layers, 2)
        choices = np.array([1, 2, 3, 4] if seed % 3 else [1, 2, 4, 7])
        gains = np.sort(rng.uniform(0, 1, (layers, len(choices))), axis=1)
        capacity = random_capacity(rng, steps, int(choices[-1]))
        own = rng.uniform(0, 1, (layers, 2, capacity.reach.shape[1]))
        prices = Prices(sums=_sums(capacity, own))
        budget = layers * 3 if seed % 2 else None
        found = shared_ranks(
            capacity, gains, choices, min_depth=0, rank_budget=budget, prices=prices
        )
        assert found is not None
        table = tables(capacity, gains, choices, rank_budget=budget, prices=prices)
        through = table.flat + completions(table, 0)
        prefix = np.append(0, np.cumsum(found.ranks * steps))
        watched = table.axes.margin > 0
        rank_sum = np.append(0, np.cumsum(found.ranks)) * watched
        for k in range(int((found.ranks > 0).sum()) + 1):
            assert through[k].max() <= found.value + 1e-12
            at = table.axes.place(int(prefix[k]), int(rank_sum[k]))
            assert through[k, at] == pytest.approx(found.value, abs=1e-12)
        band = Band(low=prefix, high=prefix)
        narrow = tables(capacity, gains, choices, rank_budget=budget, prices=prices, band=band)
        assert narrow.flat.max() == pytest.approx(found.value, abs=1e-12)


@pytest.mark.parametrize("solve", [shared_ranks, rising_ranks])
def test_a_price_is_a_factor_of_what_is_priced(
    solve: Callable[..., SharedRanks | None],
) -> None:
    for seed in range(30):
        rng = np.random.default_rng(2000 + seed)
        layers, choices = int(rng.integers(2, 5)), np.array([1, 2, 4])
        steps = rng.integers(1, 4, layers)
        gains = np.sort(rng.uniform(0, 1, (layers, len(choices))), axis=1)
        capacity = random_capacity(rng, steps, int(choices[-1]))
        own = rng.uniform(0, 1, (layers, 2, capacity.reach.shape[1]))
        price, budget = float(rng.uniform(0, 3)), layers * 3 if seed % 2 else None
        found, folded = (
            solve(capacity, gains, choices, min_depth=0, rank_budget=budget, prices=prices)
            for prices in (
                Prices(sums=_sums(capacity, own), price=price),
                Prices(sums=_sums(capacity, price * own)),
            )
        )
        assert found is not None
        assert folded is not None
        assert found.value == pytest.approx(folded.value, abs=1e-12)
        assert found.ranks.tolist() == folded.ranks.tolist()


@pytest.mark.parametrize("solve", [shared_ranks, rising_ranks])
def test_what_is_earned_stands_in_place_of_prices(
    solve: Callable[..., SharedRanks | None],
) -> None:
    rng = np.random.default_rng(5)
    capacity = random_capacity(rng, np.array([1, 1, 1]), 3)
    gains, choices = rng.random((3, 3)).cumsum(axis=1), np.arange(1, 4)
    width = capacity.reach.shape[1]
    earned = [rng.random((3, width)) for _ in range(3)]
    before = [each.copy() for each in earned]
    prices = Prices(sums=_sums(capacity, rng.random((3, 2, width))))
    limits = {"min_depth": 0, "rank_budget": None, "earned": earned}
    alone = solve(capacity, gains, choices, **limits)
    both = solve(capacity, gains, choices, **limits, prices=prices)
    assert alone is not None
    assert both is not None
    assert (both.value, both.ranks.tolist()) == (alone.value, alone.ranks.tolist())
    assert all(np.array_equal(one, other) for one, other in zip(before, earned, strict=True))
