"""The commands from outside: what they answer, exit codes, clean stdout."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from solver.plan import Plan


def test_a_plan_is_made_verified_and_tampering_is_found(
    run: Any, fleet_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    code, out, _ = run("solve", fleet_path, "--ranks", "1-4", "--round-time", 9, "-o", path)
    assert (code, "optimal" in out) == (0, True)
    code, out, _ = run("verify", path, fleet_path)
    assert code == 0
    plan = json.loads(path.read_text())
    plan["predicted"]["utility"] *= 1.01
    path.write_text(json.dumps(plan))
    code, out, _ = run("verify", path, fleet_path)
    assert (code, "predicted.utility" in out) == (2, True)


CHOICES = ["--cache", "auto", "--upload-codec", "int8", "--download-codec", "float16"]
CHOICES += ["--rank-shape", "rising"]


def test_caches_codecs_and_shapes_from_the_command_line(
    run: Any, fleet_path: Path, tmp_path: Path
) -> None:
    path, options = tmp_path / "plan.json", [*CHOICES, "--ranks", "1-4", "--max-depth", 2]
    code, out, _ = run("solve", fleet_path, *options, "--prices", "-o", path)
    assert code == 0
    assert "rising, 2 layers at most" in out
    assert "cache auto · int8 uploads · float16 downloads" in " ".join(out.split())
    assert "caches   always" in out
    assert "GB of storage" in out
    assert run("verify", path, fleet_path)[0] == 0
    plan = msgspec.json.decode(path.read_bytes(), type=Plan)
    asked = plan.question
    assert (asked.cache, asked.upload_codec, asked.download_codec) == (
        "auto",
        "int8",
        "float16",
    )
    again = tmp_path / "again.json"
    assert run("solve", fleet_path, "--like", path, "-o", again)[0] == 0
    assert msgspec.json.decode(again.read_bytes(), type=Plan).devices == plan.devices
    for command in ("compare", "frontier"):
        code, out, err = run(command, fleet_path, *options, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)


def test_more_storage_is_a_what_if(run: Any, fleet_path: Path) -> None:
    asked = ["--cache", "always", "--ranks", "1-4", "--round-time", 9, "--json"]
    kinds = {}
    for storage in (0, 1):
        change = ",".join(["class=class-0", f"storage_gb={storage}"])
        _, out, _ = run("solve", fleet_path, *asked, "--set", change)
        plan = msgspec.json.decode(out, type=Plan)
        kinds[storage] = {d.cache for d in plan.devices if d.device_class == "class-0"}
    assert kinds == {0: {"off"}, 1: {"always"}}


@pytest.mark.parametrize("command", ["solve", "compare", "frontier"])
def test_json_is_one_value_on_stdout_and_nothing_else(
    run: Any, fleet_path: Path, command: str
) -> None:
    code, out, err = run(command, fleet_path, "--ranks", "1-4", "--round-time", 9, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)
    if command == "solve":
        msgspec.json.decode(out, type=Plan)


def test_infeasible_is_one_line_and_exit_3(run: Any, fleet_path: Path) -> None:
    for command in ("solve", "frontier"):
        code, out, err = run(command, fleet_path, "--ranks", "1-4", "--round-time", 0.01)
        assert (code, out) == (3, "")
        assert err.count("\n") == 1
        assert "needs" in err
        assert "least feasible round time" in err


def test_zero_budgets_are_budgets(run: Any, fleet_path: Path) -> None:
    for option in ("--round-time", "--upload-mb", "--download-mb", "--energy-j"):
        code, _, err = run("solve", fleet_path, "--ranks", "1", "--min-depth", 0, option, 0)
        assert (code, "infeasible" in err) == (3, True)
    code, _, _ = run("solve", fleet_path, "--ranks", "1", "--min-depth", 0, "--rank-budget", 0)
    assert code == 0


@pytest.mark.parametrize("policy", ["exact", "legend", "flora"])
def test_like_asks_the_question_of_a_plan_again(
    run: Any, fleet_path: Path, tmp_path: Path, policy: str
) -> None:
    first, again = tmp_path / "plan.json", tmp_path / "again.json"
    asked = ("--ranks", "1-3", "--round-time", 9, "--policy", policy, "--weights", "equal")
    assert run("solve", fleet_path, *asked, "-o", first)[0] == 0
    assert run("solve", fleet_path, "--like", first, "-o", again)[0] == 0
    one, other = (msgspec.json.decode(p.read_bytes(), type=Plan) for p in (first, again))
    assert other.question == one.question
    assert (other.devices, other.ranks) == (one.devices, one.ranks)
    # Another fleet gets another answer to it, or none.
    slower = ("--set", "class=class-0,time_scale=1.5")
    assert run("solve", fleet_path, "--like", first, *slower, "-o", again)[0] == 0
    changed = msgspec.json.decode(again.read_bytes(), type=Plan)
    assert changed.predicted.utility < one.predicted.utility
    assert changed.predicted.round_time_s <= 9


def test_like_says_who_can_no_longer_keep_the_budgets(
    run: Any, fleet_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    run("solve", fleet_path, "--ranks", "1-3", "--round-time", 9, "-o", path)
    code, _, err = run("solve", fleet_path, "--like", path, "--set", "device=d0,time_scale=99")
    assert (code, "d0" in err) == (3, True)


def test_like_and_another_question_are_one_too_many(
    run: Any, fleet_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    run("solve", fleet_path, "--ranks", "1-3", "--round-time", 9, "-o", path)
    code, _, err = run("solve", fleet_path, "--like", path, "--round-time", 5)
    assert (code, "--round-time and --like both say what is asked" in err) == (2, True)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("min_depth", 9, "--min-depth is 9"),
        ("max_depth", 0, "--max-depth is 0"),
        ("rank_choices", [], "the ranks are none"),
        ("rank_choices", [2000], "expected whole numbers from 1 to 1024"),
        ("cache_rounds", 3, "--cache-rounds means nothing"),
        ("policy", "best", "no policy 'best'"),
    ],
)
def test_a_question_of_a_plan_is_read_as_strictly_as_options(
    run: Any, fleet_path: Path, tmp_path: Path, field: str, value: object, message: str
) -> None:
    path = tmp_path / "plan.json"
    run("solve", fleet_path, "--ranks", "1-3", "-o", path)
    raw = json.loads(path.read_text())
    raw["question"][field] = value
    path.write_text(json.dumps(raw))
    code, out, err = run("solve", fleet_path, "--like", path)
    assert (code, out, message in err, err.count("\n")) == (2, "", True, 1), err


def test_ranks_said_twice_are_one_choice(run: Any, fleet_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    run("solve", fleet_path, "--ranks", "1-3", "-o", path)
    raw = json.loads(path.read_text())
    raw["question"]["rank_choices"] = [3, 2, 2, 1]
    path.write_text(json.dumps(raw))
    code, out, _ = run("solve", fleet_path, "--like", path, "--json")
    assert (code, json.loads(out)["question"]["rank_choices"]) == (0, [1, 2, 3])
