"""What devices with unequal shares of the classes add to their logits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from finetune.cli.run import run as run_command
from finetune.local.logit_adjustment import adjusted_loss, label_offsets
from finetune.local.train import LocalSettings, train
from finetune.model.replica import Replica
from solver.plan import InputError
from tests.finetune.conftest import MakeInputs
from tests.finetune.playing import arguments
from tests.finetune.runs import Family, base_of, batches_of, make_plan

Models = Callable[[Family], Path]


def test_offsets_are_logarithms_of_shares_with_one_more_of_each() -> None:
    labels = np.array([0, 0, 0, 2])
    found = label_offsets(labels, classes=3, strength=0.5)
    shares = torch.tensor([4 / 7, 1 / 7, 2 / 7])
    assert torch.allclose(found, 0.5 * shares.log())


def test_equal_shares_change_no_loss() -> None:
    logits, labels = torch.tensor([[1.0, -2.0], [0.5, 0.25]]), torch.tensor([0, 1])
    offsets = label_offsets(np.array([0, 1, 1, 0]), classes=2, strength=1.0)
    plain = torch.nn.functional.cross_entropy(logits, labels)
    assert torch.allclose(adjusted_loss(logits, labels, offsets), plain)


def test_logits_that_say_nothing_are_best_for_a_device_of_one_class_mostly() -> None:
    """At the shares themselves the loss has no slope, so frequencies are not learnt."""
    held = np.array([0] * 8 + [1] * 2)
    logits = torch.zeros(10, 2, requires_grad=True)
    offsets = torch.tensor([0.8, 0.2]).log()
    torch.autograd.backward(adjusted_loss(logits, torch.from_numpy(held), offsets))
    assert logits.grad is not None
    assert torch.allclose(logits.grad.sum(0), torch.zeros(2), atol=1e-6)


@pytest.mark.parametrize("ranks", [[0, 3, 4], [0, 0, 2]])
def test_training_drifts_less_to_the_class_that_is_held(
    models: Models, ranks: list[int]
) -> None:
    plan, folder = make_plan(), models("bert")
    one_class = torch.zeros(2, dtype=torch.long)
    batches = [{**batch, "labels": one_class} for batch in batches_of(plan, folder)]
    shift = {}
    for strength in (0.0, 1.0):
        replica = Replica(base_of(plan, folder), plan, ranks, seed=0)
        before = replica.forward(batches[0])[1]
        offsets = label_offsets(np.zeros(30, dtype=np.int64), 2, strength)
        train(replica, batches, LocalSettings("sgd", 0.1, 0), seed=5, offsets=offsets)
        replica.model.eval()
        moved = replica.forward(batches[0])[1] - before
        shift[strength] = float((moved[:, 0] - moved[:, 1]).detach().mean())
    assert 0 < shift[1.0] < 0.5 * shift[0.0]


def run(inputs: tuple[Path, Path, Path], out: Path, *more: str) -> bytes:
    CliRunner().invoke(
        run_command,
        arguments(inputs, out, "--alpha", "0.2", *more),
        catch_exceptions=False,
    )
    return (out / "adapter/adapter_model.safetensors").read_bytes()


def test_a_run_with_it_is_another_run_and_the_same_each_time(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs()
    plain = run(given, tmp_path / "plain")
    ways = [run(given, tmp_path / name, "--logit-adjustment", "1") for name in "ab"]
    assert ways[0] == ways[1] != plain


def test_it_is_refused_where_there_are_no_classes(inputs: MakeInputs, tmp_path: Path) -> None:
    given = inputs(make_plan("gpt2", task="causal-lm"), "gpt2")
    with pytest.raises(InputError, match="--logit-adjustment is 1 and the plan trains causal"):
        run(given, tmp_path / "run", "--logit-adjustment", "1")
    with pytest.raises(InputError, match="--logit-adjustment is -1"):
        run(given, tmp_path / "run", "--logit-adjustment", "-1")
