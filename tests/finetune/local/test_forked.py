"""Devices trained side by side in forked processes: the same bytes, and no process left."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from msgspec.structs import replace

from finetune.devices import participants
from finetune.exchange.messages import Answer, Task
from finetune.local.forked import ForkedEngine
from finetune.local.in_process import InProcessEngine
from finetune.monitor.metrics import METRICS_FILE
from finetune.run import Stopped
from solver.plan import InputError, Plan
from tests.finetune.conftest import MakeInputs
from tests.finetune.playing import ADAPTER, OPTIONS, StopAfter, caching, execute, plan_joined_by
from tests.finetune.runs import make_plan

SIDE_BY_SIDE = replace(OPTIONS, workers=2)
# One that keeps what a codec lost, one that changes the base, one that caches states.
PLANS = {
    "int8": make_plan(codec="int8", download_codec="int8"),
    "flora": plan_joined_by("flora", download="stacked"),
    "cache": caching("always"),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_workers_change_no_byte(inputs: MakeInputs, tmp_path: Path, plan: Plan) -> None:
    given = inputs(plan)
    execute(given, tmp_path / "alone")
    execute(given, tmp_path / "beside", SIDE_BY_SIDE)
    for file in (ADAPTER, METRICS_FILE):
        assert (tmp_path / "alone" / file).read_bytes() == (
            tmp_path / "beside" / file
        ).read_bytes()
    assert not (tmp_path / "beside/prefix-cache").exists()


def test_a_run_may_go_on_with_other_workers_and_leaves_none_behind(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs()
    execute(given, tmp_path / "whole")
    with pytest.raises(Stopped):
        execute(given, tmp_path / "parts", SIDE_BY_SIDE, progress=StopAfter(4))
    assert not multiprocessing.active_children()
    execute(given, tmp_path / "parts", replace(OPTIONS, workers=3), resume=True)
    assert (tmp_path / "whole" / ADAPTER).read_bytes() == (
        tmp_path / "parts" / ADAPTER
    ).read_bytes()


def test_a_worker_that_is_killed_is_said_in_one_line(
    inputs: MakeInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: InProcessEngine, tasks: Sequence[Task]) -> Iterator[Answer]:
        os.kill(os.getpid(), signal.SIGKILL)
        yield from ()

    monkeypatch.setattr(InProcessEngine, "train", killed)
    with pytest.raises(
        InputError, match=r"'device-\d' ended .*out of memory.*fewer --workers"
    ) as raised:
        execute(inputs(), tmp_path / "run", SIDE_BY_SIDE)
    assert "\n" not in str(raised.value)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("raised", "seen", "words"),
    [
        (ArithmeticError, RuntimeError, r"'(device-\d)': ArithmeticError: of \1$"),
        (InputError, InputError, r"^of device-\d$"),
    ],
)
def test_what_fails_in_a_worker_fails_here(
    inputs: MakeInputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    raised: type[Exception],
    seen: type[Exception],
    words: str,
) -> None:
    def failing(self: InProcessEngine, tasks: Sequence[Task]) -> Iterator[Answer]:
        raise raised(f"of {tasks[0].device.name}")

    monkeypatch.setattr(InProcessEngine, "train", failing)
    with pytest.raises(seen, match=words):
        execute(inputs(), tmp_path / "run", SIDE_BY_SIDE)


class Interrupted(BaseException):
    """Raised by a signal, as Ctrl-C raises KeyboardInterrupt."""


def test_a_signal_before_a_worker_is_ready_ends_it_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork, here = os.fork, os.getpid()

    def interrupt(number: int, frame: object) -> NoReturn:
        raise Interrupted

    def fork_and_signal() -> int:
        if pid := fork():
            return pid
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    monkeypatch.setattr(os, "fork", fork_and_signal)
    device = participants(make_plan())[0]
    task = Task(device=device, round_index=0, learning_rate=1e-3, state={})
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(InputError, match="ended"):
            list(ForkedEngine(Idle(), 1).train([task]))
    except Interrupted:
        # In the worker, which must not go on as this process.
        assert os.getpid() != here
        (tmp_path / "went on").touch()
        os._exit(1)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not (tmp_path / "went on").exists()


class Idle:
    """An engine that nobody asks."""

    def train(self, tasks: Sequence[Task]) -> Iterator[Answer]:
        raise NotImplementedError


def test_a_system_that_cannot_fork_is_refused(
    inputs: MakeInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(InputError, match="--workers above 1 needs a system that forks"):
        execute(inputs(), tmp_path / "run", SIDE_BY_SIDE)
    assert not (tmp_path / "run").exists()
