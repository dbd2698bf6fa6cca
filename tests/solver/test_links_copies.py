"""The bound by copies of capped ranks: its sums term by term, and against every plan."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from solver.costs.devices import Floats
from solver.links.alike import halved
from solver.links.copies import LAST_PRICES, Copies
from solver.links.descent import Metric, descend
from solver.links.groups import Groups
from solver.links.own import OwnAtPrices
from solver.links.pool import Prices, Window
from solver.links.sums import Sums, Terms
from solver.problem import Problem
from tests.solver.linked import linked_case
from tests.solver.mixed import best_value


class Offers:
    """What one group is offered, random, and the formula of `solver.links.copies` in loops."""

    def __init__(self, seed: int, devices: int, *, one_toll: bool) -> None:
        rng = np.random.default_rng(seed)
        layers, ranks = int(rng.integers(1, 4)), int(rng.integers(1, 5))
        self.own = rng.normal(0, 0.5, (layers, ranks))
        self.gains = np.cumsum(rng.uniform(0, 1, (layers, ranks)), axis=1)
        self.size = rng.integers(1, 4, (layers, 1)) * np.arange(1.0, ranks + 1)
        if seed % 3 == 0:
            # A budget on the ranks: rank 0 comes first, and nobody takes it.
            self.gains[:, 0] = -np.inf
            self.size -= self.size[:, :1]
        # With a wait, time may be worth more than the links: tolls below 0, by depth.
        shape = (1, 1) if one_toll else (devices, layers + 1)
        self.toll = np.broadcast_to(rng.normal(0.05, 0.3, shape), (devices, layers + 1))
        self.room = rng.integers(-1, 12, (devices, layers + 1)).astype(np.float64)
        self.bonus = rng.normal(0, 0.3, (devices, layers + 1))
        self.around = rng.uniform(-0.5, 1, devices)
        low, high = self.toll.min(), self.toll.max()
        free = rng.uniform(low, high + 1, int(rng.integers(0, 6)))
        self.grid = np.sort(np.concatenate([[low], free, [high]]))

    def best(self, low: Floats | None = None) -> list[Floats]:
        devices = len(self.toll)
        sums = Sums.of(self.own[None], self.grid[None], self.gains, self.size)
        terms = Terms(
            group=np.zeros(devices, dtype=np.int64),
            room=self.room,
            toll=self.toll,
            bonus=self.bonus,
            around=self.around,
            low=low,
        )
        return [taken.worth for taken in sums.best(terms)]

    def direct(self, device: int, rooms: Floats | None = None) -> float:
        """Greatest over depths and caps of the least over the prices, its own toll included."""
        layers, ranks = self.gains.shape
        room = (self.room if rooms is None else rooms)[device]
        toll, bonus = self.toll[device], self.bonus[device]
        free = [max(row) for row in self.own]
        best = sum(free) + bonus[0] if room[0] >= 0 else -np.inf
        for k in range(1, layers + 1):
            for cap in range(ranks if room[k] >= 0 else 0):
                offers = []
                for price in [toll[k], *self.grid[self.grid >= toll[k]]]:
                    layer = [
                        max(
                            self.gains[j, min(r, cap)]
                            - price * self.size[j, min(r, cap)]
                            + self.own[j, r]
                            for r in range(ranks)
                        )
                        for j in range(k)
                    ]
                    offers.append(sum(layer) + sum(free[k:]) + (price - toll[k]) * room[k])
                best = max(best, min(offers) + bonus[k])
        return float(best)


@pytest.mark.parametrize("one_toll", [True, False])
def test_sums_agree_with_the_formula(one_toll: bool) -> None:
    """Where the toll is on the grid; between its prices sums are interpolated, from above."""
    for seed in range(60):
        offers = Offers(seed, 4, one_toll=one_toll)
        (value,) = offers.best()
        direct = np.array([offers.direct(i) for i in range(len(value))])
        assert (value >= direct - 1e-9).all()
        if one_toll:
            assert value == pytest.approx(direct, abs=1e-9)


def test_both_ends_bound_what_is_taken_in_between() -> None:
    """Room grows along a line from one round time to another, and what is taken is convex."""
    for seed in range(60):
        offers = Offers(seed, 4, one_toll=False)
        shorter = offers.room - np.random.default_rng(seed).integers(0, 3, offers.room.shape)
        low, high = offers.best(shorter)
        for share in (0.0, 0.3, 0.5, 0.8, 1.0):
            rooms = shorter + share * (offers.room - shorter)
            direct = [offers.direct(i, rooms) for i in range(len(high))]
            bound = low + share * (high - low) if np.isfinite(low).all() else high
            assert (bound >= np.array(direct) - 1e-9).all()


def capped_case(seed: int) -> tuple[Problem, float] | None:
    """A small problem with caps and the utility of its best plan."""
    fleet, options = linked_case(seed)
    if len(fleet.devices) > 3 or fleet.model.layers > 2:
        return None
    problem = Problem.of(fleet, structure="capped", **options)
    best = best_value(fleet, problem.question, "capped")
    return None if best is None or problem.costs.links is None else (problem, best)


def test_no_plan_is_better_than_the_copies_at_any_prices() -> None:
    tried = 0
    for seed in range(140):
        found = capped_case(seed)
        if found is None:
            continue
        problem, best = found
        links, budgets = problem.costs.links, problem.question.budgets
        assert links is not None
        assert budgets.round_time_s is not None
        tried += 1
        rng = np.random.default_rng(seed)
        high_s = budgets.round_time_s
        window = Window(
            low_s=high_s if budgets.mean_wait_s is None else 0.0,
            high_s=high_s,
            epsilon_s=budgets.mean_wait_s,
            kept=np.arange(len(links.names)),
        )
        waits = budgets.mean_wait_s is not None
        own = OwnAtPrices.of(problem, links, optimistic=True)
        ranks = rng.choice(problem.ranks, problem.layers)
        if budgets.rank_budget is not None:
            ranks = np.where(np.cumsum(ranks) <= budgets.rank_budget, ranks, 0)
        for scale in (0.0, 0.01, 0.1, 1.0):
            prices = Prices(
                links=scale * rng.uniform(0, 1, len(links.names)),
                wait=0.1 * scale * float(rng.uniform(0, 1)) * waits,
            )
            constant = prices.constant(links, window)
            copies = Copies.of(own, prices, ranks)
            start = copies.at_rest(ranks)
            multipliers, around, bound = descend(copies, start, ranks, 0.9 * best, constant, 12)
            assert bound >= best * (1 - 1e-9)
            assert np.abs(multipliers.sum(axis=0)).max() <= 1e-9 * (
                1 + np.abs(multipliers).max()
            )
            last = copies.answers(multipliers, around, LAST_PRICES).total + constant
            assert last >= best * (1 - 1e-9)
            # Multipliers that do not sum to 0 are paid for.
            off = multipliers + rng.normal(0, 0.2, multipliers.shape)
            assert copies.answers(off, around).total + constant >= best * (1 - 1e-9)
    assert tried >= 15


@pytest.mark.parametrize("seed", [24, 35, 40])
def test_steps_sum_to_zero_and_descend_as_far_as_their_square_says(seed: int) -> None:
    """Polyak's step divides by what the bound falls by per step along a subgradient."""
    found = capped_case(seed)
    assert found is not None
    problem, _ = found
    assert problem.costs.links is not None
    own = OwnAtPrices.of(problem, problem.costs.links, optimistic=True)
    ranks = np.full(problem.layers, problem.ranks[0])
    copies = Copies.of(own, Prices(links=np.zeros(len(problem.costs.links.names))), ranks)
    metric = Metric.of(copies)
    taken = np.random.default_rng(seed).uniform(0, 1, copies.at_rest(ranks).shape)
    taken /= taken.sum(axis=2, keepdims=True)
    apart = metric.apart(taken)
    step = metric.step(apart)
    assert len(step) > 1
    assert np.abs(step.sum(axis=0)).max() <= 1e-12 * np.abs(step).max()
    assert (taken * step).sum() == pytest.approx(metric.square(apart))
    assert metric.square(apart) > 0


def total_at(
    own: OwnAtPrices, copies: Copies, multipliers: Floats, window: Window, prices: Prices
) -> float:
    answers = copies.at(own, prices).answers(multipliers, copies.price, LAST_PRICES)
    return answers.total + prices.constant(own.links, window)


def test_prices_follow_what_the_limits_leave() -> None:
    """The slack at the answers is a subgradient: no prices are below the plane it makes."""
    compared = 0
    for seed in range(0, 90, 3):
        found = capped_case(seed)
        if found is None:
            continue
        problem, _ = found
        links, budgets = problem.costs.links, problem.question.budgets
        assert links is not None
        assert budgets.round_time_s is not None
        window = Window(
            low_s=0.5 * budgets.round_time_s,
            high_s=budgets.round_time_s,
            epsilon_s=budgets.mean_wait_s,
            kept=np.arange(len(links.names)),
        )
        own = OwnAtPrices.of(problem, links, optimistic=True)
        rng = np.random.default_rng(seed)
        ranks = np.full(problem.layers, problem.ranks[0])
        at = Prices(links=rng.uniform(0, 0.2, len(links.names)), wait=0.01)
        copies = Copies.of(own, at, ranks)
        multipliers = copies.at_rest(ranks)

        total = partial(total_at, own, copies, multipliers, window)
        answers = copies.answers(multipliers, copies.price, LAST_PRICES)
        left_s, kept_s = copies.slack(own, answers, at, window)
        here = total(at)
        if not np.isfinite(here):
            continue
        compared += 1
        for _ in range(5):
            other = Prices(
                links=at.links * rng.uniform(0.9, 1.1, len(at.links)),
                wait=at.wait * float(rng.uniform(0.9, 1.1)),
            )
            plane = here + float(left_s @ (other.links - at.links))
            plane += kept_s * (other.wait - at.wait)
            assert total(other) >= plane - 0.02 * abs(here)
    assert compared >= 4


@pytest.mark.parametrize("scale", [0.0, 1.0, 50.0, -50.0])
def test_prices_of_a_unit_begin_at_the_least_toll(scale: float) -> None:
    """Below the first price sums would be extrapolated, which bounds nothing."""
    rng = np.random.default_rng(0)
    shape, group = (30, 4), np.repeat(np.arange(6), 5)
    groups = Groups(
        weights=np.full(30, 1 / 30),
        toll=rng.normal(0.1, 1.0, shape),
        group=group,
        shares=np.full(6, 1 / 6),
        cuts=np.arange(5, 30, 5),
        ranks=np.arange(1.0, 4.0),
        gains=np.cumsum(rng.uniform(0, 1, (3, 3)), axis=1),
        steps=np.ones(3),
    )
    last = scale * (1.0 + rng.uniform(0, 0.1, 30))
    for prices in (groups.near(last), groups.everywhere(8)):
        assert (np.diff(prices, axis=1) >= 0).all()
        for g, row in enumerate(prices):
            tolls = groups.toll[group == g]
            assert row[0] == tolls.min()
            assert row[-1] >= tolls.max()


def test_groups_of_many_lie_in_groups_of_few_and_of_those_who_want_the_same() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(5, 3))
    kind, weights = rng.integers(5, size=40), rng.uniform(0, 1, 40)
    # Some count for nothing, and whole kinds of them are no group.
    weights[rng.integers(40, size=8)] = 0.0
    weights[kind == 4] = 0.0
    order, cuts = halved(kinds[kind] + 1e-9 * rng.normal(size=(40, 3)), weights, 12)
    assert sorted(order.tolist()) == list(range(40))
    assert len(cuts) == 11
    groups = [np.searchsorted(np.sort(cuts[:n]), np.arange(40), "right") for n in range(12)]
    for few, many in pairwise(groups):
        assert len({*zip(few.tolist(), many.tolist(), strict=True)}) == len({*many.tolist()})
    assert all((np.bincount(group, weights[order]) > 0).all() for group in groups)
    counted = weights[order] > 0
    pairs = {*zip(groups[3][counted].tolist(), kind[order][counted].tolist(), strict=True)}
    assert len(pairs) == 4
