"""The ClientApp: answers who this device is, and hands orders to its worker. Knows no torch."""

import os
from importlib.metadata import version
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from finetune.flower.envelope import pack, unpack
from finetune.flower.orders import Card, encode, node_setting
from finetune.flower.resident import Device, ask, warm_up
from solver.plan import InputError

__all__ = ["app"]

app = ClientApp()


@app.query()
def query(message: Message, context: Context) -> Message:
    """Say which device of the plan this is, and let its worker get ready."""
    device = _device(context)
    for path in (device.model, device.data):
        if not Path(path).exists():
            raise InputError(f"{path}, of this SuperNode's --node-config, does not exist there")
    warm_up(device, owner=os.getppid())
    card = Card(device=device.name, version=version("legend-planner"))
    return Message(pack(encode(card)), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train as ordered, on this device's own data."""
    order, adapters = unpack(message)
    if not isinstance(order, str):
        raise InputError("the order is no text")
    # This process ends with its message; the one that started it lives as long as the node.
    report, trained = ask(_device(context), order, adapters, owner=os.getppid())
    return Message(pack(report, trained), reply_to=message)


def _device(context: Context) -> Device:
    """Device that this SuperNode's --node-config says it is."""
    return Device(*(node_setting(context.node_config, k) for k in ("device", "model", "data")))
