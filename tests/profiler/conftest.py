"""What several tests of the profiler share."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from click.testing import CliRunner

from profiler.cli.profile import profile as command
from tests.profiler.tiny_models import model_folder


class Measured(NamedTuple):
    """A model, the profile that the command measured of it, and what it printed."""

    folder: str
    path: Path
    stdout: str


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """Measured once: it starts two processes, each of which loads torch."""
    parent = tmp_path_factory.mktemp("measured")
    folder, path = model_folder("roberta", parent), parent / "p.json"
    shape = ("--batch-size", "2", "--sequence-length", "8", "--threads", "1")
    options = ("-o", str(path), "--quick", "--json", "--power-w", "7.5")
    result = CliRunner().invoke(command, [folder, *options, *shape])
    assert result.exit_code == 0, result.output
    return Measured(folder, path, result.stdout)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For tiny steps: threads would only wait for each other, and take scratch for each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
