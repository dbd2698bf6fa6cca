"""Execute a plan: rounds of federated fine-tuning under the plan's virtual clock.

::

    Exception
    ├── InputError    bad input (exit code 2), from `profiler.files`
    └── Stopped       stopped by the user with a usable result (exit code 4)
"""

import contextlib
import hashlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import msgspec

from finetune.deterministic import deterministic
from finetune.model.prefix_store import scratch_folder
from finetune.monitor.progress import Progress
from finetune.monitor.tensorboard import TensorBoard
from finetune.options import RunOptions
from finetune.session.checkpoint import load_checkpoint, locked, sweep
from finetune.session.folder import check_folder
from finetune.session.result import Summary, save_adapter
from finetune.session.rounds import Job, Session, plan_in_force
from finetune.session.setup import Remote, Sources, set_up
from solver.plan import InputError, read_bytes, read_plan

__all__ = ["Sources", "Stopped", "run"]


class Stopped(Exception):
    """The user stopped the run; what was finished is kept."""

    exit_code = 4


def run(
    plan_path: Path,
    sources: Sources,
    out: Path,
    options: RunOptions,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    remote: Remote | None = None,
) -> Summary:
    """Run a plan and write metrics, summary, checkpoint and adapter into a folder.

    Parameters
    ----------
    plan_path : Path
        The plan.
    sources : Sources
        Model folder and data; fleet and trace, if conditions differ from the plan's.
    out : Path
        Folder of the run; must be new or empty, unless resumed.
    options : RunOptions
        How to run.
    resume : bool
        Go on after the last finished round of this folder.
    progress : Progress, optional
        Shows rounds as they go.
    remote : Remote, optional
        Devices elsewhere; without it they are simulated in this process.

    Returns
    -------
    Summary
        As written to ``summary.json``.

    Raises
    ------
    InputError
        If plan, model, data, options or folder do not fit.
    Stopped
        On Ctrl-C or SIGTERM, with the checkpoint and the adapter so far kept.
    """
    progress = progress or Progress()
    _check_sources(sources, options)
    digest = _digest(plan_path, sources, options)
    job = Job(plan_path, read_plan(plan_path), sources, out, options, digest)
    check_folder(out, resume=resume)
    TensorBoard(out, wanted=options.tensorboard)  # so that a missing package is said at once
    with contextlib.ExitStack() as stack:
        begun = job.checkpoint.exists()
        if begun:
            stack.enter_context(locked(job.checkpoint))
        saved = load_checkpoint(job.checkpoint, digest)  # a wrong resume fails before loading
        plan = plan_in_force(job, saved)
        stack.enter_context(deterministic())
        stack.enter_context(progress)
        stack.enter_context(_terminable())
        caches = dict(saved.caches) if saved else None
        scratch = out / "prefix-cache"
        federation = set_up(
            plan,
            sources,
            options,
            progress.answered,
            caches=caches,
            scratch=scratch,
            remote=remote,
        )
        if not begun:
            # Only now, so that a mistake leaves no folder behind.
            stack.enter_context(locked(job.checkpoint))
            _check_still_new(job)
        sweep(out, saved.rounds if saved else 0)
        stack.enter_context(scratch_folder(scratch))
        session = Session(job, federation, plan, saved, progress)
        try:
            return session.play()
        except KeyboardInterrupt:
            raise _stopped(job, session) from None


def _check_sources(sources: Sources, options: RunOptions) -> None:
    """Refuse options that need a fleet without one."""
    wanting = {
        "--trace": sources.trace is not None,
        "--replan-every": options.replan_every is not None,
        "--replan-on-drift": options.replan_on_drift is not None,
    }
    if sources.fleet is None and any(wanting.values()):
        flag = next(name for name, given in wanting.items() if given)
        raise InputError(f"{flag} needs the fleet that the plan was made for; add --fleet")


def _check_still_new(job: Job) -> None:
    """Refuse a folder in which another run has begun while this one loaded its model."""
    if load_checkpoint(job.checkpoint, job.digest) is not None:
        raise InputError(f"{job.out}: another run has begun there; choose another folder")


def _digest(plan_path: Path, sources: Sources, options: RunOptions) -> str:
    """Digest of all that the rounds played depend on, but for the weights of the base."""
    digest = hashlib.sha256(msgspec.json.encode(options.fixed()))
    config = sources.model / "config.json"
    for path in (
        plan_path,
        *sources.data_files,
        config if config.exists() else None,
        sources.fleet,
        sources.trace,
    ):
        digest.update(hashlib.sha256(read_bytes(path) if path else b"").digest())
    return digest.hexdigest()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM stop a run as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stopped(job: Job, session: Session) -> Stopped:
    """Keep the adapter of the last finished round and say how to go on."""
    saved = load_checkpoint(job.checkpoint, job.digest)
    if saved is None:
        return Stopped(
            "stopped before the first round was finished; start over with the same command "
            "and --resume"
        )
    plan = plan_in_force(job, saved)
    save_adapter(job.out / "adapter", session.federation.base, plan, saved.server)
    return Stopped(
        f"stopped after round {saved.rounds} of {job.options.rounds}; "
        f"{job.out / 'adapter'} holds the adapter so far. Go on with the same command and "
        "--resume"
    )
