"""Tables, output folders and the command line of ``legend export``."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from finetune.cli.export import export
from finetune.export.files import Export, write_export
from finetune.export.registry import TARGETS
from solver.plan import InputError, write
from tests.finetune.export.peft_models import causal_plan
from tests.finetune.plans import plan_to_show


def read_back(target: str) -> pd.DataFrame:
    (data,) = TARGETS[target](plan_to_show()).files.values()
    source = io.BytesIO(data)
    return pd.read_csv(source) if target == "csv" else pd.read_parquet(source)


@pytest.mark.parametrize("target", ["csv", "parquet"])
def test_a_table_says_what_the_plan_says(target: str) -> None:
    plan, table = plan_to_show(), read_back(target)
    assert table["device"].tolist() == [d.name for d in plan.devices]
    for device, (_, row) in zip(plan.devices, table.iterrows(), strict=True):
        shape, cost = plan.configuration_of(device), device.predicted
        ranks = [row[f"rank_layer_{i:02}"] for i in range(1, 13)]
        if shape is None or cost is None:
            assert pd.isna(row["depth"])
            assert pd.isna(row["time_s"])
            assert ranks == [0] * 12
        else:
            assert ranks == shape.ranks
            assert row["depth"] == shape.depth
            assert row["time_s"] == cost.time_s
            assert row["memory_bytes"] == cost.memory_bytes


@pytest.mark.parametrize("target", list(TARGETS))
def test_the_same_plan_gives_the_same_bytes(target: str) -> None:
    assert TARGETS[target](causal_plan()).files == TARGETS[target](causal_plan()).files


def test_parquet_keeps_types_where_nobody_takes_part() -> None:
    plan = plan_to_show()
    idle = [replace(d, configuration=None, predicted=None) for d in plan.devices]
    (data,) = TARGETS["parquet"](replace(plan, devices=idle)).files.values()
    table = pd.read_parquet(io.BytesIO(data))
    assert table["time_s"].dtype == float
    assert table["depth"].isna().all()


def test_an_export_may_be_repeated_and_stand_beside_others(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for _ in range(2):
        for render in TARGETS.values():
            write_export(render(causal_plan()), tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_file_of_other_content_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("mine")
    with pytest.raises(InputError, match="b: is there already with other content"):
        write_export(Export(files={"a": b"1", "b": b"2"}), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b").read_text() == "mine"


def test_a_folder_or_link_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "elsewhere")
    for name in ("a", "b/c", "b"):
        with pytest.raises(InputError, match=r"(C|c)hoose another"):
            write_export(Export(files={name: b"1"}), tmp_path)
    with pytest.raises(InputError):
        write_export(Export(files={"f": b"1"}), Path("/proc/none"))


def test_the_command_writes_and_answers_in_json(tmp_path: Path) -> None:
    write(tmp_path / "plan.json", plan_to_show())
    arguments = [str(tmp_path / "plan.json"), "--to", "peft", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(export, [*arguments, "--json"])
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["target"] == "peft"
    assert all((tmp_path / "out" / name).is_file() for name in answer["files"])
    spoken = CliRunner().invoke(export, arguments)
    assert spoken.stdout == ""
    assert "note: 1 devices do not take part" in spoken.stderr


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    runner = CliRunner()
    missing = runner.invoke(export, ["none.json", "--to", "csv", "-o", str(tmp_path / "out")])
    assert isinstance(missing.exception, InputError)
    assert "\n" not in str(missing.exception)
    unknown = runner.invoke(export, ["none.json", "--to", "xml", "-o", "out"])
    assert unknown.exit_code == 2
