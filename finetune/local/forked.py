"""Simulated devices that train side by side, in processes forked for each round.

A forked process shares the memory of this one: model, data and tasks are there without being
sent or loaded, and take memory again only where they are written. Each trains with one thread,
as small batches keep no more than one core busy; what a device trains is the same to the bit
whichever process it is in. Only answers travel: figures in MessagePack, adapters as
safetensors.
"""

import contextlib
import multiprocessing
import signal
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

import msgspec
import safetensors.torch
import torch

from finetune.exchange.messages import Answer, Engine, Failure, Task
from finetune.model.state import State
from solver.plan import InputError

__all__ = ["ForkedEngine", "check_forks"]

# What stops a run: Ctrl-C, and `finetune.run` lets the other do the same.
STOPS = (signal.SIGINT, signal.SIGTERM)


class _Report(NamedTuple):
    """Figures of an answer, or why there is none; `coded`: its adapters are a codec's bytes."""

    examples: int = 0
    train_loss: float = 0.0
    turn_s: float = 0.0
    coded: bool = False
    bad_input: str = ""
    failure: str = ""


def check_forks() -> None:
    """Raise `InputError` where processes cannot be forked."""
    if "fork" not in multiprocessing.get_all_start_methods():
        raise InputError(
            "--workers above 1 needs a system that forks, such as Linux; leave it out"
        )


class ForkedEngine:
    """Lets another engine train several tasks at once.

    The other engine must not have trained in this process on a machine with a GPU: torch
    cannot go on after a fork once it has started its threads there.

    Parameters
    ----------
    engine : Engine
        Trains one task, in a forked process. What it keeps for itself is lost after the round.
    workers : int
        Processes at once.
    """

    def __init__(self, engine: Engine, workers: int) -> None:
        self._engine = engine
        self._workers = workers

    def train(self, tasks: Sequence[Task]) -> Iterator[Answer]:
        """Answers as they come; who has most steps begins.

        Raises
        ------
        InputError
            If a process ends before it has answered, as when memory is short.
        RuntimeError
            If training fails in one.
        """
        waiting = sorted(tasks, key=lambda task: task.device.local_steps, reverse=True)
        with contextlib.ExitStack() as stack:
            lines: list[Connection] = []
            for _ in range(min(self._workers, len(tasks))):
                lines.append(stack.enter_context(_forked(self._engine, waiting, lines)))
            left = deque(enumerate(waiting))
            busy: dict[Connection, Task] = {}

            def give(line: Connection) -> None:
                number, busy[line] = left.popleft()
                _order(line, number)

            for line in lines:
                give(line)
            while busy:
                ready = wait(list(busy))
                for line in [line for line in lines if line in ready]:
                    yield _received(line, busy.pop(line))
                    if left:
                        give(line)


@contextlib.contextmanager
def _forked(
    engine: Engine, tasks: Sequence[Task], elder: Sequence[Connection]
) -> Iterator[Connection]:
    """Line to a new process that trains the tasks whose numbers it is sent."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(
        target=_serve, args=(engine, tasks, there, [*elder, here]), daemon=True
    )
    with contextlib.ExitStack() as ends:
        with _held_back(), warnings.catch_warnings():
            # Python 3.12 warns of threads: those of torch and the progress bar, unused there.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
            ends.callback(process.join)
            ends.callback(process.terminate)
            ends.callback(here.close)
        there.close()
        yield here


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Hold signals back while a process is forked, until it answers them in its own way.

    Else one that comes before would unwind, in the new process, all that called us here: it
    would go on as a second run in the folder of the first.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(
    engine: Engine, tasks: Sequence[Task], line: Connection, others: Sequence[Connection]
) -> None:
    """Train until the line ends."""
    # Ctrl-C is for the process that asks; this one ends with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    for other in others:
        other.close()
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, OSError):
        while True:
            number = msgspec.msgpack.decode(line.recv_bytes(), type=int)
            for frame in _answered(engine, tasks[number]):
                line.send_bytes(frame)


def _answered(engine: Engine, task: Task) -> list[bytes]:
    """Train a task; return the frames of its answer."""
    try:
        (answer,) = engine.train([task])
    except InputError as error:
        return [msgspec.msgpack.encode(_Report(bad_input=str(error)))]
    except Exception as error:
        return [msgspec.msgpack.encode(_Report(failure=f"{type(error).__name__}: {error}"))]
    assert not isinstance(answer, Failure)
    state = answer.state
    coded = isinstance(state, bytes)
    report = _Report(answer.examples, answer.train_loss, answer.turn_s, coded)
    adapters = state if isinstance(state, bytes) else safetensors.torch.save(state)
    return [msgspec.msgpack.encode(report), adapters, safetensors.torch.save(answer.kept)]


def _order(line: Connection, number: int) -> None:
    # A process that has ended is found when its answer is waited for.
    with contextlib.suppress(OSError):
        line.send_bytes(msgspec.msgpack.encode(number))


def _received(line: Connection, task: Task) -> Answer:
    """Read the answer of a task."""
    device = task.device.name
    try:
        report = msgspec.msgpack.decode(line.recv_bytes(), type=_Report)
        if report.bad_input:
            raise InputError(report.bad_input)
        if report.failure:
            raise RuntimeError(f"device '{device}': {report.failure}")
        adapters, kept = line.recv_bytes(), line.recv_bytes()
    except (EOFError, OSError):
        raise InputError(
            f"the process that trained device '{device}' ended (often: out of memory); use "
            "fewer --workers and go on with --resume"
        ) from None
    state: State | bytes = adapters if report.coded else safetensors.torch.load(adapters)
    return Answer(
        device=device,
        task=task.name,
        examples=report.examples,
        state=state,
        train_loss=report.train_loss,
        kept=safetensors.torch.load(kept),
        turn_s=report.turn_s,
    )
