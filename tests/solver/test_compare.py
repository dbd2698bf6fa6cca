"""Policies side by side: every row, its gap, and a table that fits the screen."""

import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from profiler.schema import write
from solver.compare import compare_policies
from solver.policies import POLICIES, described
from solver.problem import Problem
from solver.show.comparison import comparison_view
from tests.solver.instances import random_fleet

OPTIONS: dict[str, Any] = {"ranks": [1, 2, 3, 4], "round_time_s": 9.0}


def test_every_policy_has_a_row_and_none_beats_the_bound() -> None:
    fleet = random_fleet(2, layers=3, devices=5, max_rank=4)
    rows = compare_policies(fleet, tuple(POLICIES), OPTIONS)
    names = [row.policy for row in rows]
    exact = ["exact, shared ranks", "exact, capped ranks", "exact, own ranks"]
    assert names == [*exact, *list(POLICIES)[1:]]
    shared, capped, own = (row.plan.predicted.utility for row in rows[:3] if row.plan)
    assert shared <= capped * (1 + 1e-9) <= own * (1 + 2e-9)
    for row in rows:
        if row.plan is None:
            assert row.reason.startswith("infeasible: d")
        elif row.gap_fraction is None:
            assert row.reason == "heeds no budgets, so no gap is shown"
        else:
            assert 0 <= row.gap_fraction <= 1
    assert any(row.plan is None for row in rows)
    assert sum(row.plan is not None for row in rows) > 8


def test_one_policy_may_be_named_alone_and_rows_read_short() -> None:
    fleet = random_fleet(2, layers=3, devices=5, max_rank=4)
    (row,) = compare_policies(fleet, "legend", OPTIONS)
    assert row.plan is not None
    assert row == compare_policies(fleet, ["legend"], OPTIONS)[0]
    assert len(repr(row)) < 120
    assert len(repr(Problem.of(fleet, **OPTIONS))) < 1000


def test_the_table_fits_120_columns() -> None:
    fleet = random_fleet(2, layers=3, devices=5, max_rank=4)
    rows = compare_policies(fleet, tuple(POLICIES), OPTIONS)
    out = io.StringIO()
    Console(width=120, file=out).print(comparison_view(rows, 120))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 120
    assert "…" not in text
    lines = [line for line in text.splitlines() if line.lstrip().startswith("exact, own")]
    assert len(lines[0].split()) > 12


def test_json_has_what_the_table_shows(run: Any, tmp_path: Path) -> None:
    fleet, path = random_fleet(2, layers=3, devices=5, max_rank=4), tmp_path / "fleet.json"
    write(path, fleet)
    asked = ("--ranks", "1-4", "--round-time", 9, "--policy", "exact", "--policy", "hetlora")
    code, out, _ = run("compare", path, *asked, "--policy", "fedlora", "--json")
    assert code == 0
    found = {row["policy"]: row for row in json.loads(out)}
    for row in compare_policies(fleet, ("exact", "hetlora", "fedlora"), OPTIONS):
        given = found[row.policy]
        devices = [] if row.plan is None else row.plan.devices
        peaks = [d.predicted.memory_bytes for d in devices if d.predicted]
        absent = sum(d.count for d in devices if d.predicted is None)
        expected = (None, None) if row.plan is None else (max(peaks), absent)
        assert (given["memory_bytes"], given["left_out"]) == expected
    assert found["hetlora"]["left_out"] or found["fedlora"]["left_out"] is None


def test_no_plan_at_all_is_infeasible(run: Any, tmp_path: Path) -> None:
    fleet, path = random_fleet(2, layers=3, devices=5, max_rank=4), tmp_path / "fleet.json"
    write(path, fleet)
    asked = ("compare", path, "--policy", "exact", "--policy", "fedlora", "--round-time")
    code, out, err = run(*asked, 0.01)
    assert code == 3
    assert "fedlora: infeasible" in out
    assert err.startswith("legend: no policy has a plan; exact, shared ranks: infeasible: ")
    code, out, _ = run(*asked, 0.01, "--json")
    assert (code, [row["predicted"] for row in json.loads(out)]) == (3, [None] * 4)
    # One plan is enough, here one that was given.
    plan = tmp_path / "plan.json"
    assert run("solve", path, "-o", plan)[0] == 0
    assert run(*asked, 0.01, "--plan", plan)[0] == 0


def test_help_describes_every_policy_on_one_line() -> None:
    lines = described().splitlines()[2:]
    assert [line.split()[0] for line in lines] == list(POLICIES)
    assert max(map(len, lines)) <= 96
