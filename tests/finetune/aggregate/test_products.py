"""Every aggregation against the averaged product, sum p_k B_k A_k, formed in full."""

import math

import pytest
import torch
from torch import Tensor

from finetune.aggregate import AGGREGATIONS, Aggregation, Settings, aggregation_error
from finetune.aggregate.products import small_svd, stack_of
from finetune.aggregate.rbla import Rbla
from finetune.exchange.updates import Update
from finetune.model.state import DELTA, A, B, State, lora_modules, shapes_of, truncate
from tests.finetune.aggregate.states import WIDTH, state_of, update

EXACT = ("flexlora", "hlora", "flora", "ffa", "fedex")


def trained(aggregation: Aggregation, server: State, ranks: dict[str, int], seed: int) -> State:
    """What a device of these ranks might come back with: whatever trains is random."""
    shapes = {name: tensor.shape for name, tensor in state_of(ranks, seed=0).items()}
    handed, random = aggregation.hand_out(server, shapes), state_of(ranks, seed)
    return {n: random[n] if aggregation.trains(n) else t for n, t in handed.items()}


def play(name: str, ranks: list[dict[str, int]], server: State) -> tuple[State, list[Update]]:
    aggregation = AGGREGATIONS[name](Settings())
    updates = [
        update(f"device-{i}", 10 + 7 * i, trained(aggregation, server, r, seed=i + 1))
        for i, r in enumerate(ranks)
    ]
    return aggregation.join(server, updates, 0), updates


def averaged(module: str, updates: list[Update]) -> Tensor:
    held = [u for u in updates if module + A in u.state]
    total = sum(u.examples for u in held)
    products = [u.examples / total * u.state[module + B] @ u.state[module + A] for u in held]
    return torch.stack(products).sum(dim=0)


def product(module: str, state: State) -> Tensor:
    return state[module + B] @ state[module + A] + state.get(module + DELTA, torch.zeros(()))


@pytest.mark.parametrize("name", EXACT)
def test_exact_aggregations_equal_the_averaged_product(name: str) -> None:
    equal = AGGREGATIONS[name](Settings()).needs_equal_ranks
    # The server's rank of 5 is the width, so that no SVD has to cut anything off.
    wide = {"l0": 5, "l1": 5, "l2": 2}
    server = state_of(wide, seed=0)
    ranks = [{"l1": 5}, wide | {"l2": 2}] if equal else [{"l1": 2}, {"l0": 3, "l1": 4}]
    joined, updates = play(name, [*ranks, {"l1": 5}], server)
    for module in {m for u in updates for m in lora_modules(u.state)}:
        torch.testing.assert_close(
            product(module, joined), averaged(module, updates), rtol=1e-4, atol=1e-5
        )
    error = aggregation_error(server, joined, updates)
    assert error is not None
    assert error < 1e-5


@pytest.mark.parametrize("name", ["layerwise", "hetlora", "rbla"])
def test_the_error_of_inexact_aggregations_is_what_their_products_miss(name: str) -> None:
    server = state_of({"l0": 4, "l1": 3}, seed=0)
    ranks = [{"l1": 3}, {"l0": 4, "l1": 3}, {"l0": 4, "l1": 3}]
    if name != "layerwise":
        ranks[1] = {"l0": 2, "l1": 1}
    joined, updates = play(name, ranks, server)
    missed = sum(
        float((product(m, joined) - averaged(m, updates)).square().sum()) for m in ("l0", "l1")
    )
    whole = sum(float(averaged(m, updates).square().sum()) for m in ("l0", "l1"))
    error = aggregation_error(server, joined, updates)
    assert error == pytest.approx(math.sqrt(missed / whole), rel=1e-4)
    assert missed > 0.01 * whole


def test_the_error_by_gram_matrices_is_that_of_the_products_in_full() -> None:
    generator = torch.Generator().manual_seed(5)

    def wide(rank: int) -> State:
        return {
            "m" + A: torch.randn(rank, 60, generator=generator),
            "m" + B: torch.randn(40, rank, generator=generator),
        }

    server, states = wide(3), [wide(3), wide(3)]
    updates = [update(str(i), 1 + i, state) for i, state in enumerate(states)]
    joined = AGGREGATIONS["layerwise"](Settings()).join(server, updates, 0)
    target = averaged("m", updates)
    expected = torch.linalg.norm(product("m", joined) - target) / torch.linalg.norm(target)
    error = aggregation_error(server, joined, updates)
    assert error == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["flexlora", "hlora"])
def test_svd_hands_every_device_the_best_part_of_its_rank(name: str) -> None:
    server = state_of({"l0": 3}, seed=0)
    joined, updates = play(name, [{"l0": 3}, {"l0": 2}], server)
    target = averaged("l0", updates)
    u, s, vh = torch.linalg.svd(target)
    for rank in (1, 2, 3):
        shapes = shapes_of(state_of({"l0": rank}, seed=0))
        handed = AGGREGATIONS[name](Settings()).hand_out(joined, shapes)
        best = u[:, :rank] * s[:rank] @ vh[:rank]
        torch.testing.assert_close(product("l0", handed), best, rtol=1e-4, atol=1e-5)
    error = aggregation_error(server, joined, updates)
    lost = torch.linalg.norm(s[3:]) / torch.linalg.norm(s)
    assert error == pytest.approx(lost.item(), abs=1e-5)


def test_a_rank_the_product_does_not_need_can_still_train() -> None:
    server = state_of({"l0": 4}, seed=0)
    joined, _ = play("hlora", [{"l0": 2}], server)
    assert not joined["l0" + B][:, 2:].any()
    assert torch.equal(joined["l0" + A][2:], server["l0" + A][2:])


def test_the_small_core_gives_the_singular_values_of_the_product() -> None:
    generator = torch.Generator().manual_seed(1)
    state = {
        "m" + A: torch.randn(3, 30, generator=generator),
        "m" + B: torch.randn(20, 3, generator=generator),
    }
    stack = stack_of("m", [update("a", 1, state)])
    assert stack is not None
    u, s, vh = small_svd(stack)
    product = (state["m" + B] @ state["m" + A]).double()
    torch.testing.assert_close(s, torch.linalg.svdvals(product)[:3], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close((u * s) @ vh, product, rtol=1e-5, atol=1e-5)


def test_rbla_averages_each_rank_over_those_who_have_it() -> None:
    server = state_of({"l0": 4}, seed=0)
    one, three = state_of({"l0": 1}, seed=1), state_of({"l0": 3}, seed=2)
    joined = Rbla().join(server, [update("a", 30, one), update("b", 10, three)], 0)
    a, name = joined["l0" + A], "l0" + A
    torch.testing.assert_close(a[0], 0.75 * one[name][0] + 0.25 * three[name][0])
    torch.testing.assert_close(a[1:3], three[name][1:])
    assert torch.equal(a[3], server[name][3])


@pytest.mark.parametrize("name", ["layerwise", "rbla"])
def test_a_trimmed_mean_drops_the_outliers_of_each_coordinate(name: str) -> None:
    server = state_of({"l0": 2}, seed=0)
    values = [state_of({"l0": 2}, seed=i) for i in range(1, 6)]
    updates = [update(str(i), 1 + 100 * i, state) for i, state in enumerate(values)]
    joined = AGGREGATIONS[name](Settings(trim=0.2)).join(server, updates, 0)
    for key in server:
        ordered = torch.stack([state[key] for state in values]).sort(dim=0).values
        torch.testing.assert_close(joined[key], ordered[1:4].mean(dim=0))


def test_flora_starts_fresh_adapters_of_its_seed_and_adds_up_the_stacks() -> None:
    server = state_of({"l0": 3}, seed=0)
    first, updates = play("flora", [{"l0": 2}, {"l0": 3}], server)
    assert not first["l0" + B].any()
    assert first["l0" + A].abs().max() <= 1 / math.sqrt(WIDTH)
    second = AGGREGATIONS["flora"](Settings()).join(first, updates, 1)
    torch.testing.assert_close(second["l0" + DELTA], 2 * averaged("l0", updates))
    assert not torch.equal(first["l0" + A], second["l0" + A])
    other = AGGREGATIONS["flora"](Settings(seed=1)).join(server, updates, 0)
    assert not torch.equal(first["l0" + A], other["l0" + A])


@pytest.mark.parametrize("name", list(AGGREGATIONS))
def test_every_aggregation_keeps_shapes_and_whatever_nobody_trained(name: str) -> None:
    aggregation = AGGREGATIONS[name](Settings())
    server = state_of({"l0": 4, "l1": 4}, seed=0)
    shapes = shapes_of(state_of({"l1": 4 if aggregation.needs_equal_ranks else 2}, seed=0))
    handed = aggregation.hand_out(server, shapes)
    assert shapes_of(handed) == shapes
    joined = aggregation.join(server, [update("a", 1, handed), update("b", 3, handed)], 0)
    assert {n: joined[n].shape for n in server} == shapes_of(server)
    if aggregation.hands_out_adapters:
        assert torch.equal(joined["l0" + B], server["l0" + B])
        assert torch.equal(joined["l0" + A], server["l0" + A])
    same = truncate(joined, shapes)
    torch.testing.assert_close(same["head.weight"], handed["head.weight"])
    # These two keep the ranks that nobody trained, so their product has more in it.
    whole = same if name in ("hetlora", "rbla") else joined
    torch.testing.assert_close(
        product("l1", whole), product("l1", handed), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", ["flora", "fedex"])
def test_what_is_added_to_the_base_adds_up_over_rounds(name: str) -> None:
    ranks = [{"l0": 2}] * 2
    first, _ = play(name, ranks, state_of({"l0": 2}, seed=9))
    second, updates = play(name, ranks, first)
    error = aggregation_error(first, second, updates)
    assert error is not None
    assert error < 1e-5
    added = second["l0" + DELTA] - first["l0" + DELTA]
    base_rank = AGGREGATIONS[name](Settings()).base_rank([2, 2])
    assert torch.linalg.matrix_rank(added, rtol=1e-4) == base_rank
