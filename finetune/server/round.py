"""The federated round, whichever engine trains the devices.

An engine is asked to train tasks and answers with updates; the server samples devices, hands
each the adapters of its shape, checks what comes back and joins it. The in-process engine is
`finetune.local.in_process`; one that sends tasks over a network fits in the same place.

What a device answers is believed in nothing: a bad answer is refused, named and counted, and
the round goes on without it (`finetune.server.intake`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from finetune.aggregate import Aggregation, aggregation_error
from finetune.clock.bill import RoundCost
from finetune.clock.charge import Charge
from finetune.clock.conditions import Moment
from finetune.clock.protocol import Clock, ask
from finetune.devices import Participant
from finetune.exchange.codec import Download, Wire, download
from finetune.exchange.messages import Answer, Engine, Task
from finetune.exchange.updates import Update, clip
from finetune.model.state import (
    DELTA,
    KEPT_BY,
    Shapes,
    State,
    adapter_of,
    deltas_of,
    lora_modules,
)
from finetune.monitor.metrics import Refusal
from finetune.options import RunOptions
from finetune.server.intake import Intake
from finetune.server.optimizer import ServerOptimizer
from finetune.server.schedule import learning_rate
from finetune.server.traffic import Traffic, charged

__all__ = ["RoundResult", "Server"]


class RoundResult(NamedTuple):
    """A round played.

    `charges` are by the names of the devices asked, `aggregation_error` is as
    `finetune.aggregate.error` says.
    """

    state: State
    cost: RoundCost
    charges: Mapping[str, Charge]
    train_loss: float | None
    devices: list[str]
    refused: list[Refusal]
    aggregation_error: float | None = None


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
    wire : Wire
        How adapters travel.
    options : RunOptions
        Sampling, learning rate and clipping of updates.
    clock : Clock
        Says who is there, what a round takes and who is late.
    on_answer : callable
        Called after every answer, to show progress.
    examples : mapping of str to int
        Examples that each device is believed to hold; an answer that claims ten times as
        many is refused.
    optimizer : ServerOptimizer
        How far the server goes along what a round's updates come to.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        aggregation: Aggregation,
        candidates: Sequence[Participant],
        shapes: Mapping[int, Shapes],
        wire: Wire,
        options: RunOptions,
        clock: Clock,
        on_answer: Callable[[], None],
        examples: Mapping[str, int],
        optimizer: ServerOptimizer,
    ) -> None:
        self._engine = engine
        self._aggregation = aggregation
        self._candidates = candidates
        self._shapes = shapes
        self._wire = wire
        self._options = options
        self.clock = clock
        self._on_answer = on_answer
        self._examples = examples
        self._optimizer = optimizer
        self._traffic = Traffic(aggregation, wire)
        self._sent = {
            index: {name: shape for name, shape in by_name.items() if aggregation.trains(name)}
            for index, by_name in shapes.items()
        }

    def play(self, state: State, round_index: int, now_s: float = 0.0) -> RoundResult:
        """Play a round from the server's `state`; rounds count from 0."""
        when = Moment(round_index, now_s)
        asked = ask(self._candidates, self.clock, when, self._options)
        bill = self.clock.bill([self._charged(state, device) for device in asked], when)
        # Whoever is known to be late need not train.
        present = [device for device in asked if device.name not in bill.late]
        before = _visible(state)
        starts = self._starts(before, present)
        tasks = self._tasks(state, present, starts, when)
        intake = Intake(tasks, starts, self._sent, self._wire, self._examples)
        bill = self.clock.settle(bill, self._train(tasks, intake))
        accepted = intake.close(bill.late)
        if self._options.clip_update_norm:
            accepted = [clip(update, self._options.clip_update_norm) for update in accepted]
        joined = self._aggregation.join(before, accepted, round_index) if accepted else before
        held = {name for update in accepted for name in update.state}
        after = self._optimizer.step(before, joined, state, held)
        modules = {d.position: set(lora_modules(self._shape(d))) for d in asked}
        ledger = self._traffic.ledger(state, modules, (update.state for update in accepted))
        return RoundResult(
            state=state | after | intake.kept | ledger,
            cost=bill.cost,
            charges=bill.charges,
            train_loss=_mean_loss(accepted),
            devices=[device.name for device in asked],
            refused=intake.refused,
            aggregation_error=aggregation_error(before, joined, accepted),
        )

    def _train(self, tasks: Mapping[str, Task], intake: Intake) -> dict[str, float]:
        """Let the engine train; return the wall seconds of each device's turn."""
        turns_s: dict[str, float] = {}
        for answer in self._engine.train(list(tasks.values())):
            if isinstance(answer, Answer):
                turns_s.setdefault(answer.device, answer.turn_s)
            intake.hear(answer)
            self._on_answer()
        return turns_s

    def _starts(self, visible: State, asked: Sequence[Participant]) -> dict[int, State]:
        """What devices of each configuration asked are to start from, exactly."""
        return {
            index: self._aggregation.hand_out(visible, self._shapes[index])
            for index in {device.configuration for device in asked}
        }

    def _tasks(
        self,
        state: State,
        asked: Sequence[Participant],
        starts: Mapping[int, State],
        when: Moment,
    ) -> dict[str, Task]:
        """One task a device asked; those of one configuration share what they receive."""
        rate = learning_rate(self._options, *when)
        wire = self._wire
        handed: dict[int, Download] = {
            index: download(start, wire.download, wire.dtype) for index, start in starts.items()
        }
        return {
            device.name: Task(
                device=device,
                round_index=when.round_index,
                learning_rate=rate,
                state=handed[device.configuration].state,
                base=deltas_of(state, lora_modules(self._shape(device))),
                kept=_kept(state, device.position),
                name=f"{self._options.seed}/{when.round_index}/{device.position}",
                data=handed[device.configuration].data,
            )
            for device in asked
        }

    def _shape(self, device: Participant) -> Shapes:
        return self._shapes[device.configuration]

    def _charged(self, state: State, device: Participant) -> Participant:
        """Put what is really sent and received in the place of the plan's prediction."""
        shapes = self._shape(device)
        sent = self._traffic.upload_bytes(shapes)
        received = self._traffic.download_bytes(state, shapes, device.position)
        return device._replace(predicted=charged(device.predicted, sent, received))


def _visible(state: State) -> State:
    """What an aggregation sees: adapters, head and changes of the base."""
    return adapter_of(state) | {n: t for n, t in state.items() if n.endswith(DELTA)}


def _kept(state: State, position: int) -> State:
    """What a simulated device kept, under the names of its tensors."""
    ending = f"{KEPT_BY}{position}"
    return {n.removesuffix(ending): t for n, t in state.items() if n.endswith(ending)}


def _mean_loss(updates: Sequence[Update]) -> float | None:
    total = sum(update.examples for update in updates)
    if not total:
        return None
    return sum(update.examples * update.train_loss for update in updates) / total
