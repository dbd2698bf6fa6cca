"""Runs that are killed, starved of disk, doubled or damaged: nothing finished is lost.

Runs live in forked processes, which start at once as torch is loaded here already. Kills are
real: SIGKILL, at the very moment of a call that touches the run's folder.
"""

import errno
import multiprocessing
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import legend
from finetune.monitor.progress import Progress
from finetune.options import RunOptions
from finetune.run import run
from finetune.session.checkpoint import locked
from finetune.session.setup import Sources
from solver.plan import InputError
from tests.finetune.conftest import MakeInputs
from tests.finetune.fleets import make_fleet, plan_for, switching, write_all
from tests.finetune.playing import ADAPTER, StopAfter
from tests.finetune.runs import Inputs

OPTIONS = RunOptions(rounds=4, sample=3, learning_rate=1e-2, eval_every=2)
KILLED = -signal.SIGKILL
FILES = (ADAPTER, "adapter/adapter_config.json", "metrics.jsonl", "summary.json")
# What Python reports before it opens, renames, removes or truncates a file.
TOUCHES = {"open", "os.rename", "os.remove", "os.truncate", "os.mkdir", "os.chmod"}


def in_child(function: Callable[..., None], *arguments: object) -> int:
    """Exit code of a function in a process of its own; minus the signal that killed it."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def run_until(plan: Path, sources: Sources, out: Path, options: RunOptions, touch: int) -> None:
    """Run, and die at the n-th touch of the folder."""
    left = [touch]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in TOUCHES and str(arguments[0]).startswith(f"{out}/"):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    run(plan, sources, out, options, resume=True)


def same(one: Path, other: Path, names: tuple[str, ...] = FILES) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def execute(given: Inputs, out: Path, **more: object) -> None:
    run(given.plan, Sources(given.model, given.data), out, OPTIONS, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_again_and_again_a_run_ends_in_the_same_bytes(
    inputs: MakeInputs, tmp_path: Path, seed: int
) -> None:
    given, out = inputs(), tmp_path / "parts"
    execute(given, tmp_path / "whole")
    rng, kills, code = random.Random(seed), 0, KILLED
    sources = Sources(given.model, given.data)
    while code == KILLED:
        touch = rng.randint(1, 45)
        code = in_child(run_until, given.plan, sources, out, OPTIONS, touch)
        kills += 1
        assert kills < 60
    assert code == 0
    assert kills > 3
    assert same(tmp_path / "whole", out)
    left = {path.name for path in out.rglob("*") if path.is_file()}
    assert left == {path.name for path in (tmp_path / "whole").rglob("*") if path.is_file()}


def test_killed_around_a_new_plan_a_run_ends_in_the_same_bytes(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    fleet = make_fleet()
    folder, out = tmp_path / "in", tmp_path / "parts"
    write_all(folder, fleet, switching(["fast", "slow"]), plan_for(fleet))
    given = inputs()
    at = [folder / f"{name}.json" for name in ("plan", "fleet", "trace")]
    sources = Sources(given.model, given.data, None, at[1], at[2])
    options = replace(OPTIONS, rounds=3, sample=6, batch_size=4, replan_every=2)
    run(at[0], sources, tmp_path / "whole", options)
    code, touch = KILLED, 30
    while code == KILLED:
        code = in_child(run_until, at[0], sources, out, options, touch)
        touch = touch - 5 if touch > 10 else 99
    assert code == 0
    assert same(tmp_path / "whole", out, (*FILES, "plan-0001.json", "fleet-0001.json"))


def command(given: Inputs, out: Path, *more: str) -> list[str]:
    return ["legend", "run", str(given.plan), "--model", str(given.model), "--data",
            str(given.data), "-o", str(out), "--rounds", "4", "--sample", "3",
            "--learning-rate", "0.01", "--eval-every", "2", *more]  # fmt: skip


def as_command(arguments: list[str], errors: Path, prepare: Callable[[], None]) -> None:
    """Run the command line with stderr in a file."""
    sys.argv = arguments
    prepare()
    with errors.open("w", encoding="utf-8") as file:
        sys.stderr = file
        legend.main()


def nothing() -> None:
    """Prepare nothing."""


def small_files() -> None:
    """Let no file grow beyond some bytes, as a full disk would; the adapter is larger."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))


def said(errors: Path) -> str:
    """The one line of a failed command, below those of its progress."""
    *progress, last = errors.read_text().splitlines()
    assert last.startswith("legend: ")
    assert not any(line.startswith(("legend: ", "Traceback")) for line in progress)
    return last


def test_a_full_disk_is_one_line_and_loses_nothing(inputs: MakeInputs, tmp_path: Path) -> None:
    given, out, errors = inputs(), tmp_path / "run", tmp_path / "errors"
    execute(given, tmp_path / "whole")
    with pytest.raises(Exception, match="stopped after round 1"):
        execute(given, out, progress=StopAfter(4))
    before = (out / "checkpoint/state.json").read_bytes()
    code = in_child(as_command, command(given, out, "--resume"), errors, small_files)
    assert code == 2
    assert "round 2 could not be kept: " in said(errors)
    assert "File too large" in said(errors)
    assert (out / "checkpoint/state.json").read_bytes() == before
    assert in_child(as_command, command(given, out, "--resume"), errors, nothing) == 0
    assert same(tmp_path / "whole", out, FILES[:3])


def test_a_folder_that_cannot_be_written_is_one_line(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given, errors = inputs(), tmp_path / "errors"
    (tmp_path / "file").touch()
    code = in_child(as_command, command(given, tmp_path / "file/run"), errors, nothing)
    assert code == 2
    assert "file/run: " in said(errors)


class TermAfter(Progress):
    """Sends SIGTERM to itself after so many answers."""

    def __init__(self, answers: int) -> None:
        self.left = answers

    def answered(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_stops_a_run_as_ctrl_c_does(inputs: MakeInputs, tmp_path: Path) -> None:
    given = inputs()
    execute(given, tmp_path / "whole")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Exception, match=r"stopped after round 1 .*--resume") as stopped:
        execute(given, tmp_path / "run", progress=TermAfter(5))
    assert getattr(stopped.value, "exit_code", 1) == 4
    assert signal.getsignal(signal.SIGTERM) is before
    assert (tmp_path / "run" / ADAPTER).exists()
    execute(given, tmp_path / "run", resume=True)
    assert same(tmp_path / "whole", tmp_path / "run")


def test_two_runs_never_share_a_folder(inputs: MakeInputs, tmp_path: Path) -> None:
    given, out = inputs(), tmp_path / "run"

    class Rival(Progress):
        """Starts a second run of the same folder while the first plays."""

        def start(self, *_: object) -> None:
            for resume, message in ((True, "another run is writing"), (False, "not empty")):
                with pytest.raises(InputError, match=message):
                    execute(given, out, resume=resume)

    execute(given, out, progress=Rival())
    with locked(out / "checkpoint"):
        pass  # the finished run has let go


def test_a_file_system_without_locks_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", without)
    with (
        pytest.raises(InputError, match=r"cannot be locked \(No locks available\)") as raised,
        locked(tmp_path / "checkpoint"),
    ):
        pytest.fail("not locked")
    assert "\n" not in str(raised.value)


def damage(path: Path, kind: str) -> None:
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            "cut": data[:middle],
            "empty": b"",
            "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        }[kind]
    )


@pytest.mark.parametrize("kind", ["cut", "empty", "flipped"])
@pytest.mark.parametrize(
    "file", ["checkpoint/state.json", "checkpoint/*.safetensors", "metrics.jsonl"]
)
def test_damage_is_named_and_left_as_it_is(
    inputs: MakeInputs, tmp_path: Path, file: str, kind: str
) -> None:
    given, out = inputs(), tmp_path / "run"
    with pytest.raises(Exception, match="stopped after round 2"):
        execute(given, out, progress=StopAfter(7))
    (path,) = out.glob(file)
    damage(path, kind)
    kept = path.read_bytes()
    with pytest.raises(InputError, match=path.name) as raised:
        execute(given, out, resume=True)
    assert "\n" not in str(raised.value)
    assert path.read_bytes() == kept
