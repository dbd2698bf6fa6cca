"""Whatever is wrong with what a person gives is one clear line and exit code 2."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.solver.instances import random_fleet

BAD_OPTIONS = [
    (["--ranks", "0"], "1 to 1024"),
    (["--ranks", "a-b"], "expected whole numbers"),
    (["--ranks", " "], "expected whole numbers"),
    (["--ranks", "1_0"], "expected whole numbers"),
    (["--ranks", "\u0661-\u0664"], "expected whole numbers"),
    (["--set", "device=d0,local_steps=2.5"], "local_steps is '2.5'"),
    (["--set", "device=d0,count=1e17"], "count is '1e17'"),
    (["--set", "device=d0,device=d1,count=2"], "says something twice"),
    (["--set", "device=d0,count=2,count=3"], "says something twice"),
    (["--fill-wait", "1e308"], "--fill-wait is 1e+308; expected 1 to 1,000,000"),
    (["--ranks", "-3"], "expected whole numbers"),
    (["--ranks", "1,,2"], "expected whole numbers"),
    (["--ranks", "2.5"], "expected whole numbers"),
    (["--ranks", "5-1"], "expected"),
    (["--ranks", "1-"], "expected whole numbers"),
    (["--cache-rounds", "3"], "means nothing to --cache off"),
    (["--ranks", "2000"], "1 to 1024"),
    (["--min-depth", "4"], "3 layers"),
    (["--min-depth", "-1"], "3 layers"),
    (["--round-time", "nan"], "--round-time is nan"),
    (["--round-time", "inf"], "--round-time is inf"),
    (["--round-time", "-1"], "--round-time is -1"),
    (["--round-time", "soon"], "not a valid float"),
    (["--mean-wait", "-0.1"], "--mean-wait is -0.1"),
    (["--upload-mb", "-1"], "--upload-mb is -1"),
    (["--download-mb", "nan"], "--download-mb is nan"),
    (["--energy-j", "-1e-9"], "--energy-j is -1e-09"),
    (["--rank-budget", "-1"], "rank_budget is -1"),
    (["--rank-budget", "1.5"], "not a valid integer"),
    (["--rank-budget", "1" + "0" * 400], "rank_budget is too large; leave it out"),
    (["--weights", "none"], "not one of"),
    (["--policy", "best"], "not one of"),
    (["--objective", "time"], "--min-utility"),
    (["--objective", "time", "--min-utility", "nan"], "--min-utility is nan"),
    (["--objective", "efficiency", "--min-utility", "-1"], "--min-utility is -1"),
    (["--structure", "own", "--rank-budget", "4"], "shared ranks"),
    (["--policy", "legend", "--objective", "time", "--min-utility", "0.1"], "policy exact"),
    (["--policy", "hetlora", "--objective", "efficiency"], "policy exact"),
    (["--policy", "legend", "--objective", "legend"], "policy exact"),
    (["--structure", "own", "--rank-shape", "rising"], "shared ranks"),
    (["--max-depth", "4"], "--max-depth is 4"),
    (["--max-depth", "1", "--min-depth", "2"], "expected 2 to 3"),
    (["--cache", "sometimes"], "not one of"),
    (["--upload-codec", "int4"], "not one of"),
    (["--download-codec", "int4"], "not one of"),
    (["--rank-shape", "falling"], "not one of"),
    (["--seed", "-1"], "not in the range"),
    (["--policy", "fedra", "--seed", "-1"], "not in the range"),
    (["--policy", "legend", "--structure", "own"], "--structure is for --policy exact"),
    (["--policy", "legend", "--prices"], "prices are of the largest utility"),
    (["--objective", "efficiency", "--prices"], "prices are of the largest utility"),
    (["-o", "."], "is a folder"),
    (["-o", ""], "an argument is empty"),
    (["--no-such-option"], "No such option"),
    (["one-too-many"], "unexpected extra argument"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS)
def test_a_bad_option_is_one_line_and_exit_2(
    run: Any, fleet_path: Path, options: list[str], message: str
) -> None:
    code, out, err = run("solve", fleet_path, *options)
    assert (code, out) == (2, ""), err
    assert message in err
    assert err.startswith("legend: ")
    assert err.count("\n") == 1


def broken(**changes: object) -> bytes:
    """A fleet with fields changed at ``a__b__0`` paths."""
    raw: Any = msgspec.to_builtins(random_fleet(0, layers=2, devices=2, max_rank=2))
    for path, value in changes.items():
        *parents, last = [int(p) if p.isdecimal() else p for p in path.split("__")]
        spot = raw
        for key in parents:
            spot = spot[key]
        spot[last] = value
    return json.dumps(raw).encode()


BAD_FLEETS = [
    (b"", "is empty"),
    (b"layers: 3", "is not JSON"),
    (b"\xff\xfe{}", "is not JSON"),
    (b'{"a":' * 3000, "is not JSON"),
    (b"[]", "expected a JSON object"),
    (b"{}", "no 'schema' field"),
    (broken(schema="legend/fleet/2"), "'legend/fleet/2'"),
    (broken(schema="legend/plan/1"), "'legend/plan/1'"),
    (broken(surprise=1), "surprise"),
    (broken(devices__0__colour="red"), "colour"),
    (broken(devices=[]), "length >= 1"),
    (broken(devices__0__device_class="gone"), "'gone'"),
    (broken(devices__1__name="d0"), "twice"),
    (broken(devices__0__uplink_bytes_per_s=-1.0), "uplink_bytes_per_s is -1"),
    (broken(devices__0__uplink_bytes_per_s=0), "uplink_bytes_per_s is 0"),
    (broken(devices__0__examples=0), "examples"),
    (broken(devices__0__count="many"), "count"),
    (broken(devices__0__memory_bytes=-5), "memory_bytes is -5"),
    (broken(model__layers=0), "layers"),
    (broken(model__layers=3), "3"),
    (broken(classes__0__time__head_s=float("nan")), "NaN"),
    (broken(classes__0__time__head_s=float("inf")), "Infinity"),
    (broken(classes__0__time__head_s=-1), "head_s"),
    (broken(classes__0__memory__backward_bytes__by_depth=[1.0]), "entries"),
    (broken(gain__by_layer=[[2.0, 1.0], [1.0, 2.0]]), "falls with the rank"),
    (broken(gain__ranks=[2, 1]), "rise"),
    (broken(lora__parameters_per_rank=[64, 0]), "parameters_per_rank"),
]


@pytest.mark.parametrize(("data", "message"), BAD_FLEETS)
def test_a_bad_fleet_is_one_line_and_exit_2(
    run: Any, tmp_path: Path, data: bytes, message: str
) -> None:
    path = tmp_path / "fleet.json"
    path.write_bytes(data)
    code, out, err = run("solve", path)
    assert (code, out) == (2, ""), err
    assert message in err
    assert str(path) in err
    assert err.count("\n") == 1


def test_files_that_cannot_be_read_or_written(
    run: Any, fleet_path: Path, tmp_path: Path
) -> None:
    for path, message in ((tmp_path / "gone.json", "no such file"), (tmp_path, "is a folder")):
        code, out, err = run("solve", path)
        assert (code, out) == (2, "")
        assert message in err
    code, _, err = run(
        "solve", fleet_path, "--ranks", "1-4", "-o", tmp_path / "no" / "plan.json"
    )
    assert code == 2
    assert "cannot be written" in err
    code, _, err = run("verify", fleet_path, fleet_path)
    assert code == 2
    assert "legend/plan/1" in err


EXTREME = [
    {"devices__0__examples": 10**30},
    {"devices__0__count": 2**62, "devices__0__examples": 2**62},
    {"devices__0__latency_s": 1e300},
    {"devices__0__uplink_bytes_per_s": 1e-300},
    {"devices__0__time_scale": 1e300},
    {"classes__0__time__head_s": 1e308, "classes__1__time__head_s": 1e308},
    {"classes__0__time__backward_s": [0.0, 0.0], "classes__0__time__lora_s_per_rank": [0, 0]},
    {"lora__parameters_per_rank": [1, 10**5]},
    {"gain__by_layer": [[1e300, 1e300], [1e300, 1e300]]},
]


@pytest.mark.parametrize("changes", EXTREME)
@pytest.mark.parametrize("budget", [(), ("--round-time", 9), ("--rank-budget", 3)])
@pytest.mark.parametrize("structure", ["shared", "capped", "own"])
def test_extreme_figures_do_not_break_anything(
    run: Any, tmp_path: Path, changes: dict[str, Any], budget: tuple[Any, ...], structure: str
) -> None:
    path = tmp_path / "fleet.json"
    path.write_bytes(broken(**changes))
    code, _, err = run(
        "solve",
        path,
        "--ranks",
        "1-2",
        "--min-depth",
        0,
        "--structure",
        structure,
        *budget,
        "--json",
    )
    assert code in (0, 2, 3), err
    assert err.count("\n") == (code > 0)


def test_a_table_as_large_as_may_be_is_no_problem(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    path.write_bytes(broken(lora__parameters_per_rank=[1, 10**6]))
    code, _, err = run("solve", path, "--ranks", "1-2", "--min-depth", 0, "--json")
    assert (code, err) == (0, "")


OVERFLOWS = [
    ({"devices__1__latency_s": 1e200}, "device 'd1': its round time"),
    ({"devices__1__uplink_bytes_per_s": 1e-300}, "device 'd1': its round time"),
    ({"devices__1__uplink_bytes_per_s": 5e-324}, "device 'd1': its round time"),
    ({"devices__1__uplink_bytes_per_s": 1e-308}, "device 'd1': its round time"),
    ({"devices__1__time_scale": 1e300}, "device 'd1': its round time"),
    ({"classes__1__memory__forward_bytes__per_rank__0": 1e308}, "class 'class-1': its memory"),
    ({"devices__1__examples": 10**30}, "examples"),
    ({"classes__1__time__head_s": 1e200}, "class 'class-1': its round time"),
    ({"classes__1__memory__weights_bytes": 1e200}, "class 'class-1': its memory"),
]


@pytest.mark.parametrize(("changes", "message"), OVERFLOWS)
@pytest.mark.parametrize("command", ["solve", "compare", "frontier"])
def test_a_figure_too_large_to_compute_with_is_named_with_its_file(
    run: Any, tmp_path: Path, command: str, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "fleet.json"
    path.write_bytes(broken(**changes))
    code, out, err = run(command, path, "--ranks", "1-2")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"legend: {path}: ")
    assert message in err


def test_a_count_too_large_for_a_what_if_names_its_device(run: Any, fleet_path: Path) -> None:
    code, _, err = run("solve", fleet_path, "--set", "device=d1,latency_s=1e200")
    assert (code, "device 'd1': its round time runs to 1e+200 s" in err) == (2, True)
    code, _, err = run("solve", fleet_path, "--set", "device=d1,examples=1e30")
    assert (code, "examples is '1e30'; expected a whole number from 1" in err) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--all", "--points", "3"], "give one of both"),
        (["--picture", "curve.pdf"], "expected .svg or .png"),
        (["--picture", "no/such/curve.svg"], "no folder"),
        (["--points", "1"], "not in the range"),
        (["--structure", "own", "--rank-budget", "4"], "shared ranks"),
    ],
)
def test_a_bad_option_of_the_frontier_is_one_line_and_exit_2(
    monkeypatch: pytest.MonkeyPatch,
    run: Any,
    fleet_path: Path,
    options: list[str],
    message: str,
) -> None:
    if "--picture" in options:
        # A picture that nobody can have is refused before the work.
        monkeypatch.setattr("solver.frontier.maximise_utility", None)
    code, out, err = run("frontier", fleet_path, "--ranks", "1-2", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_an_output_is_checked_before_the_work(
    monkeypatch: pytest.MonkeyPatch, run: Any, fleet_path: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr("solver.planner.solve", None)
    for path, message in ((tmp_path, "is a folder"), (tmp_path / "no" / "p", "no folder")):
        code, out, err = run("solve", fleet_path, "-o", path)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err


def test_a_plan_does_not_replace_its_fleet(run: Any, fleet_path: Path, tmp_path: Path) -> None:
    before = fleet_path.read_bytes()
    link = tmp_path / "link.json"
    link.symlink_to(fleet_path)
    for path in (fleet_path, link):
        code, _, err = run("solve", fleet_path, "--ranks", "1-4", "-o", path)
        assert (code, "is read here" in err) == (2, True)
    assert fleet_path.read_bytes() == before


def test_a_missing_argument_is_one_line(run: Any) -> None:
    for command in ("solve", "verify", "compare", "frontier", "schema"):
        code, out, err = run(command)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("legend: Missing argument")
    code, out, err = run()
    assert (code, out) == (2, "")
    assert err.startswith("Usage: legend")
