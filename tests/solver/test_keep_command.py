"""``legend solve --like PLAN --keep-within SHARE`` from outside."""

import json
from pathlib import Path
from typing import Any

from profiler.schema import write
from tests.solver.instances import random_fleet


def test_from_the_command_line(run: Any, fleet_path: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "plan.json", tmp_path / "again.json"
    assert run("solve", fleet_path, "--ranks", "1-4", "--round-time", 9, "-o", first)[0] == 0
    slow = ("--set", "class=class-0,time_scale=1.2")
    stays = ("solve", fleet_path, "--like", first, *slow, "-o", again)
    code, out, _ = run(*stays, "--keep-within", 1)
    line = next(each for each in out.splitlines() if each.startswith("kept"))
    assert code == 0
    assert "the earlier ranks and depths lose" in line
    assert "within the 100% allowed; devices:" in line
    assert run("verify", again, fleet_path, *slow)[0] == 0
    assert json.loads(again.read_text())["provenance"]["options"]["keep_within"] == "1.0"
    code, out, _ = run(*stays, "--keep-within", 0)
    assert code == 0
    assert any(each.startswith("new plan  the earlier ranks and") for each in out.splitlines())
    # What stays can be stayed with.
    run(*stays, "--keep-within", 1)
    third = tmp_path / "third.json"
    code, out, _ = run(
        "solve", fleet_path, "--like", again, *slow, "--keep-within", 1, "--json", "-o", third
    )
    assert (code, json.loads(out)["kept"]["decision"]) == (0, "kept")


def test_bad_input_is_refused_in_a_line(run: Any, fleet_path: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    run("solve", fleet_path, "--ranks", "1-4", "--round-time", 9, "-o", plan)
    other = tmp_path / "other.json"
    write(other, random_fleet(2, layers=4, devices=5, max_rank=4))
    legend = tmp_path / "legend.json"
    asked = ("--ranks", "1-4", "--round-time", 9, "--policy", "legend", "-o", legend)
    run("solve", fleet_path, *asked)
    for fleet, words, message in (
        (
            fleet_path,
            ("--keep-within", 0.1),
            "--keep-within stays with an earlier plan; say whi",
        ),
        (fleet_path, ("--like", tmp_path / "no.json", "--keep-within", 0.1), "no such file"),
        (
            fleet_path,
            ("--like", plan, "--keep-within", 1.1),
            "--keep-within is 1.1; expected a",
        ),
        (
            fleet_path,
            ("--like", plan, "--keep-within", -1),
            "--keep-within is -1.0; expected a",
        ),
        (
            fleet_path,
            ("--like", plan, "--keep-within", "nan"),
            "--keep-within is nan; expected",
        ),
        (fleet_path, ("--like", plan, "--keep-within", "much"), "'much' is not a valid float"),
        (other, ("--like", plan, "--keep-within", 0.1), f"{plan}: the plan to stay with is of"),
        (fleet_path, ("--like", legend, "--keep-within", 0.1), "--keep-within is for --policy"),
    ):
        code, out, err = run("solve", fleet, *words)
        assert (code, out, message in err, err.count("\n")) == (2, "", True, 1), err
