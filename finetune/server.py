"""The federated round, whichever engine trains the devices.

An engine is asked to train tasks and answers with updates; the server samples devices, hands
each the adapters of its shape, checks what comes back and joins it. The in-process engine is
`finetune.in_process`; one that sends tasks over a network fits in the same place.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch

from finetune.aggregate import Aggregation
from finetune.devices import Participant, RoundCost, round_cost, sample
from finetune.metrics import Refusal
from finetune.options import RunOptions
from finetune.state import Shapes, State, cast
from finetune.updates import Update, problem

__all__ = ["Answer", "Engine", "Failure", "RoundResult", "Server", "Task"]


class Task(NamedTuple):
    """What a device is asked to do in a round; `state` is in the wire's type."""

    device: Participant
    round_index: int
    learning_rate: float
    state: State


class Answer(NamedTuple):
    """What a device sends back; `state` is in the wire's type."""

    device: str
    examples: int
    state: State
    train_loss: float


class Failure(NamedTuple):
    """Why a device has no answer."""

    device: str
    reason: str


class Engine(Protocol):
    """Trains devices."""

    def train(self, tasks: Sequence[Task]) -> Iterator[Answer | Failure]:
        """Answers of the tasks, in any order; a device that fails gives none, or says why."""


class RoundResult(NamedTuple):
    """A round played."""

    state: State
    cost: RoundCost
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
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._aggregation = aggregation
        self._candidates = candidates
        self._shapes = shapes
        self._dtype = dtype
        self._options = options
        self._on_answer = on_answer

    def play(self, state: State, round_index: int) -> RoundResult:
        """Play a round from the server's adapter `state`; rounds count from 0."""
        options = self._options
        asked = sample(self._candidates, options.sample, options.seed, round_index)
        tasks = {device.name: self._task(state, device, round_index) for device in asked}
        updates: dict[str, Update] = {}
        reasons = dict.fromkeys(tasks, "no answer")
        for answer in self._engine.train(list(tasks.values())):
            reason = self._refuse(answer, tasks)
            if isinstance(answer, Failure) or reason:
                reasons[answer.device] = reason or "failed"
            else:
                updates[answer.device] = _update(tasks[answer.device], answer)
            self._on_answer()
        accepted = [updates[name] for name in tasks if name in updates]
        return RoundResult(
            state=self._aggregation.join(state, accepted) if accepted else state,
            cost=round_cost(asked),
            train_loss=_mean_loss(accepted),
            devices=list(tasks),
            refused=[
                Refusal(device=name, reason=reason)
                for name, reason in reasons.items()
                if name not in updates
            ],
        )

    def _refuse(self, answer: Answer | Failure, tasks: Mapping[str, Task]) -> str | None:
        """Why an answer is left out, or None."""
        if isinstance(answer, Failure):
            return answer.reason
        task = tasks.get(answer.device)
        if task is None:
            return "was not asked in this round"
        return problem(answer.state, self._shapes[task.device.configuration], self._dtype)

    def _task(self, state: State, device: Participant, round_index: int) -> Task:
        handed = self._aggregation.hand_out(state, self._shapes[device.configuration])
        rate = learning_rate(self._options, round_index)
        return Task(device, round_index, rate, cast(handed, self._dtype))


def learning_rate(options: RunOptions, round_index: int) -> float:
    """Learning rate of a round: constant, or falling linearly to 0 after the last."""
    if options.schedule == "linear":
        return options.learning_rate * (1 - round_index / options.rounds)
    return options.learning_rate


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
