"""Real federations on loopback: SuperLink, SuperNodes and apps in processes of their own."""

import os
import sys
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install '.[flower]'")

from finetune.export.files import write_export
from finetune.export.flower import render
from finetune.flower.follow import follow
from finetune.flower.launch import ENVIRONMENT, SuperLink, launch
from finetune.flower.processes import MARK, Processes
from finetune.flower.shares import write_shares
from finetune.flower.superlink import free_port, wait_for_port
from finetune.monitor.metrics import RoundMetrics
from finetune.monitor.progress import Progress
from finetune.options import RunOptions
from finetune.run import Sources, Stopped, run
from solver.plan import read_plan
from tests.finetune.conftest import MakeInputs
from tests.finetune.runs import make_plan

pytestmark = pytest.mark.timeout(600)
OPTIONS = RunOptions(rounds=2, sample=2, learning_rate=1e-2)
ADAPTER = "adapter/adapter_model.safetensors"


# In the environment of all that a test starts, whoever is its parent by then.
OWNER = "LEGEND_TEST"


@pytest.fixture(autouse=True)
def _one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv(OWNER, uuid4().hex)


class StopAfterFirst(Progress):
    """Presses Ctrl-C once a round is finished."""

    def finished(self, row: RoundMetrics) -> None:
        raise KeyboardInterrupt


def marked() -> list[str]:
    """Processes of this test's federations that are still there."""
    found = []
    for process in psutil.process_iter():
        try:
            seen = process.environ()
            ours = MARK in seen and seen.get(OWNER) == os.environ[OWNER]
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_stopped_and_resumed_a_federation_gives_the_adapter_of_the_local_engine(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs(make_plan(devices=3))
    sources, out = Sources(given.model, given.data), tmp_path / "flower"
    run(given.plan, sources, tmp_path / "local", OPTIONS)
    with pytest.raises(Stopped, match="stopped after round 1 of 2"):
        launch(given.plan, sources, out, OPTIONS, SuperLink(), progress=StopAfterFirst())
    assert (out / ADAPTER).exists()
    assert marked() == []
    summary = launch(given.plan, sources, out, OPTIONS, SuperLink(), resume=True)
    assert marked() == []
    assert summary.rounds == 2
    assert summary.refused == 0
    assert (out / ADAPTER).read_bytes() == (tmp_path / "local" / ADAPTER).read_bytes()
    assert (out / "metrics.jsonl").read_bytes() == (
        tmp_path / "local" / "metrics.jsonl"
    ).read_bytes()


def test_an_exported_app_runs_with_flwr_run(inputs: MakeInputs, tmp_path: Path) -> None:
    plan = make_plan(devices=2)
    given = inputs(plan)
    write_export(render(read_plan(given.plan)), tmp_path / "app")
    files = write_shares(plan, given.data, None, OPTIONS, tmp_path / "data")
    out, home = tmp_path / "out", tmp_path / "home"
    home.mkdir()
    port = free_port()
    address = f"127.0.0.1:{port}"
    (home / "config.toml").write_text(
        '[superlink]\ndefault = "own"\n[superlink.own]\n'
        f'address = "{address}"\ninsecure = true\n'
    )
    environment = {**ENVIRONMENT, "FLWR_HOME": str(home)}
    out.joinpath("flower").mkdir(parents=True)
    programs = Path(sys.executable).parent
    config = f'model="{given.model}" data="{given.data}" out="{out}" rounds=1 deadline-slack=0'
    with Processes(tmp_path / "logs", environment) as processes:
        command = [str(programs / "flower-superlink"), "--insecure", "--port", str(port)]
        processes.start("superlink", [*command, "--disable-runtime-dependency-installation"])
        wait_for_port(processes, "superlink", port)
        command = [str(programs / "flower-supernode"), "--insecure", "--port", str(free_port())]
        node = f'device="device-0" model="{given.model}" data="{files["device-0"]}"'
        command += ["--superlink", address, "--node-config", node]
        processes.start("node", command)
        app = [str(programs / "flwr"), "run", str(tmp_path / "app"), "own", "--stream"]
        command = [*app, "--run-config", config]
        summary = follow(processes, out / "flower", command, OPTIONS, Progress())
    assert summary.rounds == 1
    assert summary.refused == 0
    assert (out / ADAPTER).exists()
