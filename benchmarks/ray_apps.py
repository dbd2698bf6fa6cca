"""ServerApp and ClientApp of the Flower engine for Flower's simulation on Ray."""

from collections.abc import Mapping
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from finetune.devices import devices_of
from finetune.exchange.messages import Engine
from finetune.flower.engine import Deadline, FlowerEngine
from finetune.flower.envelope import pack, unpack
from finetune.flower.node import Node
from finetune.flower.orders import Card, Order, decode, encode
from finetune.flower.roster import Roster
from finetune.monitor.progress import Progress
from finetune.options import RunOptions
from finetune.run import run
from finetune.session.setup import Remote, Sources
from solver.plan import read_plan

__all__ = ["client_app", "play"]


def client_app(model: Path, files: Mapping[str, Path]) -> ClientApp:
    """App whose node is the device at its partition's place; it loads all for every message."""
    names = list(files)
    app = ClientApp()

    def device(context: Context) -> str:
        return names[int(context.node_config["partition-id"])]

    def query(message: Message, context: Context) -> Message:
        card = Card(device=device(context), version="benchmark")
        return Message(pack(encode(card)), reply_to=message)

    def train(message: Message, context: Context) -> Message:
        name = device(context)
        text, adapters = unpack(message)
        report, trained = Node(name, model, files[name]).train(decode(text, Order), adapters)
        return Message(pack(encode(report), trained), reply_to=message)

    app.query()(query)
    app.train()(train)
    return app


def play(
    grid: Grid,
    plan_path: Path,
    sources: Sources,
    out: Path,
    options: RunOptions,
    *,
    needed: list[str],
    progress: Progress,
) -> None:
    """Play a run on a grid."""
    plan = read_plan(plan_path)
    roster = Roster(grid, [name for name, _ in devices_of(plan)], needed, print)
    roster.gather(600.0)

    def connect(labels: list[str]) -> Engine:
        deadline = Deadline(0.0, None)
        return FlowerEngine(grid, roster, plan, options, labels, deadline=deadline)

    remote = Remote(connect, test_only=False)
    run(plan_path, sources, out, options, progress=progress, remote=remote)
