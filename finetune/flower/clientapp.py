"""The ClientApp: answers who this device is, and hands orders to its worker. Knows no torch."""

import os
from importlib.metadata import version

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from finetune.flower.envelope import pack, unpack
from finetune.flower.orders import Card, encode, node_setting
from finetune.flower.resident import Call, ask
from solver.plan import InputError

__all__ = ["app"]

app = ClientApp()


@app.query()
def query(message: Message, context: Context) -> Message:
    """Say which device of the plan this is."""
    device = node_setting(context.node_config, "device")
    card = Card(device=device, version=version("legend-planner"))
    return Message(pack(encode(card)), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train as ordered, on this device's own data."""
    order, adapters = unpack(message)
    if not isinstance(order, str):
        raise InputError("the order is no text")
    config = context.node_config
    device, model, data = (node_setting(config, name) for name in ("device", "model", "data"))
    call = Call(device=device, model=model, data=data, order=order)
    # This process ends with its message; the one that started it lives as long as the node.
    report, trained = ask(call, adapters, owner=os.getppid())
    return Message(pack(report, trained), reply_to=message)
