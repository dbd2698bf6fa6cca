"""A fleet on file, and the command line called as a person would."""

from pathlib import Path
from typing import Any

import pytest

import legend
from profiler.schema import write
from tests.solver.instances import random_fleet

Run = tuple[int, str, str]


@pytest.fixture
def fleet_path(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.json"
    write(path, random_fleet(2, layers=3, devices=5, max_rank=4))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: object) -> Run:
        monkeypatch.setattr("sys.argv", ["legend", *map(str, arguments)])
        code = 0
        try:
            legend.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call
