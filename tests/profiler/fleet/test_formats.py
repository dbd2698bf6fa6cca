"""Parquet and Flower node configurations say the same as the CSV they stand for."""

import json
from pathlib import Path

import pandas as pd
import pytest

from profiler.fleet.files import TableRequest, table_fleet
from profiler.fleet.table import read_rows
from profiler.schema import Fleet, InputError, Training

CSV = """\
name,class,uplink_mbit_per_s,downlink_mbit_per_s,latency_s,examples,local_steps
tx2-01,jetson-tx2,1.5,2,0.05,400,
agx 01,jetson-agx-xavier,20,40,,1200,7
"""
NODES = [
    "name='tx2-01' class=\"jetson-tx2\" uplink-mbit-per-s=1.5 downlink-mbit-per-s=2 "
    "latency-s=0.05, examples=400 partition-id=0 num-partitions=2",
    {
        "node-id": "agx 01",
        "device": "jetson-agx-xavier",
        "uplink_mbit_per_s": 20,
        "downlink-mbit-per-s": 40.0,
        "examples": 1200,
        "local-steps": 7,
    },
]


def fleet(path: Path) -> Fleet:
    return table_fleet(
        TableRequest(
            path=path,
            profiles=[],
            profile_paths=[],
            model="bert-base-uncased",
            training=Training(batch_size=4, sequence_length=32),
            local_steps=10,
            options={},
        )
    )


def written(folder: Path, suffix: str) -> Path:
    path = folder / f"devices{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(NODES))
    else:
        path.write_text(CSV)
    if suffix == ".parquet":
        pd.read_csv(path).to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_every_format_gives_the_same_devices(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    seen = fleet(written(tmp_path, suffix))
    assert seen.devices == fleet(written(tmp_path, ".csv")).devices
    assert [d.local_steps for d in seen.devices] == [10, 7]
    assert seen.provenance.inputs[0].name == f"devices{suffix}"


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ("{", "expected a JSON list of node configurations"),
        ('{"name": "a"}', "expected a JSON list"),
        ("[1]", r"`\$\[0\]`; expected a JSON list"),
        ('["name=tx2"]', "row 2: Invalid value.*text in quotes"),
        ("[\"name='a' oops\"]", "row 2: cannot be read from 'oops' on"),
        ('[{"name": "a", "node-id": "b"}]', "row 2: 'name' is said twice, again as 'node-id'"),
        ('[{"name": "a", "uplink-mbps": 3}]', "row 1: columns are name, uplink_mbps; expected"),
        ("[]", "columns are nothing"),
    ],
)
def test_a_bad_list_of_nodes_is_one_line(tmp_path: Path, nodes: str, said: str) -> None:
    path = tmp_path / "nodes.json"
    path.write_text(nodes)
    with pytest.raises(InputError, match=said) as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)


def test_a_number_that_is_none_is_named_by_its_row(tmp_path: Path) -> None:
    path = tmp_path / "nodes.json"
    path.write_text(json.dumps(NODES).replace("1200", '"many"'))
    with pytest.raises(InputError, match="row 3, column 'examples': 'many'"):
        fleet(path)


def test_a_file_that_is_not_parquet_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "devices.parquet"
    path.write_text(CSV)
    with pytest.raises(InputError, match="is not a Parquet file") as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)
