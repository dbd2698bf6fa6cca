"""The engine that sends tasks to SuperNodes and takes their answers as they come."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from flwr.app import Message, MessageType
from flwr.serverapp import Grid

from finetune.exchange.codec import encode_state
from finetune.exchange.messages import Answer, Failure, Task
from finetune.flower.envelope import pack, unpack
from finetune.flower.faults import reason_of
from finetune.flower.orders import Order, Report, decode, encode, plan_of_one
from finetune.flower.roster import Roster
from finetune.options import RunOptions
from solver.plan import InputError, Plan

__all__ = ["FLOWER_S", "Deadline", "FlowerEngine"]

POLL_S = 0.2
FLOWER_S = 15.0
"""Allowed beside the plan's seconds: Flower polls, and starts a process for each message."""
TTL_MARGIN_S = 60.0


class Deadline(NamedTuple):
    """How long a round waits for its devices.

    Parameters
    ----------
    slack : float
        Factor on the plan's round time: its budget, or without one the slowest prediction of
        the devices asked. 0 waits for as long as they are connected.
    """

    slack: float
    budget_s: float | None

    def seconds(self, tasks: Sequence[Task]) -> float | None:
        """Seconds from sending to the last answer taken; None waits."""
        if not self.slack:
            return None
        planned = self.budget_s or max(task.device.predicted.time_s for task in tasks)
        return self.slack * planned + FLOWER_S


class FlowerEngine:
    """Trains devices that are SuperNodes.

    Parameters
    ----------
    grid : Grid
        Flower's way to the nodes.
    roster : Roster
        Which node is which device.
    plan : Plan
        Each device is sent its part of it.
    options : RunOptions
        Of the run.
    labels : list of str
        Names of the classes.
    deadline : Deadline
        When a device is left out.
    pause : callable
        Waits so many seconds; may raise to stop the run.
    on_report : callable
        Takes every report that is used, and the seconds from sending to taking it.
    """

    def __init__(
        self,
        grid: Grid,
        roster: Roster,
        plan: Plan,
        options: RunOptions,
        labels: list[str],
        *,
        deadline: Deadline,
        pause: Callable[[float], None] = time.sleep,
        on_report: Callable[[Report, float], None] = lambda report, seconds: None,
    ) -> None:
        self._grid = grid
        self._roster = roster
        self._plan = plan
        self._options = options
        self._labels = labels
        self._deadline = deadline
        self._pause = pause
        self._on_report = on_report

    def train(self, tasks: Sequence[Task]) -> Iterator[Answer | Failure]:
        """Send every device its task; yield what comes back before the deadline."""
        if not tasks:
            return
        nodes = self._roster.refresh()
        began, limit_s = time.monotonic(), self._deadline.seconds(tasks)
        for task in tasks:
            if task.device.name not in nodes:
                yield Failure(task.device.name, "is not connected", "offline")
        here = [task for task in tasks if task.device.name in nodes]
        ttl = None if limit_s is None else limit_s + TTL_MARGIN_S
        messages = [self._message(task, nodes[task.device.name], ttl) for task in here]
        keys = self._grid.push_messages(messages) if messages else []
        # Answers to another round's messages are never asked for, so none can slip in.
        open_tasks = dict(zip(keys, here, strict=True))
        while open_tasks:
            for reply in self._grid.pull_messages(list(open_tasks)):
                task = open_tasks.pop(reply.metadata.reply_to_message_id)
                yield self._read(task, reply, time.monotonic() - began)
            yield from self._lost(open_tasks, nodes)
            if limit_s is not None and time.monotonic() - began > limit_s:
                for task in open_tasks.values():
                    reason = f"late: no answer within {limit_s:.0f} s"
                    yield Failure(task.device.name, reason, "late")
                return
            if open_tasks:
                self._pause(POLL_S)

    def _message(self, task: Task, node: int, ttl: float | None) -> Message:
        order = Order(
            device=task.device.name,
            position=task.device.position,
            round_index=task.round_index,
            task=task.name,
            learning_rate=task.learning_rate,
            local_steps=task.device.local_steps,
            labels=self._labels,
            options=self._options,
            plan=plan_of_one(self._plan, task.device.position),
        )
        content = pack(encode(order), task.data or encode_state(task.state, "none"))
        return Message(
            content, node, MessageType.TRAIN, ttl=ttl, group_id=str(task.round_index + 1)
        )

    def _read(self, task: Task, reply: Message, seconds: float) -> Answer | Failure:
        """Answer in a reply, or why there is none; the server checks what is in it."""
        name = task.device.name
        if reply.has_error():
            return Failure(name, f"failed: {reason_of(reply)}")
        try:
            text, data = unpack(reply)
            report = decode(text, Report)
            if report.device != name:
                return Failure(name, f"answered as '{report.device}'", "stranger")
        except InputError as error:
            return Failure(name, str(error), "unreadable")
        self._on_report(report, seconds)
        loss = report.train_loss
        return Answer(name, report.task, report.examples, data, loss, turn_s=seconds)

    def _lost(self, open_tasks: dict[str, Task], nodes: Mapping[str, int]) -> Iterator[Failure]:
        """Give up devices whose node has gone offline."""
        online = set(self._grid.get_node_ids())
        for key, task in list(open_tasks.items()):
            if nodes[task.device.name] not in online:
                del open_tasks[key]
                reason = "went offline in the middle of the round"
                yield Failure(task.device.name, reason, "offline")
