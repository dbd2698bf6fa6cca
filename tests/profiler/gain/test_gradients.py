"""Gradients put together from inputs and outgoing gradients, against autograd's own."""

from pathlib import Path
from typing import cast, get_args

import pytest
import torch

from profiler.anatomy import examine
from profiler.checkpoint import open_checkpoint
from profiler.gain.data import Source, Text, load_text
from profiler.gain.default import RANKS
from profiler.gain.energy import captured_energy
from profiler.gain.gradients import collect_gradients
from profiler.gain.head import warm_head
from profiler.gain.training import Bench, open_bench
from profiler.schema import InputError, Training
from tests.finetune.runs import Family, save_model, write_reviews
from tests.profiler.tiny_models import model_folder

TRAINING = Training(batch_size=4, sequence_length=8)


def bench_and_text(folder: Path, family: Family, count: int) -> tuple[Bench, Text]:
    checkpoint = open_checkpoint(str(save_model(folder / family, family)))
    anatomy = examine(checkpoint, TRAINING)
    source = Source(write_reviews(folder / "reviews.csv"))
    text = load_text(source, checkpoint, TRAINING, count=count, seed=0)
    return open_bench(checkpoint, anatomy, TRAINING, processor="cpu", seed=0), text


@pytest.mark.parametrize("family", get_args(Family))
def test_gradients_are_those_of_autograd(family: Family, tmp_path: Path) -> None:
    bench, text = bench_and_text(tmp_path, family, count=6)
    found = collect_gradients(bench, text)
    record, model = bench.anatomy.model, bench.base
    for layer, row in enumerate(found):
        for target, gradient in zip(record.targets, row, strict=True):
            name = record.module_name(layer, target.name)
            weight = cast("torch.nn.Parameter", model.base_model.get_submodule(name).weight)
            weight.requires_grad_(True)
            own = []
            for index in range(len(text.ids)):
                loss = model(**text.batch([index])).loss
                own.append(torch.autograd.grad(loss, weight)[0])
            weight.requires_grad_(False)
            mean = torch.stack(own).mean(0)
            if family == "gpt2":  # its Conv1D keeps weights transposed
                mean = mean.T
            torch.testing.assert_close(gradient.mean, mean, rtol=1e-3, atol=1e-7)
            square = sum(float(g.square().sum()) for g in own) / len(own)
            assert gradient.square == pytest.approx(square, rel=1e-3)


def test_collecting_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    bench, text = bench_and_text(tmp_path, "bert", count=8)
    before = {name: tensor.clone() for name, tensor in bench.base.state_dict().items()}
    collect_gradients(bench, text)
    for name, tensor in bench.base.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not any(p.requires_grad or p.grad is not None for p in bench.base.parameters())
    again = collect_gradients(bench, text)
    once = collect_gradients(bench, text)
    assert again[0][0].square == once[0][0].square


@pytest.mark.parametrize("family", get_args(Family))
def test_warming_the_head_lowers_the_loss_and_touches_nothing_else(
    family: Family, tmp_path: Path
) -> None:
    bench, text = bench_and_text(tmp_path, family, count=64)
    before = {name: tensor.clone() for name, tensor in bench.base.state_dict().items()}
    loss = bench.loss(bench.base, text)
    warm_head(bench, text)
    assert bench.loss(bench.base, text) < loss
    heads = tuple(bench.anatomy.model.head_modules)
    for name, tensor in bench.base.state_dict().items():
        assert torch.equal(tensor, before[name]) != name.startswith(heads)
    assert not any(p.requires_grad for p in bench.base.parameters())


def test_energy_is_that_of_the_best_approximation() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(6, 9, generator=generator)
    energies = captured_energy(matrix)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    for rank, energy in zip(RANKS, energies, strict=True):
        best = u[:, :rank] @ torch.diag(s[:rank]) @ v[:rank]
        assert energy == pytest.approx(float(best.square().sum()), rel=1e-4)


def test_wide_matrices_keep_their_energy_under_random_projections() -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(1100, 20, generator=generator) for _ in range(2))
    matrix = left @ torch.diag(torch.logspace(0, -2, 20)) @ right.T
    exact = torch.linalg.svdvals(matrix).square().cumsum(0)
    for rank, energy in zip(RANKS, captured_energy(matrix), strict=True):
        assert energy == pytest.approx(float(exact[rank - 1]), rel=1e-3)


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(model_folder("bert", tmp_path))
    anatomy = examine(checkpoint, TRAINING)
    with pytest.raises(InputError, match="holds no weights"):
        open_bench(checkpoint, anatomy, TRAINING, processor="cpu", seed=0)
