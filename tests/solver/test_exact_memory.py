"""`legend verify --exact`: the memory of the very adapters in a plan, counted anew."""

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

import legend
from profiler.derive import derive_profile
from profiler.exact_memory import answer
from profiler.memory.model import memory_model
from profiler.schema import (
    DeviceClass,
    Fleet,
    FleetDevice,
    InputError,
    Memory,
    Profile,
    Training,
    write,
)
from profiler.survey import survey
from solver.exact_memory import exact_memory, report_lines
from solver.plan import Plan
from solver.planner import solve
from solver.problem import Problem
from tests.profiler.tiny_models import model_folder

TRAINING = Training(batch_size=4, sequence_length=16)
FRAMEWORK_BYTES = 1e6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return model_folder("bert", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def profile(folder: str) -> Profile:
    """Closed-form times, and memory as counted for a CPU."""
    made = derive_profile(folder, "jetson-tx2", training=TRAINING)
    found = survey(folder, TRAINING, (), "cpu")
    memory = memory_model(found.checkpoint, found.anatomy, TRAINING)
    return replace(made, memory=replace(memory, framework_bytes=FRAMEWORK_BYTES))


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program answer here: libraries are loaded, which takes a process 5 s."""

    def run(
        command: list[str], *, input: bytes, **_: object
    ) -> subprocess.CompletedProcess[bytes]:
        assert command[-1] == "profiler.exact_memory"
        reply = msgspec.json.encode(answer(input))
        return subprocess.CompletedProcess(command, 0, stdout=reply, stderr=b"")

    monkeypatch.setattr(subprocess, "run", run)


def fleet_of(profile: Profile, memory: Memory, limit_bytes: int = 0) -> Fleet:
    cpu = replace(profile.device, processor="cpu")
    classes = [
        DeviceClass(name=name, device=device, time=profile.time, memory=memory)
        for name, device in (("board", cpu), ("gpu", profile.device))
    ]
    devices = [
        FleetDevice(
            name=f"{c.name}-0",
            device_class=c.name,
            uplink_bytes_per_s=1e6,
            downlink_bytes_per_s=1e6,
            memory_bytes=limit_bytes,
        )
        for c in classes
    ]
    return Fleet(
        provenance=profile.provenance,
        model=profile.model,
        training=profile.training,
        lora=profile.lora,
        gain=profile.gain,
        classes=classes,
        devices=devices,
    )


def plan_for(fleet: Fleet) -> Plan:
    return solve(Problem.of(fleet, ranks=(2, 4, 8)))


@pytest.mark.usefixtures("in_process")
def test_an_honest_plan_is_confirmed_and_cuda_is_not_judged(
    profile: Profile, folder: str
) -> None:
    fleet = fleet_of(profile, profile.memory)
    plan = plan_for(fleet)
    report = exact_memory(plan, fleet, Path(folder))
    assert report.ok
    assert report.worst is not None
    assert report.worst.device_class == "board"
    assert abs(report.worst.error_fraction) < 0.005
    assert {(c.device_class, c.binding) for c in report.comparisons} == {
        ("board", True),
        ("gpu", False),
    }
    error, unproven = report_lines(report, plan)
    assert "largest error" in error
    assert "'gpu' computes on CUDA" in unproven


@pytest.mark.usefixtures("in_process")
def test_a_limit_that_would_break_is_named(profile: Profile, folder: str) -> None:
    phases = ("forward_bytes", "backward_bytes", "optimizer_bytes")
    halved = {
        name: replace(
            getattr(profile.memory, name),
            by_depth=[v / 2 for v in getattr(profile.memory, name).by_depth],
        )
        for name in phases
    }
    hopeful = replace(profile.memory, **halved)
    plan = plan_for(fleet_of(profile, hopeful))
    device = plan.devices[0].predicted
    assert device is not None
    limit = int(device.memory_bytes) + 1
    fleet = fleet_of(profile, hopeful, limit)
    report = exact_memory(plan_for(fleet), fleet, Path(folder))
    assert [b.device for b in report.breaches] == ["board-0"]
    assert report.breaches[0].need_bytes > report.breaches[0].limit_bytes == limit
    assert report.worst is not None
    assert report.worst.error_fraction < -0.05
    assert report_lines(report, plan)[0].startswith("FAILED memory[board-0]")


@pytest.mark.usefixtures("in_process")
def test_another_model_is_refused(profile: Profile, tmp_path: Path) -> None:
    fleet = fleet_of(profile, profile.memory)
    other = model_folder("roberta", tmp_path)
    with pytest.raises(InputError, match="family is roberta, the plan's model has bert"):
        exact_memory(plan_for(fleet), fleet, Path(other))
    with pytest.raises(InputError, match=r"no config\.json") as raised:
        exact_memory(plan_for(fleet), fleet, tmp_path)
    assert "\n" not in str(raised.value)


def test_the_command_needs_both_options_and_reports(
    profile: Profile,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan, fleet = tmp_path / "plan.json", tmp_path / "fleet.json"
    made = fleet_of(profile, profile.memory)
    write(fleet, made)
    write(plan, plan_for(made))

    def run(*arguments: object) -> tuple[int, Any]:
        words = ["legend", "verify", str(plan), str(fleet), *map(str, arguments)]
        monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as end:
            legend.main()
        return int(end.value.code or 0), capsys.readouterr()

    code, shown = run("--exact")
    assert code == 2
    assert "go together" in shown.err
    code, shown = run("--exact", "--model", folder, "--json")
    found = json.loads(shown.out)
    assert (code, found["ok"]) == (0, True)
    assert len(found["exact"]["comparisons"]) == 2
