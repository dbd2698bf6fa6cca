"""What server and engine tell each other in a round."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from finetune.devices import Participant
from finetune.model.state import State

__all__ = ["Answer", "Engine", "Failure", "Task"]


class Task(NamedTuple):
    """What a device is asked to do in a round.

    Parameters
    ----------
    device : Participant
        Who, in which configuration and for how many steps.
    round_index : int
        From 0.
    learning_rate : float
    state : State
        What it starts from, in the wire's type. Devices of one configuration share these
        tensors: read only.
    base : State
        What was added to the base's weights (out, in), by module; mostly empty.
    kept : State
        What this device kept of its last compressed upload. Only a simulated device is told:
        a real one keeps it itself.
    name : str
        Names round and device; an answer must repeat it, so that an old one is known.
    data : bytes
        What `state` is read from, where downloads are compressed; else empty.
    """

    device: Participant
    round_index: int
    learning_rate: float
    state: State
    base: State = {}
    kept: State = {}
    name: str = ""
    data: bytes = b""


class Answer(NamedTuple):
    """What a device sends back; nothing of it is trusted.

    Parameters
    ----------
    device : str
        Who says so.
    task : str
        The task it answers.
    examples : int
        Training examples it holds.
    state : State or bytes
        What it trained, in the wire's type; or as `finetune.exchange.codec.pack` makes it.
    train_loss : float
        Mean loss of its steps.
    kept : State
        What a simulated device keeps of a compressed upload; empty for a real one.
    turn_s : float
        Wall seconds from the task to the answer, as the engine measured them.
    """

    device: str
    task: str
    examples: int
    state: State | bytes
    train_loss: float
    kept: State = {}
    turn_s: float = 0.0


class Failure(NamedTuple):
    """Why a device has no answer; `kind` is the reason in a word."""

    device: str
    reason: str
    kind: str = "failed"


class Engine(Protocol):
    """Trains devices."""

    def train(self, tasks: Sequence[Task]) -> Iterator[Answer | Failure]:
        """Answers of the tasks, in any order; a device that fails gives none, or says why."""
