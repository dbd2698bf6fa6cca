"""The ServerApp: the ordinary run, with SuperNodes as its engine."""

import time
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from finetune.devices import devices_of, participants
from finetune.exchange.messages import Engine
from finetune.flower.engine import Deadline, FlowerEngine
from finetune.flower.events import STOP_FILE, EventLog, Outcome, write_outcome
from finetune.flower.roster import Roster
from finetune.flower.settings import Settings, from_config
from finetune.flower.supported import check_supported
from finetune.options import RunOptions
from finetune.run import Sources, Stopped, run
from finetune.session.setup import Remote
from solver.plan import InputError, read_plan

__all__ = ["make_app"]


def make_app(folder: Path) -> ServerApp:
    """ServerApp of an app in `folder`, where its plan is, unless it is named in full."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        settings, options = from_config(context.run_config, folder)
        log = EventLog(Path(settings.out) / "flower")
        try:
            _serve(grid, settings, options, log)
        except (InputError, Stopped) as error:
            write_outcome(log.folder, Outcome(code=error.exit_code, message=str(error)))
            print(f"legend: {error}", flush=True)
            raise SystemExit(error.exit_code) from None
        write_outcome(log.folder, Outcome())

    return app


def _serve(grid: Grid, settings: Settings, options: RunOptions, log: EventLog) -> None:
    plan_path = Path(settings.plan)
    plan = read_plan(plan_path)
    check_supported(plan, options)

    def pause(seconds: float) -> None:
        if (log.folder / STOP_FILE).exists():
            raise KeyboardInterrupt
        time.sleep(seconds)

    known = [name for name, _ in devices_of(plan)]
    needed = [device.name for device in participants(plan)]
    roster = Roster(grid, known, needed, log.say)
    log.say(f"waiting for {len(needed)} devices")
    try:
        roster.gather(settings.wait_s, pause)
    except KeyboardInterrupt:
        raise Stopped(
            "stopped before every device was there; start over with the same command"
        ) from None

    def connect(labels: list[str]) -> Engine:
        return FlowerEngine(
            grid,
            roster,
            plan,
            options,
            labels,
            deadline=Deadline(settings.deadline_slack, plan.question.budgets.round_time_s),
            pause=pause,
            on_report=log.report,
        )

    test, fleet, trace = (
        Path(path) if path else None
        for path in (settings.test_data, settings.fleet, settings.trace)
    )
    run(
        plan_path,
        Sources(Path(settings.model), Path(settings.data), test, fleet, trace),
        Path(settings.out),
        options,
        resume=settings.resume,
        progress=log,
        remote=Remote(connect, test_only=settings.data_is == "test"),
    )
