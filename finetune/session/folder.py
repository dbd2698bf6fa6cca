"""The folder of a run: whether it may be used, and what of it is committed."""

import hashlib
from pathlib import Path

from finetune.monitor.metrics import RoundMetrics, decode_metrics
from finetune.session.checkpoint import REMEDY
from solver.plan import InputError, read_bytes

__all__ = ["check_folder", "committed_metrics", "sha256_of"]


def check_folder(out: Path, *, resume: bool) -> None:
    """Refuse a folder that holds anything, unless it is a run to resume.

    A folder in which a run was killed before its first round holds nothing to lose, so it may
    be resumed too. Logs of a federation that started no run, in ``flower``, are no obstacle.
    """
    try:
        names = {path.name for path in out.iterdir()} if out.exists() else set()
        entries = sorted(names - {"flower"})
    except OSError as error:
        raise InputError(f"{out}: cannot be used ({error.strerror}); choose another") from None
    if entries and not resume:
        raise InputError(
            f"{out}: is not empty (it holds {entries[0]}); add --resume to go on with the run "
            "in it, or choose another folder"
        )
    if entries and "checkpoint" not in entries:
        raise InputError(f"{out}: holds no run to resume; choose another folder")


def committed_metrics(path: Path, kept_bytes: int, sha256: str) -> list[RoundMetrics]:
    """Rounds committed so far.

    Parameters
    ----------
    path : Path
        The metrics file; what stands behind `kept_bytes` is of a round never committed.
    kept_bytes : int
    sha256 : str
        Digest of that much.

    Raises
    ------
    InputError
        If they are damaged.
    """
    if not kept_bytes:
        return []
    data = read_bytes(path)[:kept_bytes]
    if len(data) < kept_bytes:
        raise InputError(f"{path}: is cut short. {REMEDY}")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InputError(f"{path}: is damaged (its SHA-256 is another). {REMEDY}")
    return decode_metrics(data, str(path))


def sha256_of(path: Path, size: int | None = None) -> str:
    """SHA-256 of the first `size` bytes of a file, or of all."""
    return hashlib.sha256(read_bytes(path)[:size]).hexdigest()
