"""A Grid in this process: real messages, real nodes, and faults on demand."""

from collections.abc import Callable, Iterable
from pathlib import Path

from flwr.app import Error, Message, MessageType
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from finetune.devices import devices_of, participants
from finetune.exchange.messages import Engine
from finetune.flower.engine import Deadline, FlowerEngine
from finetune.flower.envelope import pack, unpack
from finetune.flower.node import Node
from finetune.flower.orders import Card, Order, decode, encode
from finetune.flower.roster import Roster
from finetune.flower.shares import write_shares
from finetune.options import RunOptions
from finetune.session.setup import Remote
from solver.plan import read_plan
from tests.finetune.runs import Inputs

# Flower sets these in the process of an app; messages bear them.
TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1

Answering = Callable[[Message, str], Message | None]


class LocalGrid(Grid):  # type: ignore[misc]
    """Nodes that answer when they are asked for; each is a device with its own files.

    Parameters
    ----------
    nodes : dict of int to Node
        By node id.
    names : dict of int to str
        What each says that it is.
    faults : dict of str to callable
        Instead of training; takes the message and the device, None never answers.
    """

    def __init__(
        self, nodes: dict[int, Node], names: dict[int, str], faults: dict[str, Answering]
    ) -> None:
        self.nodes = nodes
        self.names = names
        self.faults = faults
        self.online = set(names)
        self.sent: list[Message] = []
        self._replies: dict[str, Message] = {}

    def set_run(self, run: object) -> None:
        raise NotImplementedError

    @property
    def run(self) -> object:
        raise NotImplementedError

    def create_message(self, *arguments: object, **more: object) -> Message:
        raise NotImplementedError

    def send_and_receive(self, *arguments: object, **more: object) -> Iterable[Message]:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return sorted(self.online)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        keys = []
        for message in messages:
            # As Flower's own grid does.
            message.metadata.__dict__["_message_id"] = message.object_id
            keys.append(message.metadata.message_id)
            self.sent.append(message)
            reply = self._answer(message)
            if reply is not None:
                self._replies[keys[-1]] = reply
        return keys

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(key) for key in message_ids if key in self._replies]

    def _answer(self, message: Message) -> Message | None:
        node = message.metadata.dst_node_id
        name = self.names[node]
        if message.metadata.message_type == MessageType.QUERY:
            card = Card(device=name, version="test")
            return Message(pack(encode(card)), reply_to=message)
        if name in self.faults:
            return self.faults[name](message, name)
        return self.honest(message, name)

    def honest(self, message: Message, name: str) -> Message:
        """Train as ordered."""
        text, adapters = unpack(message)
        node = self.nodes[message.metadata.dst_node_id]
        report, trained = node.train(decode(text, Order), adapters)
        return Message(pack(encode(report), trained), reply_to=message)


def error(text: str) -> Answering:
    """A node whose app raises, as Flower reports it."""
    reason = f"<class 'solver.plan.InputError'>:<'{text}'>"
    return lambda message, name: Message(Error(code=2, reason=reason), reply_to=message)


def make_grid(
    inputs: Inputs,
    options: RunOptions,
    folder: Path,
    faults: dict[str, Answering] | None = None,
) -> LocalGrid:
    """Grid of all devices of a plan that take part, with their shares of the data."""
    plan = read_plan(inputs.plan)
    files = write_shares(plan, inputs.data, None, options, folder)
    nodes = {i: Node(name, inputs.model, files[name]) for i, name in enumerate(files, start=7)}
    return LocalGrid(nodes, dict(enumerate(files, start=7)), faults or {})


def remote(
    inputs: Inputs, options: RunOptions, grid: LocalGrid, deadline: Deadline | None = None
) -> Remote:
    """What `finetune.run.run` needs to train on a grid."""
    plan = read_plan(inputs.plan)
    known = [name for name, _ in devices_of(plan)]
    roster = Roster(grid, known, [d.name for d in participants(plan)], lambda line: None)
    roster.gather(5.0, lambda seconds: None)

    def connect(labels: list[str]) -> Engine:
        return FlowerEngine(
            grid,
            roster,
            plan,
            options,
            labels,
            deadline=deadline or Deadline(0.0, None),
            pause=lambda seconds: None,
        )

    return Remote(connect, test_only=False)
