"""Inputs of a run, made once a session."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from solver.plan import Plan
from tests.finetune.runs import Family, Inputs, make_plan, save_model, write_plan, write_reviews

MakeInputs = Callable[..., Inputs]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny models train fastest on one thread."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Family], Path]:
    """Folder of a tiny model, by family."""
    made: dict[Family, Path] = {}

    def folder(family: Family) -> Path:
        if family not in made:
            made[family] = save_model(tmp_path_factory.mktemp(family), family)
        return made[family]

    return folder


@pytest.fixture
def inputs(tmp_path: Path, models: Callable[[Family], Path]) -> MakeInputs:
    """Model, data and plan of a run."""

    def make(plan: Plan | None = None, family: Family = "bert") -> Inputs:
        return Inputs(
            models(family),
            write_reviews(tmp_path / "reviews.csv"),
            write_plan(tmp_path / "plan.json", plan or make_plan(family)),
        )

    return make
