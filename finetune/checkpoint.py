"""The state of a run after each round, such that a kill at any moment loses one round at most.

The adapter is written to a file of its own, then ``state.json`` is replaced: that rename is
the one commit point. Random streams need no state (`finetune.seeds`), optimizers start fresh
each round, and the clock is in the metrics.
"""

import hashlib
from pathlib import Path

from msgspec import Struct
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from finetune.state import State
from profiler.schema import InputError, read, read_bytes, write, write_bytes

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

CHECKPOINT_SCHEMA = "legend/checkpoint/1"
STATE_FILE = "state.json"


class Checkpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``state.json`` says.

    Parameters
    ----------
    run_sha256 : str
        Digest of plan, data and options; another run must not go on from here.
    rounds : int
        Rounds finished.
    tensors, tensors_sha256 : str
        File beside it with the server's adapter, and its digest.
    metrics_bytes : int
        Length of the metrics file after that round.
    """

    schema: str = CHECKPOINT_SCHEMA
    run_sha256: str
    rounds: int
    tensors: str
    tensors_sha256: str
    metrics_bytes: int


def save_checkpoint(
    folder: Path, run_sha256: str, rounds: int, server: State, metrics_bytes: int
) -> None:
    """Commit the state after a round; raises `InputError` where it cannot be written."""
    data = save_tensors(server)
    name = f"adapter-{rounds:06d}.safetensors"
    write_bytes(folder / name, data)
    write(
        folder / STATE_FILE,
        Checkpoint(
            run_sha256=run_sha256,
            rounds=rounds,
            tensors=name,
            tensors_sha256=hashlib.sha256(data).hexdigest(),
            metrics_bytes=metrics_bytes,
        ),
    )
    for old in folder.glob("adapter-*.safetensors"):
        if old.name != name:
            old.unlink()


def load_checkpoint(folder: Path, run_sha256: str) -> tuple[Checkpoint, State] | None:
    """Last committed state; None if no round was committed.

    Raises
    ------
    InputError
        If it is of another run, or damaged.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    remedy = "Start anew in another folder."
    checkpoint = read(path, Checkpoint, CHECKPOINT_SCHEMA, remedy)
    if checkpoint.run_sha256 != run_sha256:
        raise InputError(
            f"{folder.parent}: was started with another plan, data or options; give the same "
            "ones to resume it, or another folder to start anew"
        )
    tensors = folder / Path(checkpoint.tensors).name
    data = read_bytes(tensors)
    if hashlib.sha256(data).hexdigest() != checkpoint.tensors_sha256:
        raise InputError(f"{tensors}: is damaged (its SHA-256 is another). {remedy}")
    try:
        return checkpoint, load_tensors(data)
    except SafetensorError as error:
        raise InputError(f"{tensors}: is damaged ({error}). {remedy}") from None
