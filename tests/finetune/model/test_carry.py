"""Adapters carried over to other ranks: the function kept, or approximated best."""

import torch

from finetune.model.carry import carry, keep_layers, shrink
from finetune.model.replica import Replica
from finetune.model.state import A, B, State, lora_modules
from finetune.options import RunOptions
from finetune.session.setup import Sources, set_up
from solver.plan import Plan, read_plan
from tests.finetune.conftest import MakeInputs
from tests.finetune.runs import make_plan

BATCH = {"input_ids": torch.tensor([[2, 5, 7, 9]]), "attention_mask": torch.ones(1, 4)}


def trained(shape: dict[str, torch.Tensor], seed: int = 5) -> State:
    """Random values of the same shapes."""
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(t.shape, generator=generator) for n, t in sorted(shape.items())}


def logits(inputs: MakeInputs, plan: Plan, state: State) -> torch.Tensor:
    given = inputs()
    federation = set_up(read_plan(given.plan), Sources(*given[:2]), RunOptions(), lambda: None)
    replica = Replica(federation.base, plan, plan.ranks, seed=0)
    replica.load(state)
    replica.model.eval()
    return replica.forward(BATCH)[1].detach()


def start(inputs: MakeInputs, plan: Plan) -> State:
    given = inputs(plan)
    return set_up(plan, Sources(*given[:2]), RunOptions(), lambda: None).start


def test_growing_depth_and_rank_keeps_the_function(inputs: MakeInputs) -> None:
    small = make_plan(shapes=((0, 0, 2), (0, 1, 2)), ranks=(0, 1, 2))
    large = make_plan()
    state = trained(start(inputs, small))
    fresh = start(inputs, large)
    grown = carry(state, fresh)
    assert {n: t.shape for n, t in grown.items()} == {n: t.shape for n, t in fresh.items()}
    before, after = logits(inputs, small, state), logits(inputs, large, grown)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6)
    # What was added can learn: A is not zero there, and as the seed draws it.
    added = [m for m in lora_modules(grown) if len(grown[m + A]) == 4]
    assert added
    assert all(torch.equal(grown[m + A][2:], fresh[m + A][2:]) for m in added)
    assert all(grown[m + A][2:].abs().min() > 0 for m in added)


def test_shrinking_is_the_best_approximation_of_the_product() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(6, 20, generator=generator, dtype=torch.float64)
    b = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    least_a, least_b = shrink(a, b, 2)
    assert (least_a.shape, least_b.shape) == ((2, 20), (30, 2))
    u, s, vh = torch.linalg.svd(b @ a, full_matrices=False)
    torch.testing.assert_close(least_b @ least_a, (u[:, :2] * s[:2]) @ vh[:2])
    # A product of rank 2 in factors of rank 6 loses nothing.
    low = torch.cat([b[:, :2], b[:, :2], b[:, :2]], dim=1)
    small_a, small_b = shrink(a, low, 2)
    torch.testing.assert_close(small_b @ small_a, low @ a)


def test_a_layer_that_nobody_trains_any_more_stays(inputs: MakeInputs) -> None:
    deep, shallow = make_plan(), make_plan(shapes=((0, 0, 4), (0, 3, 4)), ranks=(0, 3, 4))
    state = trained(start(inputs, deep))
    kept = keep_layers(shallow, state)
    assert kept.ranks == [2, 3, 4]
    assert kept.configurations == shallow.configurations
    carried = carry(state, start(inputs, kept))
    assert all(torch.equal(carried[n], t) for n, t in state.items())
    assert keep_layers(deep, state) == deep


def test_other_ranks_of_one_layer_alone_change_nothing_else(inputs: MakeInputs) -> None:
    state = trained(start(inputs, make_plan()))
    lower = make_plan(shapes=((0, 0, 2), (0, 3, 2), (2, 3, 2)), ranks=(2, 3, 2))
    carried = carry(state, start(inputs, lower))
    for module in lora_modules(state):
        same = "layer.2." not in module
        assert torch.equal(carried[module + A], state[module + A]) == same
        assert carried[module + B].shape[1] == (state[module + B].shape[1] if same else 2)
