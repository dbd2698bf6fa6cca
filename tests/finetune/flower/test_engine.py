"""The Flower engine without its network: same adapter, faults named, one plan each."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load

pytest.importorskip("flwr", reason="Flower is not installed: pip install '.[flower]'")

import httpx
from flwr.app import Message, MessageType

from finetune.exchange.codec import encode_state
from finetune.flower import engine as flower_engine
from finetune.flower.engine import Deadline
from finetune.flower.envelope import pack, unpack
from finetune.flower.gate import MAX_BODY_BYTES, make_gate
from finetune.flower.orders import Order, Report, decode, encode
from finetune.flower.roster import Roster
from finetune.monitor.metrics import RoundMetrics
from finetune.options import RunOptions
from finetune.run import Sources, run
from solver.plan import InputError
from tests.finetune.conftest import MakeInputs
from tests.finetune.flower.grid import Answering, LocalGrid, error, make_grid, remote
from tests.finetune.runs import Inputs, make_plan

OPTIONS = RunOptions(rounds=2, sample=4, learning_rate=1e-2)
ADAPTER = "adapter/adapter_model.safetensors"


def execute(
    given: Inputs,
    out: Path,
    grid: LocalGrid | None,
    deadline: Deadline | None = None,
    options: RunOptions = OPTIONS,
) -> list[RoundMetrics]:
    elsewhere = remote(given, options, grid, deadline) if grid else None
    run(given.plan, Sources(given.model, given.data), out, options, remote=elsewhere)
    return msgspec.json.Decoder(RoundMetrics).decode_lines((out / "metrics.jsonl").read_bytes())


@pytest.mark.parametrize("structure", ["shared", "capped"])
def test_both_engines_give_the_same_adapter(
    inputs: MakeInputs, tmp_path: Path, structure: str
) -> None:
    shapes = (
        ((0, 0, 4), (0, 2, 2), (2, 3, 4)) if structure == "capped" else ((0, 0, 4), (2, 3, 4))
    )
    given = inputs(make_plan(shapes=shapes, structure=structure))  # type: ignore[arg-type]
    local = execute(given, tmp_path / "local", None)
    flower = execute(given, tmp_path / "flower", make_grid(given, OPTIONS, tmp_path / "data"))
    assert local == flower
    assert (tmp_path / "local" / ADAPTER).read_bytes() == (
        tmp_path / "flower" / ADAPTER
    ).read_bytes()


@pytest.mark.parametrize("aggregation", ["layerwise", "ffa"])
def test_codec_cache_and_what_is_frozen_are_the_same_on_devices(
    inputs: MakeInputs, tmp_path: Path, aggregation: str
) -> None:
    plan = make_plan(codec="int8", download_codec="int8", shapes=((0, 0, 4), (0, 3, 4)))
    kinds = itertools.cycle(("always", "round"))
    devices = [replace(device, cache=next(kinds)) for device in plan.devices]
    given = inputs(replace(plan, devices=devices))
    options = replace(OPTIONS, rounds=3, aggregation=aggregation)
    grid = make_grid(given, options, tmp_path / "data")
    local = execute(given, tmp_path / "local", None, options=options)
    flower = execute(given, tmp_path / "flower", grid, options=options)
    assert local == flower
    assert not any(row.refused for row in local)
    assert (tmp_path / "local" / ADAPTER).read_bytes() == (
        tmp_path / "flower" / ADAPTER
    ).read_bytes()


def test_a_node_is_sent_its_own_layers_and_ranks_and_nobody_elses_plan(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs()
    grid = make_grid(given, OPTIONS, tmp_path / "data")
    execute(given, tmp_path / "run", grid)
    trains = [m for m in grid.sent if m.metadata.message_type == MessageType.TRAIN]
    assert len(trains) == 8
    for message in trains:
        text, data = unpack(message)
        order = decode(text, Order)
        assert [d.name for d in order.plan.devices] == [order.device]
        index = int(order.device[-1]) % 3
        assert order.plan.configurations[0].ranks == [[0, 0, 4], [0, 3, 4], [2, 3, 4]][index]
        layers = {name.split("layer.")[1][0] for name in load(data) if "lora_A" in name}
        assert len(layers) == index + 1
        others = {f"device-{i}" for i in range(6)} - {order.device}
        assert not any(name in str(text) for name in others)


def stale(grid: LocalGrid) -> Answering:
    """Answers every round with what it trained first."""
    kept: list[tuple[object, bytes]] = []

    def answer(message: Message, name: str) -> Message:
        kept.append(unpack(grid.honest(message, name)))
        text, data = kept[0]
        return Message(pack(str(text), data), reply_to=message)

    return answer


def with_state(
    change: Callable[[dict[str, torch.Tensor]], bytes],
) -> Callable[[LocalGrid], Answering]:
    """Answers with other adapters than it trained."""

    def make(grid: LocalGrid) -> Answering:
        def answer(message: Message, name: str) -> Message:
            text, data = unpack(grid.honest(message, name))
            return Message(pack(str(text), change(load(data))), reply_to=message)

        return answer

    return make


def impostor(grid: LocalGrid) -> Answering:
    def answer(message: Message, name: str) -> Message:
        text, data = unpack(grid.honest(message, name))
        report = msgspec.structs.replace(decode(text, Report), device="device-0")
        return Message(pack(encode(report), data), reply_to=message)

    return answer


def dead(grid: LocalGrid) -> Answering:
    """Goes offline in the middle of a round."""

    def answer(message: Message, name: str) -> None:
        grid.online.discard(message.metadata.dst_node_id)

    return answer


FAULTS: dict[str, tuple[Callable[[LocalGrid], Answering], list[str]]] = {
    "late": (lambda grid: lambda message, name: None, ["late: no answer within"] * 2),
    "dead": (dead, ["went offline", "is not connected"]),
    "raises": (lambda grid: error("no such file"), ["failed: no such file"] * 2),
    "stale": (stale, ["", "answers task '0/0/1'; expected '0/1/1'"]),
    "impostor": (impostor, ["answered as 'device-0'"] * 2),
    "no json": (
        lambda grid: lambda message, name: Message(pack("{}"), reply_to=message),
        ["the report cannot be read"] * 2,
    ),
    "no safetensors": (
        with_state(lambda state: b"\x80\x04pickle"),
        ["no safetensors file"] * 2,
    ),
    "too large": (
        with_state(lambda s: encode_state(s | {"x": torch.zeros(9999)}, "none")),
        ["bytes; expected at most"] * 2,
    ),
    "not finite": (
        with_state(lambda s: encode_state({n: t * torch.inf for n, t in s.items()}, "none")),
        ["NaN or infinity"] * 2,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_device_is_left_out_and_named_and_the_round_goes_on(
    inputs: MakeInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(flower_engine, "FLOWER_S", 0.0)
    given = inputs(make_plan(devices=4))
    make, expected = FAULTS[fault]
    grid = make_grid(given, OPTIONS, tmp_path / "data")
    grid.faults["device-1"] = make(grid)
    rows = execute(given, tmp_path / "run", grid, Deadline(0.02, None))
    for row, reason in zip(rows, expected, strict=True):
        assert row.train_loss is not None
        refused = {refusal.device: refusal.reason for refusal in row.refused}
        assert refused.keys() == ({"device-1"} if reason else set())
        assert reason in refused.get("device-1", "")


def test_a_node_that_comes_back_takes_part_again(inputs: MakeInputs, tmp_path: Path) -> None:
    given = inputs(make_plan(devices=4))
    grid = make_grid(given, OPTIONS, tmp_path / "data")
    elsewhere = Roster(grid, ["device-0", "device-1", "device-2"], ["device-0"], lambda _: None)
    elsewhere.gather(1.0, lambda _: None)
    grid.online = {8, 9}
    assert set(elsewhere.refresh()) == {"device-1", "device-2"}
    # A SuperNode that is started anew is another node.
    grid.names[70], grid.online = "device-0", {8, 9, 70}
    elsewhere.refresh()
    assert elsewhere.refresh() == {"device-0": 70, "device-1": 8, "device-2": 9}


def test_a_node_that_comes_back_before_it_was_missed_takes_part_once_it_is() -> None:
    grid, said = LocalGrid({}, {7: "device-0", 8: "device-1"}, {}), list[str]()
    roster = Roster(grid, ["device-0", "device-1"], ["device-0", "device-1"], said.append)
    roster.gather(1.0, lambda _: None)
    grid.names[70], grid.online = "device-0", {7, 8, 70}
    for _ in range(3):
        assert roster.refresh() == {"device-0": 7, "device-1": 8}
    assert len(said) == 1
    grid.online = {8, 70}
    roster.refresh()
    assert roster.refresh() == {"device-0": 70, "device-1": 8}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({1: "device-0", 2: "router"}, "says it is device 'router', which is not in the plan"),
        ({1: "device-0", 2: "device-0"}, "'device-0', as another does already"),
        ({1: "device-0"}, "no SuperNode has come for 'device-1', 'device-2' within 0 s"),
    ],
)
def test_unknown_double_and_missing_devices_are_one_line(
    names: dict[int, str], expected: str
) -> None:
    grid = LocalGrid({}, names, {})
    known = ["device-0", "device-1", "device-2"]
    with pytest.raises(InputError, match=expected) as caught:
        Roster(grid, known, known, lambda _: None).gather(0.01, lambda _: None)
    assert "\n" not in str(caught.value)


def test_the_deadline_is_the_plans() -> None:
    assert Deadline(0.0, 30.0).seconds([]) is None
    assert Deadline(2.0, 30.0).seconds([]) == 60.0 + flower_engine.FLOWER_S


def test_the_gate_passes_on_what_supernodes_ask_and_nothing_else() -> None:
    seen: list[tuple[str, bytes, str]] = []

    def superlink(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.path, request.content, request.headers.get("x-key", "")))
        return httpx.Response(200, content=yes(), headers={"x-link": "1"})

    async def yes() -> AsyncIterator[bytes]:
        yield b"yes"

    async def ask() -> list[httpx.Response]:
        link = httpx.AsyncClient(
            base_url="https://link", transport=httpx.MockTransport(superlink)
        )
        door = httpx.ASGITransport(make_gate(link))
        async with httpx.AsyncClient(base_url="https://gate", transport=door) as node:
            good = await node.post(
                "/v1/fleet/push-messages", content=b"x", headers={"x-key": "k"}
            )
            bad = [
                await node.post(path)
                for path in (
                    "/v1/control/start-run",
                    "/v1/runtime/push-messages",
                    "/v1/fleet/%2e%2e/control/start-run",
                    "/v1/fleet/pull?x=1",
                    "/",
                )
            ]
            large = await node.post("/v1/fleet/push-object", content=bytes(MAX_BODY_BYTES + 1))
            return [good, large, await node.get("/v1/fleet/push-messages"), *bad]

    good, large, read, *bad = asyncio.run(ask())
    assert (good.status_code, good.content, good.headers["x-link"]) == (200, b"yes", "1")
    assert (large.status_code, read.status_code) == (413, 405)
    assert {answer.status_code for answer in bad} == {404}
    assert seen == [("/v1/fleet/push-messages", b"x", "k")]
