"""Files of older versions are brought up to date; those of newer ones are refused plainly."""

import json
from pathlib import Path
from typing import Any

import pytest

from profiler.files import InputError
from profiler.migrations import MIGRATIONS, bring_up
from profiler.schema import read_fleet, write
from solver.plan import read_plan
from tests.finetune.plans import plan_to_show
from tests.solver.instances import random_fleet


def no_latency(content: dict[str, Any]) -> dict[str, Any]:
    """As if version 0 had counted the latency in milliseconds."""
    for device in content["devices"]:
        device["latency_s"] = device.pop("latency_ms") / 1000
    return content | {"schema": "legend/fleet/1"}


def old_fleet(path: Path) -> dict[str, Any]:
    write(path, random_fleet(3))
    content: dict[str, Any] = json.loads(path.read_text())
    for device in content["devices"]:
        device["latency_ms"] = device.pop("latency_s") * 1000
    content["schema"] = "legend/fleet/0"
    return content


def test_an_older_fleet_reads_as_the_present_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fleet.json"
    path.write_text(json.dumps(old_fleet(path)))
    with pytest.raises(InputError, match="schema is 'legend/fleet/0'; expected 'legend/fleet"):
        read_fleet(path)
    monkeypatch.setitem(MIGRATIONS, "legend/fleet/0", no_latency)
    seen, meant = read_fleet(path), random_fleet(3)
    assert [d.latency_s for d in seen.devices] == pytest.approx(
        [d.latency_s for d in meant.devices]
    )
    assert seen.classes == meant.classes


def test_steps_are_chained(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in (1, 2):
        monkeypatch.setitem(
            MIGRATIONS,
            f"legend/x/{version}",
            lambda c: {"n": c["n"] + 1, "schema": f"legend/x/{c['n'] + 2}"},
        )
    done = bring_up(b'{"schema": "legend/x/1", "n": 0}', "legend/x/1", "legend/x/3")
    assert json.loads(done or b"") == {"n": 2, "schema": "legend/x/3"}
    assert bring_up(b'{"n": 0}', "legend/x/1", "legend/x/9") is None


def test_a_step_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MIGRATIONS, "legend/fleet/0", no_latency)
    path = tmp_path / "fleet.json"
    path.write_text('{"schema": "legend/fleet/0", "devices": [{}]}')
    with pytest.raises(InputError, match=r"but its content is not.*latency_ms") as caught:
        read_fleet(path)
    assert "\n" not in str(caught.value)


def test_a_newer_version_says_to_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write(path, plan_to_show())
    path.write_text(path.read_text().replace("legend/plan/1", "legend/plan/12"))
    with pytest.raises(InputError, match=r"newer than 'legend/plan/1'.*pip install --upgrade"):
        read_plan(path)
