"""Aggregations against their formulas, written out by hand."""

import pytest
import torch
from msgspec.structs import replace

from finetune.aggregate import AGGREGATIONS, TRIMMED, Settings, aggregation_for
from finetune.aggregate.hetlora import HetLora, product_norm
from finetune.aggregate.layerwise import LayerwiseMean
from solver.plan import Configuration, InputError
from tests.finetune.aggregate.states import WIDTH, state_of, update
from tests.finetune.runs import make_plan


def test_layerwise_averages_each_layer_over_its_holders_by_examples() -> None:
    server = state_of({"l0": 2, "l1": 3}, seed=0)
    shallow, deep = state_of({"l1": 3}, seed=1), state_of({"l0": 2, "l1": 3}, seed=2)
    joined = LayerwiseMean().join(server, [update("a", 30, shallow), update("b", 10, deep)], 0)
    for name in server:
        expected = 0.75 * shallow[name] + 0.25 * deep[name] if name in shallow else deep[name]
        torch.testing.assert_close(joined[name], expected)


def test_layerwise_keeps_a_layer_that_nobody_holds() -> None:
    server = state_of({"l0": 2, "l1": 3}, seed=0)
    joined = LayerwiseMean().join(server, [update("a", 3, state_of({"l1": 3}, seed=1))], 0)
    assert torch.equal(joined["l0.lora_A.weight"], server["l0.lora_A.weight"])
    assert not torch.equal(joined["l1.lora_A.weight"], server["l1.lora_A.weight"])


def test_hetlora_is_the_norm_weighted_sum_of_zero_padded_factors() -> None:
    server = state_of({"l0": 4}, seed=0)
    small, large = state_of({"l0": 2}, seed=1), state_of({"l0": 4}, seed=2)
    joined = HetLora().join(server, [update("a", 30, small), update("b", 10, large)], 0)
    norms = [
        torch.linalg.matrix_norm(s["l0.lora_B.weight"] @ s["l0.lora_A.weight"])
        for s in (small, large)
    ]
    p, q = (norm / sum(norms) for norm in norms)
    padded = torch.cat([small["l0.lora_A.weight"], torch.zeros(2, WIDTH)])
    torch.testing.assert_close(
        joined["l0.lora_A.weight"], p * padded + q * large["l0.lora_A.weight"]
    )
    torch.testing.assert_close(
        joined["head.weight"], 0.75 * small["head.weight"] + 0.25 * large["head.weight"]
    )


def test_hetlora_prunes_a_tail_that_shrank_and_keeps_one_that_grew() -> None:
    server = state_of({"l0": 4}, seed=0)
    state = {name: tensor.clone() for name, tensor in server.items()}
    state["l0.lora_B.weight"][:, 3] *= 0.5
    shrunk = HetLora(keep=0.75).join(server, [update("a", 1, state, received=server)], 0)
    assert not shrunk["l0.lora_A.weight"][3].any()
    assert not shrunk["l0.lora_B.weight"][:, 3].any()
    assert torch.equal(shrunk["l0.lora_A.weight"][:3], state["l0.lora_A.weight"][:3])

    grown = HetLora(keep=0.75).join(state, [update("a", 1, server, received=state)], 0)
    assert torch.equal(grown["l0.lora_A.weight"], server["l0.lora_A.weight"])


def test_hetlora_never_prunes_the_only_rank() -> None:
    server = state_of({"l0": 1}, seed=0)
    state = {name: 0.5 * tensor for name, tensor in server.items()}
    joined = HetLora().join(server, [update("a", 1, state, received=server)], 0)
    for name, tensor in state.items():
        torch.testing.assert_close(joined[name], tensor)


def test_hetlora_keeps_ranks_that_nobody_holds_and_survives_zero_norms() -> None:
    server = state_of({"l0": 4, "l1": 2}, seed=0)
    small = state_of({"l0": 2}, seed=1)
    small["l0.lora_B.weight"].zero_()
    joined = HetLora().join(server, [update("a", 1, small), update("b", 1, small)], 0)
    assert torch.equal(joined["l0.lora_A.weight"][2:], server["l0.lora_A.weight"][2:])
    torch.testing.assert_close(joined["l0.lora_A.weight"][:2], small["l0.lora_A.weight"])
    assert torch.equal(joined["l1.lora_B.weight"], server["l1.lora_B.weight"])


def test_product_norm_is_the_frobenius_norm_of_the_product() -> None:
    state = state_of({"l0": 3}, seed=4)
    a, b = state["l0.lora_A.weight"], state["l0.lora_B.weight"]
    assert product_norm(a, b) == pytest.approx(torch.linalg.matrix_norm(b @ a).item(), rel=1e-5)


def test_the_plan_chooses_the_aggregation() -> None:
    plan, capped = make_plan(), make_plan(structure="capped")
    assert aggregation_for(plan, None)[0] == "layerwise"
    assert aggregation_for(capped, None)[0] == "hlora"
    for policy in ("hetlora", "flexlora"):
        asked = replace(capped, question=replace(capped.question, policy=policy))
        assert aggregation_for(asked, None)[0] == policy
    stacked = replace(capped, question=replace(capped.question, download="stacked"))
    assert aggregation_for(stacked, None)[0] == "flora"
    assert aggregation_for(stacked, "rbla")[0] == "rbla"
    with pytest.raises(InputError, match="expected one of layerwise, hetlora"):
        aggregation_for(plan, "mean")


@pytest.mark.parametrize("name", ["layerwise", "fedex"])
def test_means_refuse_ranks_that_differ_on_a_layer(name: str) -> None:
    plan = replace(make_plan(), configurations=[Configuration(depth=1, ranks=[0, 0, 2])] * 3)
    with pytest.raises(InputError, match="rank 2 on layer 2, the server 4"):
        aggregation_for(plan, name)


@pytest.mark.parametrize("name", sorted(AGGREGATIONS.keys() - set(TRIMMED)))
def test_only_means_of_coordinates_are_trimmed(name: str) -> None:
    with pytest.raises(InputError, match="Use --aggregation layerwise or rbla"):
        aggregation_for(make_plan(), name, Settings(trim=0.1))
