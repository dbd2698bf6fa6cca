"""Execute a plan: rounds of federated fine-tuning under the plan's virtual clock.

::

    Exception
    ├── InputError    bad input (exit code 2), from `profiler.files`
    └── Stopped       stopped by the user with a usable result (exit code 4)
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from finetune.checkpoint import load_checkpoint, save_checkpoint
from finetune.evaluate import Score
from finetune.metrics import METRICS_FILE, RoundMetrics, append_metrics, decode_metrics
from finetune.options import RunOptions
from finetune.progress import Progress
from finetune.result import Summary, save_adapter, summarise
from finetune.server import RoundResult
from finetune.setup import Federation, Remote, Sources, deterministic, set_up
from finetune.state import State
from profiler.schema import provenance
from solver.plan import InputError, Plan, read_bytes, read_plan, write

__all__ = ["Sources", "Stopped", "check_folder", "run"]


class Stopped(Exception):
    """The user stopped the run; what was finished is kept."""

    exit_code = 4


class _Job(NamedTuple):
    """What was asked for, where it goes, and the digest that tells runs apart."""

    plan_path: Path
    plan: Plan
    sources: Sources
    out: Path
    options: RunOptions
    digest: str

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint"


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
        Model folder and data.
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
        On Ctrl-C, with the checkpoint and the adapter so far kept.
    """
    progress = progress or Progress()
    plan = read_plan(plan_path)
    digest = _digest(plan_path, sources, options)
    job = _Job(plan_path, plan, sources, out, options, digest)
    check_folder(out, resume=resume)
    load_checkpoint(job.checkpoint, digest)  # so that a wrong resume fails before loading
    with deterministic(), progress:
        federation = set_up(plan, sources, options, progress.answered, remote)
        _make_folder(job.checkpoint)
        try:
            return _play(job, federation, progress)
        except KeyboardInterrupt:
            raise _stopped(job, federation) from None


def _play(job: _Job, federation: Federation, progress: Progress) -> Summary:
    """Play the rounds still missing, commit each, and write what they came to."""
    committed = load_checkpoint(job.checkpoint, job.digest)
    state = committed[1] if committed else federation.start
    kept = committed[0].metrics_bytes if committed else 0
    rows = _metrics(job.out / METRICS_FILE, kept)
    progress.start(job.options, len(rows), len(federation.devices))
    while (reason := _stop_reason(rows, job.options)) is None:
        result = federation.server.play(state, len(rows))
        state = result.state
        row = _row(result, rows, federation, job.options)
        kept = append_metrics(job.out / METRICS_FILE, row, kept)
        save_checkpoint(job.checkpoint, job.digest, row.round, state, kept)
        rows.append(row)
        progress.finished(row)
    return _finish(job, federation, state, rows, reason)


def _finish(
    job: _Job, federation: Federation, state: State, rows: list[RoundMetrics], reason: str
) -> Summary:
    """Write the adapter and the summary."""
    last = rows[-1]
    final = (
        Score(last.test_loss, last.test_accuracy)
        if last.test_accuracy is not None and last.test_loss is not None
        else federation.evaluate(state)
    )
    save_adapter(job.out / "adapter", federation.base, job.plan, state)
    sources = job.sources
    inputs = [job.plan_path, sources.data, *([sources.test] if sources.test else [])]
    origin = provenance(seed=job.options.seed, options=job.options.as_text(), inputs=inputs)
    summary = summarise(job.plan, federation, rows, final, reason, origin)
    write(job.out / "summary.json", summary)
    return summary


def _row(
    result: RoundResult,
    rows: list[RoundMetrics],
    federation: Federation,
    options: RunOptions,
) -> RoundMetrics:
    """Record a round; evaluate it if that is due or the run ends here."""
    last = rows[-1] if rows else None
    row = RoundMetrics(
        round=len(rows) + 1,
        virtual_time_s=(last.virtual_time_s if last else 0.0) + result.cost.time_s,
        round_time_s=result.cost.time_s,
        mean_wait_s=result.cost.mean_wait_s,
        upload_bytes=(last.upload_bytes if last else 0.0) + result.cost.upload_bytes,
        download_bytes=(last.download_bytes if last else 0.0) + result.cost.download_bytes,
        train_loss=result.train_loss,
        test_accuracy=None,
        test_loss=None,
        devices=result.devices,
        refused=result.refused,
    )
    if row.round % options.eval_every and _stop_reason([*rows, row], options) is None:
        return row
    score = federation.evaluate(result.state)
    return msgspec.structs.replace(row, test_accuracy=score.accuracy, test_loss=score.loss)


def _stop_reason(rows: list[RoundMetrics], options: RunOptions) -> str | None:
    """Why no further round is played, or None."""
    if rows and options.target_accuracy is not None:
        accuracies = [row.test_accuracy for row in rows if row.test_accuracy is not None]
        if accuracies and max(accuracies) >= options.target_accuracy:
            return "target accuracy"
    if rows and options.time_limit_s and rows[-1].virtual_time_s >= options.time_limit_s:
        return "time limit"
    return "rounds" if len(rows) >= options.rounds else None


def _digest(plan_path: Path, sources: Sources, options: RunOptions) -> str:
    """Digest of all that the rounds played depend on, but for the weights of the base."""
    digest = hashlib.sha256(msgspec.json.encode(options.fixed()))
    config = sources.model / "config.json"
    for path in (plan_path, sources.data, sources.test, config if config.exists() else None):
        digest.update(hashlib.sha256(read_bytes(path) if path else b"").digest())
    return digest.hexdigest()


def check_folder(out: Path, *, resume: bool) -> None:
    """Refuse a folder that holds anything, unless it is a run to resume.

    Logs of a federation that started none, in ``flower``, are no obstacle.
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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder.parent}: cannot be written ({error.strerror}); choose another place"
        ) from None


def _metrics(path: Path, kept_bytes: int) -> list[RoundMetrics]:
    """Rounds committed so far."""
    if not kept_bytes:
        return []
    data = read_bytes(path)
    if len(data) < kept_bytes:
        raise InputError(f"{path}: is cut short; start anew in another folder")
    return decode_metrics(data[:kept_bytes], str(path))


def _stopped(job: _Job, federation: Federation) -> Stopped:
    """Keep the adapter of the last finished round and say how to go on."""
    committed = load_checkpoint(job.checkpoint, job.digest)
    if committed is None:
        return Stopped(
            "stopped before the first round was finished; start over with the same command "
            "and --resume"
        )
    checkpoint, state = committed
    save_adapter(job.out / "adapter", federation.base, job.plan, state)
    return Stopped(
        f"stopped after round {checkpoint.rounds} of {job.options.rounds}; "
        f"{job.out / 'adapter'} holds the adapter so far. Go on with the same command and "
        "--resume"
    )
