"""Parts of the Flower engine that need no Flower: what travels, settings, shares, processes."""

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import torch
from click.testing import CliRunner

from finetune.child import environment
from finetune.cli.run import run as run_command
from finetune.data.dataset import load_dataset
from finetune.data.partition import shares
from finetune.exchange.codec import download, encode_state
from finetune.export.files import write_export
from finetune.export.flower import render
from finetune.flower.app import app_files
from finetune.flower.node import Node
from finetune.flower.orders import Order, Report, decode, encode, plan_of_one
from finetune.flower.processes import MARK, Processes
from finetune.flower.resident import Device, private_folder, warm_up
from finetune.flower.settings import Settings, from_config, to_config, toml
from finetune.flower.shares import write_shares
from finetune.options import RunOptions
from solver.plan import Codec, InputError, Plan
from tests.finetune.conftest import MakeInputs
from tests.finetune.runs import make_plan

CONFIG = {"model": "m", "data": "d", "out": "o"}


def test_a_plan_of_one_is_a_plan_and_names_nobody_else() -> None:
    plan = make_plan()
    one = plan_of_one(plan, 4)
    again = msgspec.json.decode(msgspec.json.encode(one), type=Plan)
    assert again == one
    assert [device.name for device in one.devices] == ["device-4"]
    assert one.ranks == one.configurations[0].ranks == [0, 3, 4]
    with pytest.raises(InputError, match="'device-5' takes no part"):
        plan_of_one(plan, 5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"round_index": -1}, "round_index"),
        ({"examples": 0}, "examples"),
        ({"device": "x" * 2000}, "device"),
        ({"surprise": 1}, "surprise"),
        ({"train_loss": "low"}, "train_loss"),
    ],
)
def test_a_report_that_is_none_is_refused_in_one_line(
    change: dict[str, object], reason: str
) -> None:
    report = Report(
        device="a",
        round_index=0,
        task="0/0/1",
        examples=5,
        train_loss=0.5,
        train_s=1.0,
        load_s=0.0,
    )
    assert decode(encode(report), Report) == report
    fields = msgspec.to_builtins(report) | change
    with pytest.raises(InputError, match=reason) as caught:
        decode(msgspec.json.encode(fields).decode(), Report)
    assert "\n" not in str(caught.value)


def order_for(plan: Plan, position: int) -> Order:
    """What a server asks of one device in the first round: two steps."""
    return Order(
        device=f"device-{position}",
        position=position,
        round_index=0,
        task=f"0/0/{position}",
        learning_rate=1e-2,
        local_steps=2,
        labels=["0", "1"],
        options=RunOptions(),
        plan=plan_of_one(plan, position),
    )


def test_an_order_whose_plan_is_damaged_is_refused() -> None:
    order = order_for(make_plan(), 0)
    assert decode(encode(order), Order) == order
    with pytest.raises(InputError, match="expected 0 below the depth"):
        decode(encode(order).replace('"depth":1', '"depth":2'), Order)
    with pytest.raises(InputError, match="--rounds is 0"):
        decode(encode(order).replace('"rounds":20', '"rounds":0'), Order)
    with pytest.raises(InputError, match="no text"):
        decode(b"{}", Order)


def test_a_node_trains_from_what_the_servers_codec_leaves(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    def ordered(codec: Codec) -> tuple[Node, Order]:
        order = order_for(make_plan(download_codec=codec), 1)
        return Node("device-1", given.model, files["device-1"]), order

    given = inputs()
    files = write_shares(make_plan(), given.data, None, RunOptions(), tmp_path / "shares")
    (node, order), (plain, same) = ordered("int8"), ordered("none")
    noise = torch.Generator().manual_seed(0)
    state = {n: torch.randn(s, generator=noise) for n, s in node.load(order).items()}
    sent = download(state, "int8", torch.float32)
    _, trained = node.train(order, sent.data)
    _, expected = plain.train(same, encode_state(sent.state, "none"))
    assert trained == expected
    assert len(sent.data) < len(expected)
    with pytest.raises(InputError, match="the adapters that the server sent"):
        node.train(order, encode_state(state, "none"))


def test_settings_survive_flowers_flat_configuration(tmp_path: Path) -> None:
    options = RunOptions(rounds=3, aggregation="hetlora", max_test=7)
    settings = Settings(model="m", data="d", out="o", deadline_slack=2.5)
    config = to_config(settings, options)
    assert all(isinstance(value, str | int | float | bool) for value in config.values())
    read, read_options = from_config(config, tmp_path)
    assert read_options == options
    assert read == msgspec.structs.replace(settings, plan=str(tmp_path / "plan.json"))


@pytest.mark.parametrize("text", ["a b", 'the "big" one', "back\\", "\n\t\x7f", "ü 測試 😀"])
def test_names_of_any_characters_reach_flower(text: str) -> None:
    """In a pyproject.toml, and on a command line as `parse_config_args` of Flower reads it."""
    files = app_files(Settings(model=text, data="d", out="o"), RunOptions())
    read = tomllib.loads(files["pyproject.toml"].decode())
    assert read["tool"]["flwr"]["app"]["config"]["model"] == text
    pairs = re.findall(
        r"(\S+?)=('[^']*'|\"[^\"]*\"|\S+)", f"device={toml(text)} data={toml('d')}"
    )
    given = tomllib.loads("\n".join(f"{name} = {value}" for name, value in pairs))
    assert given == {"device": text, "data": "d"}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model": "m", "data": "d"}, "lacks 'out'"),
        (CONFIG | {"rounds": "many"}, "rounds"),
        (CONFIG | {"wait-s": -1.0}, "--wait-s is -1.0"),
        (CONFIG | {"data-is": "mine"}, "data"),
    ],
)
def test_a_wrong_configuration_is_one_line(
    tmp_path: Path, config: dict[str, object], reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as raised:
        from_config(config, tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("partition", ["dirichlet", "natural:critic"])
def test_shares_are_what_simulated_devices_hold(
    inputs: MakeInputs, tmp_path: Path, partition: str
) -> None:
    given, plan = inputs(), make_plan()
    options = RunOptions(partition=partition)
    dataset = load_dataset(given.data, None, plan.training, options)
    files = write_shares(plan, given.data, None, options, tmp_path / "shares")
    assert list(files) == [f"device-{i}" for i in range(5)]
    held = shares(plan, dataset, options)
    for position, path in enumerate(files.values()):
        own = dataset.train.take(held[position])
        lines = path.read_text().splitlines()[1:]
        assert lines == [f"{t},{c}" for t, c in zip(own.texts, own.labels, strict=True)]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--superlink", "0.0.0.0:9092"], "needs TLS and the devices' keys"),
        (["--superlink", "example.org:9092", "--tls", "x"], "needs TLS and the devices' keys"),
        (["--superlink", "9092"], "expected HOST:PORT"),
        (["--superlink", "127.0.0.1:²"], "expected HOST:PORT"),
        (["--superlink", "127.0.0.1:65536"], "expected HOST:PORT"),
        (["--node-keys", "x"], "--node-keys needs --tls"),
        (["--wait-s", "-3"], "--wait-s is -3"),
    ],
)
def test_an_open_superlink_or_one_without_an_address_is_refused(
    inputs: MakeInputs, tmp_path: Path, more: list[str], reason: str
) -> None:
    model, data, plan = map(str, inputs())
    out = tmp_path / "run"
    command = [plan, "--model", model, "--data", data, "-o", str(out), "--engine", "flower"]
    with pytest.raises(InputError, match=reason):
        CliRunner().invoke(run_command, [*command, *more], catch_exceptions=False)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--aggregation", "fedex"], "'fedex' changes the base's weights"),
        (["--fleet", "x", "--replan-every", "2"], "plan for simulated devices only"),
    ],
)
def test_what_flower_cannot_do_is_refused_before_anything_starts(
    inputs: MakeInputs, tmp_path: Path, more: list[str], reason: str
) -> None:
    model, data, plan = map(str, inputs())
    out = tmp_path / "run"
    command = [plan, "--model", model, "--data", data, "-o", str(out), "--engine", "flower"]
    with pytest.raises(InputError, match=reason):
        CliRunner().invoke(run_command, [*command, *more], catch_exceptions=False)
    assert not out.exists()


def test_a_folder_that_cannot_be_made_is_refused_before_anything_starts(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    model, data, plan = map(str, inputs())
    (tmp_path / "file").touch()
    command = [plan, "--model", model, "--data", data, "--engine", "flower"]
    with pytest.raises(InputError, match="cannot be made a folder") as raised:
        CliRunner().invoke(
            run_command, [*command, "-o", str(tmp_path / "file/run")], catch_exceptions=False
        )
    assert "\n" not in str(raised.value)


def test_too_many_local_supernodes_are_refused_before_any_is_started(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs(make_plan(devices=40))
    command = [str(given.plan), "--model", str(given.model), "--data", str(given.data)]
    command += ["-o", str(tmp_path / "run"), "--engine", "flower"]
    with pytest.raises(InputError, match=r"39 devices take part; .* at most 16 SuperNodes"):
        CliRunner().invoke(run_command, command, catch_exceptions=False)


CHILDREN = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("up", flush=True)
time.sleep({seconds})
"""


def alive(mark: str) -> int:
    count = 0
    for process in psutil.process_iter():
        try:
            marked = process.environ().get(MARK, "").startswith(mark)
            count += marked and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
    return count


def wait_until(condition: object) -> None:
    for _ in range(600):
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.05)
    pytest.fail("waited in vain")


def test_closing_ends_programs_and_what_they_started(tmp_path: Path) -> None:
    with Processes(tmp_path / "logs", {}) as processes:
        mark = processes.mark
        processes.start("parent", [sys.executable, "-c", CHILDREN.format(seconds=600)])
        processes.start("gone", [sys.executable, "-c", CHILDREN.format(seconds=0)])
        wait_until(lambda: processes.ended() == ["gone"])
        wait_until(lambda: alive(mark) == 3)
        with pytest.raises(InputError, match="gone ended with code 0: up; see"):
            processes.require("gone")
    assert alive(mark) == 0


@pytest.fixture
def person(tmp_path: Path) -> Path:
    """A folder with files that are called as our packages, and the libraries they load."""
    folder = tmp_path / "person"
    folder.mkdir()
    for name in ("finetune", "solver", "profiler", "msgspec"):
        (folder / f"{name}.py").write_text("raise SystemExit('not ours')")
    return folder


def test_killing_the_starter_ends_all_that_it_started(tmp_path: Path, person: Path) -> None:
    script = f"""
import sys, time
from pathlib import Path
from finetune.flower.processes import Processes
with Processes(Path({str(tmp_path)!r}), {{}}) as processes:
    processes.start("parent", [sys.executable, "-c", {CHILDREN.format(seconds=600)!r}])
    print(processes.mark, flush=True)
    time.sleep(600)
"""
    starter = subprocess.Popen(
        [sys.executable, "-P", "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        cwd=person,
        env=environment(),
    )
    assert starter.stdout is not None
    with starter.stdout:
        mark = starter.stdout.readline().strip()
    wait_until(lambda: alive(mark) == 2)
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    wait_until(lambda: alive(mark) == 0)


def test_a_worker_is_ours_wherever_its_supernode_was_started(
    tmp_path: Path, person: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(person)
    monkeypatch.setattr("finetune.flower.resident.START_S", 20.0)
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def note(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*args, **kwargs))
        return started[-1]

    with popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner:
        monkeypatch.setattr("subprocess.Popen", note)
        warm_up(Device("device-0", str(tmp_path), str(tmp_path)), owner.pid)
        owner.kill()
    assert [worker.wait(60) for worker in started] == [0]


def test_the_folder_of_sockets_is_its_users_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = private_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(InputError, match="is not this user's alone"):
        private_folder()


def test_an_exported_app_is_complete_and_its_plan_whole(tmp_path: Path) -> None:
    plan = make_plan()
    write_export(render(plan), tmp_path)
    names = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    package = {f"legend_app/{name}.py" for name in ("__init__", "server", "client")}
    assert names == {"pyproject.toml", "plan.json", "README.md", *package}
    assert msgspec.json.decode((tmp_path / "plan.json").read_bytes(), type=Plan) == plan
    config = tomllib.loads((tmp_path / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    assert config["config"] == to_config(Settings(), RunOptions())
