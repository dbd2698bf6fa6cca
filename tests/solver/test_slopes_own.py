"""Ranks of own where costs are out of proportion: knapsacks against all choices, and plans."""

from itertools import product

import numpy as np
import pytest

from solver.allocation import mean_wait_s
from solver.errors import Infeasible
from solver.exact import maximise_utility, utility_bound
from solver.least import least_round_time_s
from solver.outcome import relative_gap
from solver.problem import Problem
from solver.slopes.hulls import Hulls
from solver.slopes.knapsacks import Knapsacks
from solver.slopes.labels import closed
from tests.solver.instances import random_fleet
from tests.solver.mixed import values
from tests.solver.questions import random_case


def random_knapsacks(seed: int, number: int = 12) -> Knapsacks:
    """A few layers, ranks and resources; some knapsacks have no room for the least ranks."""
    rng = np.random.default_rng(seed)
    layers, choices, resources = (int(n) for n in rng.integers((1, 2, 1), (5, 6, 4)))
    ranks = np.sort(rng.choice(np.arange(1, 20), choices, replace=False))
    gains = np.sort(rng.uniform(0, 1, (layers, choices)), axis=1)
    deep = np.arange(layers) < rng.integers(1, layers + 1, number)[:, None]
    slope = rng.uniform(0.5, 1.5, (resources, number, layers)) * deep
    # What costs nothing is there, too.
    slope *= rng.random(slope.shape) > 0.1
    room = (slope * ranks[-1]).sum(axis=2) * rng.uniform(-0.05, 1.1, (resources, number))
    return Knapsacks(hulls=Hulls.of(gains, ranks), slope=slope, room=room, deep=deep)


def best_choices(each: Knapsacks) -> list[float]:
    """Largest gain of every knapsack, minus infinity where nothing fits."""
    layers, choices = each.hulls.gains.shape
    rows = np.array(list(product(range(choices), repeat=layers)))
    gains, ranks = each.hulls.gains[np.arange(layers), rows], each.hulls.ranks[rows]
    found = []
    for p, deep in enumerate(each.deep):
        used = np.einsum("ql,cl->qc", each.slope[:, p], ranks)
        fits = (used <= each.room[:, p, None]).all(axis=0)
        gained = np.where(deep, gains, 0.0).sum(axis=1)
        found.append(float(np.where(fits, gained, -np.inf).max()))
    return found


def test_the_best_rank_at_a_price_is_on_the_hull() -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        ranks = np.sort(rng.choice(np.arange(1, 40), int(rng.integers(1, 7)), replace=False))
        gains = np.sort(rng.uniform(0, 1, (3, len(ranks))), axis=1)
        if seed % 5 == 0:
            gains[1:] = 0.5
        price = rng.uniform(0, 0.2, (20, 3)) * rng.integers(0, 2, (20, 3))
        at = Hulls.of(gains, ranks).best(price)
        net = gains - price[:, :, None] * ranks
        assert np.take_along_axis(net, at[:, :, None], axis=2)[:, :, 0] == pytest.approx(
            net.max(axis=2), abs=1e-12
        )


def test_knapsacks_are_bounded_and_filled() -> None:
    """Bounds are above the best choice and ranks fit; labels, if all are kept, find it."""
    open_, loss = 0, 0.0
    for seed in range(60):
        each = random_knapsacks(seed)
        best = best_choices(each)
        prices, least, choice = each.keeping()
        assert np.isneginf(least).tolist() == np.isneginf(best).tolist()
        filled = each.filled(choice)
        fits = np.isfinite(least)
        assert (each.used(filled)[:, fits] <= each.room[:, fits] + 1e-12).all()
        gained = np.where(fits, each.gained(filled), -np.inf)
        each, best = each[fits], [b for b in best if b > -np.inf]
        gained, prices, least = gained[fits], prices[:, fits], least[fits]
        descended, lower = each.descended(prices, gained)
        assert each.at(descended).bound == pytest.approx(lower)
        for bound, value, found in zip(np.minimum(least, lower), best, gained, strict=True):
            assert bound >= value - 1e-9
            assert found <= value + 1e-9
            open_, loss = open_ + (bound > value + 1e-9), loss + (value - found)
        whole = closed(each, descended, gained, 10_000)
        assert whole.gained == pytest.approx(best, abs=1e-9)
        assert whole.bound == pytest.approx(best, abs=1e-9)
        few = closed(each, descended, gained, 2)
        assert (few.bound >= np.array(best) - 1e-9).all()
        assert (few.gained <= np.array(best) + 1e-9).all()
        # What is known is handed back, whatever was dropped or hoped for in vain.
        assert (few.gained >= gained).all()
        for kept in (1, 10_000):
            again = closed(each, descended, np.array(best), kept)
            assert again.gained == pytest.approx(best, abs=1e-12)
            assert (again.bound >= np.array(best) - 1e-12).all()
    assert open_ > 0
    assert loss > 0


def test_the_most_of_a_resource_that_may_be_used() -> None:
    for seed in range(60):
        each = random_knapsacks(seed)
        layers, choices = each.hulls.gains.shape
        rows = np.array(list(product(range(choices), repeat=layers)))
        for p in range(len(each.deep)):
            used = np.einsum("ql,cl->qc", each.slope[:, p], each.hulls.ranks[rows])
            fits = (used <= each.room[:, p, None]).all(axis=0)
            for q in range(len(used)):
                if fits.any():
                    assert used[q][fits].max() <= each.most_used(q)[p] + 1e-9


@pytest.mark.parametrize("seed", range(40))
def test_plans_against_all_plans(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fleet, options = random_case(40_000 + seed, devices=3, slope_noise=0.3)
    options.pop("rank_budget", None)
    if seed % 2:
        options["mean_wait_s"] = float(rng.uniform(0, 0.4)) * (options["round_time_s"] or 5.0)
    problem = Problem.of(fleet, structure="own", **options)
    best = max(values(fleet, problem.question), default=None)
    if best is None:
        with pytest.raises(Infeasible):
            maximise_utility(problem)
        return
    found = maximise_utility(problem)
    assert found.bound is not None
    assert best * (1 - 0.03) <= found.value <= best * (1 + 1e-9)
    assert found.bound >= best * (1 - 1e-9)
    assert utility_bound(problem) >= best * (1 - 1e-9)


def test_gaps_are_small_where_one_table_brackets_the_truth_loosely() -> None:
    """The table alone leaves 4 to 9 % of these (seeds 4 and 7)."""
    for seed, waiting in ((4, 0.03), (7, 0.02)):
        fleet = random_fleet(
            seed, layers=12, classes=5, devices=30, max_rank=32, slope_noise=0.1
        )
        problem = Problem.of(fleet, structure="own")
        least_s = least_round_time_s(problem)
        assert least_s is not None
        problem = problem.under(round_time_s=2 * least_s)
        free = maximise_utility(problem)
        assert relative_gap(free.value, free.bound or 0.0, "utility") <= 1e-3
        wait_s = 0.9 * mean_wait_s(problem, free.allocation)
        kept = maximise_utility(problem.under(mean_wait_s=wait_s))
        assert relative_gap(kept.value, kept.bound or 0.0, "utility") <= waiting
