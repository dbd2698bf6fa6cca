"""Memory counted on fake tensors is what real steps allocate."""

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from profiler.adapters import Step, adapt, make_batch
from profiler.anatomy import Anatomy, examine
from profiler.checkpoint import Checkpoint, build, open_checkpoint, settle
from profiler.memory.count import measure, probe
from profiler.memory.model import memory_model, probe_count
from profiler.probes import ranks_at
from profiler.schema import InputError, Memory, Training
from tests.profiler.tiny_models import FAMILIES, LAYERS, model_folder

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = {"batch_size": 3, "sequence_length": 16}


def prepare(family: str, parent: Path, **options: Any) -> tuple[Checkpoint, Anatomy, Training]:
    checkpoint = open_checkpoint(model_folder(family, parent))
    training, _ = settle(checkpoint, Training(**{**SHAPE, **options}))
    return checkpoint, examine(checkpoint, training), training


def real_step(
    checkpoint: Checkpoint, anatomy: Anatomy, training: Training, ranks: list[int]
) -> Step:
    model = adapt(build(checkpoint, training, meta=False), anatomy, ranks, training)
    config = model.get_base_model().config
    return Step(model, make_batch(config.vocab_size, config.pad_token_id, training), training)


def random_ranks(source: random.Random) -> list[int]:
    depth = source.randint(0, LAYERS)
    choices = (1, 2, 3, 4, 8, 12, 16, 32, 64)
    return [0] * (LAYERS - depth) + [source.choice(choices) for _ in range(depth)]


def predicted(memory: Memory, ranks: list[int]) -> float:
    depth = sum(rank > 0 for rank in ranks)
    phases = (memory.forward_bytes, memory.backward_bytes, memory.optimizer_bytes)
    return memory.weights_bytes + max(
        p.by_depth[depth] + sum(s * r for s, r in zip(p.per_rank, ranks, strict=True))
        for p in phases
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_equal_those_of_real_steps(family: str, tmp_path: Path) -> None:
    parts = prepare(family, tmp_path)
    source = random.Random(family)
    for _ in range(2):
        ranks = random_ranks(source)
        assert probe(*parts, ranks) == measure(real_step(*parts, ranks))


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "eager", "dropout": False},
        {"optimizer": "sgd"},
        {"dtype": "bfloat16"},
        {"gradient_checkpointing": True},
        {"labels": 5, "batch_size": 1, "sequence_length": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("family", ["roberta", "llama"])
def test_counts_hold_for_every_setup(
    family: str, options: dict[str, Any], tmp_path: Path
) -> None:
    parts = prepare(family, tmp_path, **options)
    for ranks in ([0, 4, 2], [1, 16, 8]):
        assert probe(*parts, ranks) == measure(real_step(*parts, ranks))


def test_counts_hold_for_a_decoder_as_a_language_model(tmp_path: Path) -> None:
    parts = prepare("gpt2", tmp_path, task="causal-lm", labels=0)
    for ranks in ([0, 4, 2], [1, 16, 8]):
        assert probe(*parts, ranks) == measure(real_step(*parts, ranks))


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_saved_bytes_are_what_autograd_packs_and_the_numbers_it_keeps(
    family: str, tmp_path: Path
) -> None:
    parts = prepare(family, tmp_path, dropout=False)
    ranks = [0, 5, 16]
    step = real_step(*parts, ranks)
    saved, loss_bytes = _saved_by_autograd(step)
    # alpha / rank of two layers with two adapted modules each, as 64-bit floats.
    numbers = 2 * 2 * 8
    assert probe(*parts, ranks).saved_bytes == saved + loss_bytes + numbers


def test_what_cannot_recompute_is_refused_in_one_line(tmp_path: Path) -> None:
    checkpoint, anatomy, training = prepare("mpnet", tmp_path)
    recomputing = msgspec.structs.replace(training, gradient_checkpointing=True)
    with pytest.raises(InputError, match="mpnet cannot recompute") as raised:
        probe(checkpoint, anatomy, recomputing, [0, 0, 4])
    assert "\n" not in str(raised.value)


def _saved_by_autograd(step: Step) -> tuple[int, int]:
    """Bytes of distinct storages that autograd packs, without parameters and inputs."""
    known = (*step.model.parameters(), *step.model.buffers(), *step.batch.values())
    held = {t.untyped_storage().data_ptr() for t in known}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        pointer = tensor.untyped_storage().data_ptr()
        if pointer not in held:
            kept[pointer] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = step.forward()
    sizes = [t.untyped_storage().nbytes() for t in kept.values()]
    return sum(sizes), loss.untyped_storage().nbytes()


@pytest.mark.parametrize("family", ["bert", "qwen3", "gemma2"])
def test_few_probes_foretell_held_out_configurations(family: str, tmp_path: Path) -> None:
    parts = prepare(family, tmp_path, batch_size=8, sequence_length=48)
    memory = memory_model(*parts)
    source = random.Random(1)
    for _ in range(4):
        ranks = random_ranks(source)
        exact = probe(*parts, ranks).peak_bytes
        assert predicted(memory, ranks) == pytest.approx(exact, rel=0.005)


def test_memory_model_adds_up(tmp_path: Path) -> None:
    parts = prepare("bert", tmp_path)
    checkpoint, anatomy, training = parts
    calls: list[int] = []
    memory = memory_model(*parts, lambda: calls.append(1))
    assert len(calls) == probe_count(anatomy)
    model = real_step(checkpoint, anatomy, training, [0, 0, 4]).model
    held = [p for p in model.parameters() if not p.requires_grad] + list(model.buffers())
    assert memory.weights_bytes == sum(t.numel() * t.element_size() for t in held)
    low, deep = (probe(*parts, ranks_at(LAYERS, k, 1)).saved_bytes for k in (0, LAYERS))
    lora = deep - low - sum(memory.activation_bytes)
    assert 0 < lora < 0.05 * deep
    assert len(memory.activation_bytes) == LAYERS


def test_unlike_layers_are_told_apart(tmp_path: Path) -> None:
    _, anatomy, _ = prepare("gemma2", tmp_path)
    assert anatomy.kinds == (0, 1, 0)
    assert not anatomy.uniform
