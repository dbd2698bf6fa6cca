"""The state of a run after each round, such that a kill at any moment loses one round at most.

All tensors are written to a file of their own, then ``state.json`` is replaced: that rename is
the one commit point. Files are synced before they are renamed and their folder after. Random
streams need no state (`finetune.seeds`), optimizers start fresh each round, and the clock is
in the metrics.
"""

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from finetune.clock.protocol import Caches
from finetune.model.state import State
from profiler.schema import FleetDevice, InputError, read, read_bytes, write, write_bytes

__all__ = ["Checkpoint", "Saved", "load_checkpoint", "locked", "save_checkpoint", "sweep"]

CHECKPOINT_SCHEMA = "legend/checkpoint/1"
STATE_FILE = "state.json"
LOCK_FILE = "lock"
# Temporary names that `profiler.files` gives to the files of a run.
HALF_WRITTEN = re.compile(
    r"\.(state|summary|adapter_config|(plan|fleet)-\d{4})\.json\..{8}"
    r"|\.(adapter_model|round-\d{6})\.safetensors\..{8}"
)
REMEDY = "Start anew in another folder."


class Checkpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``state.json`` says.

    Parameters
    ----------
    run_sha256 : str
        Digest of plan, data and options; another run must not go on from here.
    rounds : int
        Rounds finished.
    tensors, tensors_sha256 : str
        File beside it with all tensors, and its digest.
    metrics_bytes : int
        Length of the metrics file after that round.
    metrics_sha256 : str
        Digest of that much of it.
    plan : int
        Number of the plan in force, 0 for the one the run began with.
    plan_sha256 : str
        Digest of its file; empty for number 0, which `run_sha256` covers.
    caches : dict of str to int
        Depth that each device's kept cache is filled for.
    believed : list of FleetDevice
        Devices as observed; empty where nobody plans anew.
    seal : str
        Digest of all that is above.
    """

    schema: str = CHECKPOINT_SCHEMA
    run_sha256: str
    rounds: int
    tensors: str
    tensors_sha256: str
    metrics_bytes: int
    metrics_sha256: str
    plan: int = 0
    plan_sha256: str = ""
    caches: dict[str, int] = {}
    believed: list[FleetDevice] = []
    seal: str = ""

    def digest(self) -> str:
        """What `seal` must be."""
        return hashlib.sha256(msgspec.json.encode(replace(self, seal=""))).hexdigest()


class Saved(NamedTuple):
    """State of a run between two rounds.

    Parameters
    ----------
    server : State
        The server's adapter, and under names of their own any other tensors that the next
        round depends on.
    metrics_bytes, metrics_sha256 : int, str
        What of the metrics belongs to it.
    plan, plan_sha256, caches, believed
        See `Checkpoint`.
    rounds : int
        Rounds finished.
    """

    server: State
    rounds: int = 0
    metrics_bytes: int = 0
    metrics_sha256: str = hashlib.sha256().hexdigest()
    plan: int = 0
    plan_sha256: str = ""
    caches: Caches = {}
    believed: list[FleetDevice] = []


def save_checkpoint(folder: Path, run_sha256: str, saved: Saved) -> None:
    """Commit the state after a round.

    Raises
    ------
    InputError
        If it cannot be written; the last committed state stays.
    """
    data = save_tensors(saved.server)
    name = f"round-{saved.rounds:06d}.safetensors"
    checkpoint = Checkpoint(
        run_sha256=run_sha256,
        rounds=saved.rounds,
        tensors=name,
        tensors_sha256=hashlib.sha256(data).hexdigest(),
        metrics_bytes=saved.metrics_bytes,
        metrics_sha256=saved.metrics_sha256,
        plan=saved.plan,
        plan_sha256=saved.plan_sha256,
        caches=dict(saved.caches),
        believed=saved.believed,
    )
    try:
        write_bytes(folder / name, data)
        _sync(folder)
        write(folder / STATE_FILE, replace(checkpoint, seal=checkpoint.digest()))
        _sync(folder)
    except (InputError, OSError) as error:
        raise InputError(
            f"round {saved.rounds} could not be kept: {str(error).partition(';')[0]}; the "
            "rounds before it are. Mend that and go on with --resume"
        ) from None
    _remove(old for old in folder.glob("*.safetensors") if old.name != name)


def load_checkpoint(folder: Path, run_sha256: str) -> Saved | None:
    """Last committed state; None if no round was committed.

    Raises
    ------
    InputError
        If it is of another run, or damaged.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    checkpoint = read(path, Checkpoint, CHECKPOINT_SCHEMA, REMEDY)
    if checkpoint.seal != checkpoint.digest():
        raise InputError(f"{path}: is damaged (its SHA-256 is another). {REMEDY}")
    if checkpoint.run_sha256 != run_sha256:
        raise InputError(
            f"{folder.parent}: was started with another plan, data or options; give the same "
            "ones to resume it, or another folder to start anew"
        )
    return Saved(
        server=_tensors(folder / Path(checkpoint.tensors).name, checkpoint.tensors_sha256),
        rounds=checkpoint.rounds,
        metrics_bytes=checkpoint.metrics_bytes,
        metrics_sha256=checkpoint.metrics_sha256,
        plan=checkpoint.plan,
        plan_sha256=checkpoint.plan_sha256,
        caches=checkpoint.caches,
        believed=checkpoint.believed,
    )


def _tensors(path: Path, sha256: str) -> State:
    """Read and check tensors."""
    data = read_bytes(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InputError(f"{path}: is damaged (its SHA-256 is another). {REMEDY}")
    try:
        state: State = load_tensors(data)
    except SafetensorError as error:
        raise InputError(f"{path}: is damaged ({error}). {REMEDY}") from None
    return state


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second run out of a run's folder; the system frees it however this one ends.

    Raises
    ------
    InputError
        If a run is writing there, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(
            f"{folder.parent}: cannot be written ({error.strerror}); choose another place"
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder.parent}: another run is writing there; wait for it, or choose "
                "another folder"
            ) from None
        except OSError as error:  # such as a network's file system without locks
            raise InputError(
                f"{folder.parent}: cannot be locked ({error.strerror}); choose a folder on "
                "another file system"
            ) from None
        yield
    finally:
        os.close(handle)


def sweep(out: Path, rounds: int) -> None:
    """Remove what a killed run left half-written; call it under the lock only."""
    current = f"round-{rounds:06d}.safetensors"
    for folder in (out, out / "checkpoint", out / "adapter"):
        _remove(p for p in folder.glob(".*") if HALF_WRITTEN.fullmatch(p.name))
    _remove(p for p in (out / "checkpoint").glob("*.safetensors") if p.name != current)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def _sync(folder: Path) -> None:
    """Make renames in a folder last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
