"""The answers of a round: what is usable, and who is refused why."""

from collections.abc import Mapping
from types import MappingProxyType

from finetune.exchange.codec import PayloadError, Wire, unpack
from finetune.exchange.messages import Answer, Failure, Task
from finetune.exchange.updates import Update, check_norms, check_report, check_state
from finetune.model.state import KEPT_BY, Shapes, State
from finetune.monitor.metrics import Refusal

__all__ = ["Intake"]


class Intake:
    """Takes the answers of a round one by one, and believes none of them.

    Parameters
    ----------
    tasks : mapping of str to Task
        What was asked, by device.
    starts : mapping of int to State
        What the server holds of what it handed out to each configuration.
    shapes : mapping of int to Shapes
        Shapes of what devices of each configuration send.
    wire : Wire
        How they travel.
    examples : mapping of str to int
        Examples that devices are believed to hold; may lack any.

    Attributes
    ----------
    refused : list of Refusal
        Answers left out, in the order in which they came; complete once closed.
    kept : State
        What simulated devices keep of their uploads, as the server's state names it.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        starts: Mapping[int, State],
        shapes: Mapping[int, Shapes],
        wire: Wire,
        examples: Mapping[str, int],
    ) -> None:
        self._tasks = tasks
        self._starts = starts
        self._shapes = shapes
        self._wire = wire
        self._examples = examples
        self._updates: dict[str, Update] = {}
        self._heard: set[str] = set()
        self.refused: list[Refusal] = []
        self.kept: State = {}

    def hear(self, answer: Answer | Failure) -> None:
        """Take an answer, or refuse it."""
        self._heard.add(answer.device)
        try:
            if isinstance(answer, Failure):
                raise PayloadError(answer.kind, answer.reason)
            self._take(answer)
        except PayloadError as error:
            self._refuse(answer.device, error)

    def close(self, late: Mapping[str, str] = MappingProxyType({})) -> list[Update]:
        """Refuse what is late or out of proportion and who never answered; return the rest.

        `late` says why, by device: also of those who were not asked to train for it.
        """
        for device, reason in late.items():
            if self._updates.pop(device, None) or device not in self._heard:
                self._heard.add(device)
                self._refuse(device, PayloadError("late", reason))
        for device, error in check_norms(list(self._updates.values())).items():
            self._refuse(device, error)
            del self._updates[device]
        for device in self._tasks:
            if device not in self._heard:
                self._refuse(device, PayloadError("silent", "no answer"))
        return [self._updates[device] for device in self._tasks if device in self._updates]

    def _take(self, answer: Answer) -> None:
        """Check an answer and keep it as an update; raises `PayloadError`."""
        task = self._tasks.get(answer.device)
        if task is None:
            raise PayloadError("stranger", "was not asked in this round")
        if answer.device in self._updates:
            raise PayloadError("duplicate", "answered twice; its first answer stands")
        if answer.task != task.name:
            raise PayloadError(
                "stale", f"answers task {answer.task!r:.60}; expected {task.name!r}"
            )
        expected = self._examples.get(answer.device)
        check_report(answer.examples, answer.train_loss, expected)
        received = {name: tensor.float() for name, tensor in task.state.items()}
        trained = self._trained(task, answer, received)
        if self._wire.download != "none":
            start = self._starts[task.device.configuration]
            trained, received = _rebased(trained, received, start), start
        self._updates[answer.device] = Update(
            device=answer.device,
            examples=answer.examples,
            received=received,
            state=received | trained,
            train_loss=answer.train_loss,
        )
        for name, tensor in answer.kept.items():
            self.kept[f"{name}{KEPT_BY}{task.device.position}"] = tensor

    def _trained(self, task: Task, answer: Answer, received: State) -> State:
        """What a device trained, of type float32; raises `PayloadError`."""
        shapes = self._shapes[task.device.configuration]
        if isinstance(answer.state, bytes):
            return unpack(answer.state, received, shapes, self._wire.upload, self._wire.dtype)
        check_state(answer.state, shapes, self._wire.dtype)
        return {name: tensor.float() for name, tensor in answer.state.items()}

    def _refuse(self, device: str, error: PayloadError) -> None:
        """Note a refusal, under a name that is fit to print, whoever chose it."""
        name = "".join(c if c.isprintable() else "?" for c in device[:100])
        self.refused.append(Refusal(device=name, reason=str(error), kind=error.kind))


def _rebased(trained: State, received: State, start: State) -> State:
    """Put a device's change on what the server holds, exactly, of what the device received.

    So what a codec lost on the way down never gets into the server's adapter.
    """
    return {n: start[n] + (tensor - received[n]) for n, tensor in trained.items()}
