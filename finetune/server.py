"""The federated round, whichever engine trains the devices.

An engine is asked to train tasks and answers with updates; the server samples devices, hands
each the adapters of its shape, checks what comes back and joins it. The in-process engine is
`finetune.in_process`; one that sends tasks over a network fits in the same place.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch

from finetune.aggregate import Aggregation
from finetune.charge import Charge
from finetune.clock import Clock, RoundCost, ask
from finetune.conditions import Moment
from finetune.devices import Participant
from finetune.metrics import Refusal
from finetune.options import RunOptions
from finetune.schedule import learning_rate
from finetune.state import Shapes, State, cast
from finetune.updates import Update, problem

__all__ = ["Answer", "Engine", "RoundResult", "Server", "Task"]


class Task(NamedTuple):
    """What a device is asked to do in a round; `state` is in the wire's type."""

    device: Participant
    round_index: int
    learning_rate: float
    state: State


class Answer(NamedTuple):
    """What a device sends back; `state` is in the wire's type, `turn_s` its wall seconds."""

    device: str
    examples: int
    state: State
    train_loss: float
    turn_s: float = 0.0


class Engine(Protocol):
    """Trains devices."""

    def train(self, tasks: Sequence[Task]) -> Iterator[Answer]:
        """Answers of the tasks, in any order; a device that fails gives none."""


class RoundResult(NamedTuple):
    """A round played; `charges` are by the names of the devices asked."""

    state: State
    cost: RoundCost
    charges: Mapping[str, Charge]
    train_loss: float | None
    devices: list[str]
    refused: list[Refusal]


class Server:
    """Plays rounds on an engine.

    Parameters
    ----------
    engine : Engine
        Trains the devices.
    aggregation : Aggregation
        Joins their updates.
    candidates : sequence of Participant
        Devices that take part.
    shapes : mapping of int to Shapes
        Adapter shape of each configuration of the plan.
    dtype : torch.dtype
        Type on the wire.
    options : RunOptions
        Sampling and learning rate.
    clock : Clock
        Says who is there, what a round takes and who is late.
    on_answer : callable, optional
        Called after every answer, to show progress.
    """

    def __init__(
        self,
        engine: Engine,
        aggregation: Aggregation,
        candidates: Sequence[Participant],
        shapes: Mapping[int, Shapes],
        dtype: torch.dtype,
        options: RunOptions,
        clock: Clock,
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._aggregation = aggregation
        self._candidates = candidates
        self._shapes = shapes
        self._dtype = dtype
        self._options = options
        self.clock = clock
        self._on_answer = on_answer

    def play(self, state: State, round_index: int, now_s: float = 0.0) -> RoundResult:
        """Play a round from the server's adapter `state`; rounds count from 0."""
        when = Moment(round_index, now_s)
        asked = ask(self._candidates, self.clock, when, self._options)
        bill = self.clock.bill(asked, when)
        tasks = {d.name: self._task(state, d, round_index) for d in asked}
        updates: dict[str, Update] = {}
        reasons = dict.fromkeys(tasks, "no answer")
        turns_s: dict[str, float] = {}
        # Whoever is known to be late need not train.
        to_train = [task for name, task in tasks.items() if name not in bill.late]
        for answer in self._engine.train(to_train):
            turns_s[answer.device] = answer.turn_s
            if reason := self._refuse(answer, tasks):
                reasons[answer.device] = reason
            else:
                updates[answer.device] = _update(tasks[answer.device], answer)
            self._on_answer()
        bill = self.clock.settle(bill, turns_s)
        reasons.update(bill.late)
        accepted = [updates[n] for n in tasks if n in updates and n not in bill.late]
        kept = {update.device for update in accepted}
        return RoundResult(
            state=self._aggregation.join(state, accepted) if accepted else state,
            cost=bill.cost,
            charges=bill.charges,
            train_loss=_mean_loss(accepted),
            devices=list(tasks),
            refused=[
                Refusal(device=name, reason=reason)
                for name, reason in reasons.items()
                if name not in kept
            ],
        )

    def _refuse(self, answer: Answer, tasks: Mapping[str, Task]) -> str | None:
        """Why an answer is left out, or None."""
        task = tasks.get(answer.device)
        if task is None:
            return "was not asked in this round"
        return problem(answer.state, self._shapes[task.device.configuration], self._dtype)

    def _task(self, state: State, device: Participant, round_index: int) -> Task:
        handed = self._aggregation.hand_out(state, self._shapes[device.configuration])
        rate = learning_rate(self._options, round_index)
        return Task(device, round_index, rate, cast(handed, self._dtype))


def _update(task: Task, answer: Answer) -> Update:
    return Update(
        device=answer.device,
        examples=answer.examples,
        received=cast(task.state, torch.float32),
        state=cast(answer.state, torch.float32),
        train_loss=answer.train_loss,
    )


def _mean_loss(updates: Sequence[Update]) -> float | None:
    total = sum(update.examples for update in updates)
    if not total:
        return None
    return sum(update.examples * update.train_loss for update in updates) / total
