"""The program that counts memory for those without torch."""

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from profiler.anatomy import examine
from profiler.checkpoint import open_checkpoint
from profiler.exact_memory import answer
from profiler.memory.count import probe
from profiler.schema import Training
from tests.profiler.tiny_models import model_folder

TRAINING = Training(batch_size=2, sequence_length=8)
RANKS = [[0, 4, 8], [1, 2, 3]]


def ask(folder: str, **changes: Any) -> bytes:
    request = {"model": folder, "training": TRAINING, "ranks": RANKS, **changes}
    return msgspec.json.encode(request)


def test_the_program_counts_as_the_profiler_does(tmp_path: Path) -> None:
    folder = model_folder("bert", tmp_path)
    # As a process of its own it is asked in tests/solver/test_exact_memory.py.
    found = answer(ask(folder))
    checkpoint = open_checkpoint(folder)
    anatomy = examine(checkpoint, TRAINING)
    assert found.model == anatomy.model
    for ranks, peaks in zip(RANKS, found.peaks, strict=True):
        counted = probe(checkpoint, anatomy, TRAINING, ranks)
        assert peaks.weights_bytes == counted.frozen_bytes
        assert peaks.saved_bytes == counted.saved_bytes
        phases = (peaks.forward_bytes, peaks.backward_bytes, peaks.optimizer_bytes)
        assert peaks.weights_bytes + max(phases) == counted.peak_bytes


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model": "absent"}, "neither a folder nor a model"),
        ({"ranks": [[1, 2]]}, "has 2 ranks; expected 3"),
        ({"targets": ["nose"]}, "no module 'nose'"),
        ({"ranks": "many"}, "Expected `array`"),
        ({"nose": 1}, "unknown field"),
    ],
)
def test_what_cannot_be_counted_is_said(
    changes: dict[str, Any], line: str, tmp_path: Path
) -> None:
    found = answer(ask(model_folder("bert", tmp_path), **changes))
    assert (found.status, found.peaks) == ("refused", [])
    assert line in found.message
    assert "\n" not in found.message


def test_a_missing_library_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "profiler.memory.count", None)
    found = answer(ask("absent"))
    assert found.status == "refused"
    assert "pip install 'legend-planner[run]'" in found.message
