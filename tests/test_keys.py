"""Keys that stand twice in a file: of which a decoder silently keeps the last."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import legend
from finetune.monitor.metrics import decode_metrics
from finetune.report.answers import decode_frontier
from profiler.configs import load_config
from profiler.fleet.formats import flower_table
from profiler.keys import repeated_key
from profiler.schema import InputError, read_fleet, read_profile, read_trace
from solver.plan import read_plan

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": 1, "b": {"a": 2}}', None),
        (b'{"a": 1, "a": 1}', "key 'a' stands twice in $"),
        (
            b'{"a": [{}, {"b": [0, {"c": 1, "d": 2, "c": 3}]}]}',
            "'c' stands twice in $.a[1].b[1]",
        ),
        (b'[{"name": 1, "\\u006eame": 2}]', "key 'name' stands twice in $[0]"),
        (b"[1, 2", None),
        (b"[" * 100_000, None),
    ],
)
def test_a_repeated_key_is_named_with_its_place(text: bytes, said: str | None) -> None:
    found = repeated_key(text)
    assert found is said if said is None else said in str(found)


@pytest.mark.parametrize(
    ("name", "old", "read"),
    [
        ("fleet.json", '"layers":', read_fleet),
        ("plan.json", '"round_time_s":', read_plan),
        ("profile.json", '"layers":', read_profile),
        ("trace.json", '"schema":', read_trace),
    ],
)
def test_a_file_of_ours_with_a_key_twice_is_refused(
    tmp_path: Path, name: str, old: str, read: Callable[[Path], object]
) -> None:
    text = (EXAMPLES / name).read_text("utf-8")
    line = next(line for line in text.splitlines() if old in line)
    path = tmp_path / name
    path.write_text(text.replace(line, f"{line.rstrip(',')},\n{line}", 1), "utf-8")
    key = re.findall(r"\w+", old)[0]
    with pytest.raises(InputError, match=rf"{name}: key '{key}' stands twice in \$"):
        read(path)


def test_a_file_without_repeated_keys_is_read_however_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    path.write_bytes(msgspec.json.encode(read_fleet(EXAMPLES / "fleet.json")))
    assert read_fleet(path) == read_fleet(EXAMPLES / "fleet.json")


def test_files_of_others_too(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "model_type": "gpt2"}')
    with pytest.raises(InputError, match=r"config.json: key 'model_type' stands twice"):
        load_config(str(tmp_path))
    (tmp_path / "nodes.json").write_text('[{"name": "a", "name": "b"}]')
    with pytest.raises(InputError, match=r"nodes.json: key 'name' stands twice in \$\[0\]"):
        flower_table(tmp_path / "nodes.json")


def test_an_answer_of_a_command_too() -> None:
    text = b'[{"round_time_s": 1, "mean_wait_s": 0, "utility": 1, "mean_depth": 1, '
    text += b'"gap_fraction": 0, "gap_fraction": 1}]'
    with pytest.raises(InputError, match="twice"):
        decode_frontier(text, "frontier.json")


def test_lines_of_a_run_name_the_line() -> None:
    line = (
        b'{"round":1,"virtual_time_s":1.5,"round_time_s":1.5,"mean_wait_s":0.3,"upload_bytes":'
        b'2.0,"download_bytes":2.0,"train_loss":0.6,"test_accuracy":null,"test_loss":null,'
        b'"devices":["a"],"refused":[],"aggregation_error":0.3,"plan":0,"drift":null}'
    )
    twice = line.replace(b"{", b'{"round":1,', 1)
    with pytest.raises(InputError, match="m, line 2: key 'round' stands twice"):
        decode_metrics(line + b"\n" + twice + b"\n", "m")
    assert len(decode_metrics(line + b"\n" + twice[:40], "m")) == 1
    with pytest.raises(InputError, match="no metrics file"):
        decode_metrics(twice[:40] + b"\n" + line + b"\n", "m")


def test_the_command_says_it_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "f.json"
    text = (EXAMPLES / "fleet.json").read_text("utf-8").replace("{", '{"schema": "x",', 1)
    path.write_text(text)
    monkeypatch.setattr(sys, "argv", ["legend", "solve", str(path)])
    with pytest.raises(SystemExit) as ended:
        legend.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"legend: {path}: key 'schema' stands twice in $; keep the one that is meant\n"
    )
