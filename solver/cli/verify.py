"""Command `verify`: whether a plan holds for a fleet."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from solver.cli.options import CHANGES, FLEET, JSON

if TYPE_CHECKING:
    from profiler.schema import Fleet
    from solver.check import Check
    from solver.plan import Plan


@click.command()
@click.argument("plan_path", metavar="PLAN", type=click.Path(path_type=Path))
@FLEET
@click.option("--exact", is_flag=True, help="Count the memory of the plan's adapters anew.")
@click.option(
    "--model", type=click.Path(path_type=Path), help="With --exact: the model's folder."
)
@CHANGES
@JSON
@click.pass_context
def verify(
    ctx: click.Context,
    plan_path: Path,
    fleet_path: Path,
    exact: bool,
    model: Path | None,
    changes: tuple[str, ...],
    as_json: bool,
) -> None:
    r"""Check PLAN against FLEET independently; exit 0 only if everything holds.

    Every cost, budget and figure is recomputed from the raw profiles by code that shares
    nothing with the solvers. The bound is not, which takes solving again ('legend solve FLEET
    --like PLAN'); but a seal shows where question or certificate were edited. With --exact,
    the memory of the very adapters in the plan is counted tensor by tensor besides (this needs
    torch). A plan for a what-if holds for the fleet so changed: give the same --set.

    \b
    legend verify plan.json fleet.json
    legend verify plan.json fleet.json --exact --model FOLDER
    legend verify what-if.json fleet.json --set all,memory_gb=4
    """
    from profiler.schema import InputError, read_fleet
    from solver.check import check
    from solver.plan import read_plan
    from solver.whatif import changed

    if exact != (model is not None):
        raise InputError("--exact and --model FOLDER go together; give both or neither")
    plan, fleet = read_plan(plan_path), changed(read_fleet(fleet_path), changes)
    verdict = check(plan, fleet)
    counted = None
    if model is not None and verdict.ok:
        from solver.exact_memory import exact_memory, report_lines

        counted = exact_memory(plan, fleet, model)
    ok = verdict.ok and (counted is None or counted.ok)
    notes = [*verdict.notes, *_fleet_notes(plan, fleet, fleet_path, changes)]
    if as_json:
        report = {"ok": ok, "checks": verdict.checks, "notes": notes}
        click.echo(msgspec.json.encode(report | ({"exact": counted} if exact else {})))
    else:
        for failure in verdict.failed:
            click.echo(f"FAILED {_said(failure)}")
        held = len(verdict.checks) - len(verdict.failed)
        click.echo(
            f"{held} of {len(verdict.checks)} checks hold: {plan_path} against {fleet_path}"
        )
        for note in notes:
            click.echo(f"note: {note}")
        if counted is not None:
            click.echo("\n".join(report_lines(counted, plan)))
    ctx.exit(0 if ok else 2)


def _said(failure: "Check") -> str:
    """A check that does not hold, in a line."""
    values = ""
    if failure.seen is not None or failure.expected is not None:
        values = f"seen {_short(failure.seen)}, expected {_short(failure.expected)}"
    return f"{failure.name}: " + "; ".join(filter(None, (values, failure.detail)))


def _short(value: float | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.9g}"
    # Nobody compares 64 digits.
    return f"{value[:12]}…" if isinstance(value, str) and len(value) == 64 else str(value)


def _fleet_notes(
    plan: "Plan", fleet: "Fleet", path: Path, changes: tuple[str, ...]
) -> list[str]:
    """What speaks against the plan's bound being one for the fleet in this file."""
    import hashlib

    from profiler.schema import read_bytes

    made = plan.provenance
    asked, given = made.options.get("set", ""), "; ".join(changes)
    if made.same_what_if(fleet.provenance):
        return []
    if asked and asked != given:
        return [
            f"the plan answers a what-if ({asked}); its bound is of the fleet so changed, "
            "which the same --set gives"
        ]
    if given and not asked:
        return [
            "the plan is not one for a what-if, so its bound is not known to hold with --set"
        ]
    if not path.is_file():
        return [
            f"{path} is no file that stays, so it is not known if the plan was made from it"
        ]
    seen = hashlib.sha256(read_bytes(path)).hexdigest()
    if made.inputs and all(file.sha256 != seen for file in made.inputs):
        return [
            f"{path} is not the very file that the plan was made from, so its bound is not "
            "known to hold for this fleet"
        ]
    return []
