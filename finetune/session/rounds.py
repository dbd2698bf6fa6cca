"""A run in progress: round after round, each committed, under plans that may change."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from finetune.clock.conditions import Moment
from finetune.model.carry import carry, keep_layers
from finetune.model.evaluate import Score
from finetune.monitor.metrics import METRICS_FILE, RoundMetrics, append_metrics
from finetune.monitor.progress import Progress
from finetune.monitor.tensorboard import TensorBoard
from finetune.options import RunOptions
from finetune.replan.ask import plan_path
from finetune.replan.replanner import Replanner
from finetune.server.round import RoundResult
from finetune.session.checkpoint import REMEDY, Saved, save_checkpoint
from finetune.session.folder import committed_metrics, sha256_of
from finetune.session.result import Summary, save_adapter, summarise
from finetune.session.setup import Federation, Sources, set_up
from profiler.schema import provenance
from solver.plan import InputError, Plan, read_plan, write

__all__ = ["Job", "Session", "plan_in_force"]


class Job(NamedTuple):
    """What was asked for, where it goes, and the digest that tells runs apart."""

    plan_path: Path
    plan: Plan
    sources: Sources
    out: Path
    options: RunOptions
    digest: str

    @property
    def checkpoint(self) -> Path:
        """Folder of the state between rounds."""
        return self.out / "checkpoint"


def plan_in_force(job: Job, saved: Saved | None) -> Plan:
    """Plan that a run goes on under; raises `InputError` if its file is not the one adopted."""
    if saved is None or not saved.plan:
        return job.plan
    path = plan_path(job.out, saved.plan)
    if sha256_of(path) != saved.plan_sha256:
        raise InputError(f"{path}: is not the plan that was adopted. {REMEDY}")
    return keep_layers(read_plan(path), saved.server)


class Session:
    """Plays what is missing of a run.

    Parameters
    ----------
    job : Job
    federation : Federation
        Set up under `plan`.
    plan : Plan
        The plan in force.
    saved : Saved or None
        State to go on from; None starts anew.
    progress : Progress
    """

    def __init__(
        self,
        job: Job,
        federation: Federation,
        plan: Plan,
        saved: Saved | None,
        progress: Progress,
    ) -> None:
        self._job = job
        self.federation = federation
        self._plan = plan
        self._saved = saved or Saved(server=federation.start)
        self._progress = progress
        self._board = TensorBoard(job.out, wanted=job.options.tensorboard)
        self._metrics = job.out / METRICS_FILE
        kept = self._saved.metrics_bytes, self._saved.metrics_sha256
        self._rows = committed_metrics(self._metrics, *kept)
        self._replanner = self._make_replanner()

    def play(self) -> Summary:
        """Play the rounds still missing, commit each, and write what they came to."""
        options = self._job.options
        devices = len(self.federation.devices)
        self._progress.start(options, len(self._rows), devices)
        with self._board:
            while (reason := _stop_reason(self._rows, options)) is None:
                self._replan_if_due()
                self._play_round()
        return self._finish(reason)

    def _make_replanner(self) -> Replanner | None:
        options, fleet = self._job.options, self.federation.loaded.fleet
        wanted = options.replan_every is not None or options.replan_on_drift is not None
        if not wanted or fleet is None:
            return None
        return Replanner(
            fleet, self._job.plan_path, self._job.out, options, self._saved.believed
        )

    def _replan_if_due(self) -> None:
        """Adopt a new plan where one is due and there is one."""
        rounds, planner = len(self._rows), self._replanner
        off = self._rows[-1].drift if self._rows else None
        if planner is None or not planner.due(rounds, off):
            return
        number = self._saved.plan + 1
        answer = planner.ask(number)
        if answer.plan is None:
            what = f"kept plan {number - 1}: {answer.reason}"
        else:
            self._adopt(answer.plan, number)
            what = f"adopted plan {number} (drift was {off or 0:.2f})"
        self._progress.say(f"before round {rounds + 1}: {what}")

    def _adopt(self, plan: Plan, number: int) -> None:
        """Go on under another plan, with the adapter carried over to its ranks."""
        server, job = self._saved.server, self._job
        self._plan = keep_layers(plan, server)
        self.federation = set_up(
            self._plan,
            job.sources,
            job.options,
            self._progress.answered,
            self.federation.loaded,
            caches=self.federation.server.clock.caches,
        )
        self._saved = self._saved._replace(
            server=carry(server, self.federation.start),
            plan=number,
            plan_sha256=sha256_of(plan_path(job.out, number)),
        )

    def _play_round(self) -> None:
        """Play a round and commit it."""
        when = Moment(len(self._rows), self._rows[-1].virtual_time_s if self._rows else 0.0)
        result = self.federation.server.play(self._saved.server, *when)
        self._observe(result, when)
        row = self._row(result)
        kept = append_metrics(self._metrics, row, self._saved.metrics_bytes)
        self._saved = self._saved._replace(
            server=result.state,
            rounds=row.round,
            metrics_bytes=kept,
            metrics_sha256=sha256_of(self._metrics, kept),
            caches=self.federation.server.clock.caches,
            believed=self._replanner.believed if self._replanner else [],
        )
        save_checkpoint(self._job.checkpoint, self._job.digest, self._saved)
        self._rows.append(row)
        self._board.add(row)
        self._progress.finished(row)

    def _observe(self, result: RoundResult, when: Moment) -> None:
        """Let the re-planner see who was there and what it took."""
        if self._replanner is None:
            return
        present = self.federation.server.clock.present(when) or {}
        asked = [d for d in self.federation.devices if d.name in result.charges]
        measured = [(device, result.charges[device.name]) for device in asked]
        self._replanner.see(self._plan, present, measured)

    def _row(self, result: RoundResult) -> RoundMetrics:
        """Record a round; evaluate it if that is due or the run ends here."""
        last, options = self._rows[-1] if self._rows else None, self._job.options
        planner, devices = self._replanner, self.federation.devices
        row = RoundMetrics(
            round=len(self._rows) + 1,
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
            aggregation_error=result.aggregation_error,
            plan=self._saved.plan,
            drift=planner.drift(self._plan, devices) if planner else None,
        )
        ends = _stop_reason([*self._rows, row], options) is not None
        if row.round % options.eval_every and not ends:
            return row
        score = self.federation.evaluate(result.state)
        return msgspec.structs.replace(row, test_accuracy=score.accuracy, test_loss=score.loss)

    def _finish(self, reason: str) -> Summary:
        """Write the adapter and the summary."""
        job, last, state = self._job, self._rows[-1], self._saved.server
        final = (
            Score(last.test_loss, last.test_accuracy)
            if last.test_accuracy is not None and last.test_loss is not None
            else self.federation.evaluate(state)
        )
        save_adapter(job.out / "adapter", self.federation.base, self._plan, state)
        given = job.sources
        inputs = [job.plan_path, *given.data_files, given.fleet, given.trace]
        origin = provenance(
            seed=job.options.seed,
            options=job.options.as_text(),
            inputs=[path for path in inputs if path],
        )
        summary = summarise(self._plan, self.federation, self._rows, final, reason, origin)
        write(job.out / "summary.json", summary)
        return summary


def _stop_reason(rows: list[RoundMetrics], options: RunOptions) -> str | None:
    """Why no further round is played, or None."""
    if rows and options.target_accuracy is not None:
        accuracies = [row.test_accuracy for row in rows if row.test_accuracy is not None]
        if accuracies and max(accuracies) >= options.target_accuracy:
            return "target accuracy"
    if rows and options.time_limit_s and rows[-1].virtual_time_s >= options.time_limit_s:
        return "time limit"
    return "rounds" if len(rows) >= options.rounds else None
