"""Planning anew in a run: what is observed, when it is due, what comes of it."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from finetune.clock.charge import Tariff
from finetune.devices import participants
from finetune.monitor.metrics import read_metrics
from finetune.monitor.progress import Progress
from finetune.options import RunOptions
from finetune.replan.ask import ask
from finetune.replan.observe import SMOOTHING, Observer, drift
from finetune.replan.rehearse import rehearse
from finetune.run import Stopped, run
from finetune.session.setup import Sources
from profiler.schema import Fleet, Trace, read_fleet
from solver.plan import InputError, read_plan
from tests.finetune.conftest import MakeInputs
from tests.finetune.fleets import (
    ROUND_TIME_S,
    make_fleet,
    make_trace,
    plan_for,
    switching,
    write_all,
)
from tests.finetune.playing import ADAPTER, StopAfter

OPTIONS = RunOptions(rounds=4, sample=6, learning_rate=1e-2, batch_size=4)


class Told(Progress):
    """Keeps what is said of new plans."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def say(self, text: str) -> None:
        self.texts.append(text)


def sources(inputs: MakeInputs, folder: Path, trace: Trace) -> tuple[Path, Sources]:
    """Fleet, trace and plan beside the tiny model and its data."""
    fleet = make_fleet()
    write_all(folder, fleet, trace, plan_for(fleet))
    given = inputs()
    return folder / "plan.json", Sources(
        given.model, given.data, None, folder / "fleet.json", folder / "trace.json"
    )


def test_measurements_are_smoothed_into_the_fleet() -> None:
    fleet = make_fleet()
    plan = plan_for(fleet)
    device = participants(plan)[0]
    observer = Observer(fleet)
    truth = replace(fleet.devices[0], device_class="slow", time_scale=3.0)
    truth = replace(truth, uplink_bytes_per_s=truth.uplink_bytes_per_s / 4)
    seen = Tariff(fleet, plan).charge(device, truth)
    for turn in (1, 2):
        observer.see(plan, {"d0": truth, "d1": fleet.devices[1]}, [(device, seen)])
        known = observer.fleet.devices[0]
        left = (1 - SMOOTHING) ** turn
        assert known.device_class == "slow"
        assert known.time_scale == pytest.approx(3.0 - 2.0 * left)
        slowness = fleet.devices[0].uplink_bytes_per_s / known.uplink_bytes_per_s
        assert slowness == pytest.approx(4 - 3 * left)
        assert known.downlink_bytes_per_s == pytest.approx(truth.downlink_bytes_per_s)
    assert observer.fleet.devices[1:] == fleet.devices[1:]
    # Another class has another profile: what was learnt of the old one is dropped.
    observer.see(plan, {"d0": fleet.devices[0]}, [])
    assert observer.fleet.devices[0].time_scale == 1.0


def test_drift_is_the_mean_distance_from_the_predicted_times() -> None:
    fleet = make_fleet(devices=2)
    plan = plan_for(fleet)
    devices = participants(plan)
    assert drift(plan, devices, fleet) == pytest.approx(0, abs=1e-12)
    slow = replace(fleet, devices=[fleet.devices[0], replace(fleet.devices[1], time_scale=2.0)])
    told = devices[1].predicted
    assert drift(plan, devices, slow) == pytest.approx(told.compute_s / told.time_s / 2)


def test_a_persons_own_modules_do_not_stand_in_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The solver is asked in the folder where the person is, which may hold a solver.py."""
    fleet = make_fleet()
    write_all(tmp_path, fleet, make_trace([0, 1]), plan_for(fleet))
    (tmp_path / "solver.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path)
    answer = ask(fleet, tmp_path / "plan.json", tmp_path, 1)
    assert answer.plan is not None
    assert answer.plan.model == fleet.model


def test_a_new_plan_keeps_the_round_time_where_the_old_one_is_late(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    plan, given = sources(inputs, tmp_path / "in", switching(["fast", "slow"]))
    told = Told()
    run(plan, given, tmp_path / "static", OPTIONS)
    options = replace(OPTIONS, replan_every=2)
    assert run(plan, given, tmp_path / "new", options, progress=told).plans == 1
    static, new = (read_metrics(tmp_path / name) for name in ("static", "new"))
    assert static["plan"].tolist() == [0] * 4
    assert new["plan"].tolist() == [0, 0, 1, 1]
    assert (static["round_time_s"][1:] > ROUND_TIME_S).all()
    assert (new["round_time_s"][2:] <= ROUND_TIME_S).all()
    assert new["round_time_s"][:2].tolist() == static["round_time_s"][:2].tolist()
    assert told.texts[0].startswith("before round 3: adopted plan 1")
    assert len(told.texts) == 1
    adopted = read_plan(tmp_path / "new/plan-0001.json")
    believed = read_fleet(tmp_path / "new/fleet-0001.json")
    assert [d.device_class for d in believed.devices[:3]] == ["slow", "fast", "slow"]
    assert adopted.question == read_plan(plan).question
    assert adopted.ranks != read_plan(plan).ranks or (
        adopted.configurations != read_plan(plan).configurations
    )


def test_drift_asks_for_a_plan_and_a_plan_ends_the_drift(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    plan, given = sources(inputs, tmp_path / "in", switching(["fast", "slow"]))
    run(plan, given, tmp_path / "run", replace(OPTIONS, replan_on_drift=0.1))
    rows = read_metrics(tmp_path / "run")
    assert rows["plan"].tolist() == [0, 0, 1, 1]
    assert rows["drift"][0] < 1e-9
    assert rows["drift"][1] > 0.1
    assert rows["drift"][2] < 0.1


def test_where_no_plan_is_possible_the_old_one_stays_and_the_reason_is_told(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    plan, given = sources(inputs, tmp_path / "in", switching(["fast", "stuck"]))
    told = Told()
    run(plan, given, tmp_path / "run", replace(OPTIONS, replan_every=3), progress=told)
    assert read_metrics(tmp_path / "run")["plan"].tolist() == [0] * 4
    (text,) = told.texts
    assert text.startswith("before round 4: kept plan 0: ")
    assert "d2" in text or "d0" in text


@pytest.mark.parametrize("answers", [11, 13, 19])
def test_a_run_stopped_around_a_new_plan_resumes_to_the_same_bytes(
    inputs: MakeInputs, tmp_path: Path, answers: int
) -> None:
    plan, given = sources(inputs, tmp_path / "in", switching(["fast", "slow"]))
    options = replace(OPTIONS, replan_every=2)
    run(plan, given, tmp_path / "whole", options)
    with pytest.raises(Stopped):
        run(plan, given, tmp_path / "parts", options, progress=StopAfter(answers))
    run(plan, given, tmp_path / "parts", options, resume=True)
    for file in (ADAPTER, "metrics.jsonl", "plan-0001.json", "adapter/adapter_config.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (
            tmp_path / "parts" / file
        ).read_bytes()


def test_another_plan_in_the_folder_is_not_taken_for_the_adopted_one(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    plan, given = sources(inputs, tmp_path / "in", switching(["fast", "slow"]))
    options = replace(OPTIONS, replan_every=2)
    run(plan, given, tmp_path / "run", options)
    path = tmp_path / "run/plan-0001.json"
    path.write_bytes(plan.read_bytes())
    with pytest.raises(InputError, match=r"plan-0001.json: is not the plan that was adopted"):
        run(plan, given, tmp_path / "run", options, resume=True)


@pytest.mark.parametrize("flag", ["replan_every", "replan_on_drift"])
def test_planning_anew_needs_a_fleet(inputs: MakeInputs, tmp_path: Path, flag: str) -> None:
    given = inputs()
    with pytest.raises(InputError, match=f"--{flag.replace('_', '-')} needs the fleet"):
        run(given.plan, Sources(*given[:2]), tmp_path / "run", replace(OPTIONS, **{flag: 1}))


def test_late_devices_are_named_and_do_not_train(inputs: MakeInputs, tmp_path: Path) -> None:
    plan, given = sources(inputs, tmp_path / "in", switching(["fast", "slow"]))
    run(plan, given, tmp_path / "run", replace(OPTIONS, rounds=2, deadline_s=ROUND_TIME_S))
    on_time, late = read_metrics(tmp_path / "run")["refused"].tolist()
    assert on_time == []
    assert {r["device"] for r in late} <= {"d0", "d2"}
    assert late
    assert all("the deadline is 10 s" in r["reason"] for r in late)
    assert {r["kind"] for r in late} == {"late"}


def test_the_fleet_of_the_tests_is_what_they_say() -> None:
    fleet: Fleet = make_fleet()
    slow = replace(fleet, devices=[replace(d, device_class="slow") for d in fleet.devices])
    plan, other = plan_for(fleet), plan_for(slow)
    assert len(plan.configurations) > 1
    assert other.predicted.utility < plan.predicted.utility


def test_a_rehearsal_takes_the_times_of_the_run(inputs: MakeInputs, tmp_path: Path) -> None:
    plan, given = sources(inputs, tmp_path / "in", switching(["fast", "slow"]))
    options = replace(OPTIONS, sample=4, replan_on_drift=0.1, deadline_s=11.0)
    run(plan, given, tmp_path / "run", options)
    rows = read_metrics(tmp_path / "run")
    trace = switching(["fast", "slow"])
    played = list(rehearse(plan, make_fleet(), trace, options, tmp_path))
    assert [p.cost.time_s for p in played] == rows["round_time_s"].tolist()
    assert [p.cost.mean_wait_s for p in played] == rows["mean_wait_s"].tolist()
    assert [p.number for p in played] == rows["plan"].tolist()
    late = [[r["device"] for r in row] for row in rows["refused"]]
    assert [p.late for p in played] == late
    assert rows["plan"].max() > 0
