"""Command `verify`: whether a plan holds for a fleet."""

from pathlib import Path

import click
import msgspec

from solver.cli.options import FLEET, JSON


@click.command()
@click.argument("plan_path", metavar="PLAN", type=click.Path(path_type=Path))
@FLEET
@click.option("--exact", is_flag=True, help="Count the memory of the plan's adapters anew.")
@click.option(
    "--model", type=click.Path(path_type=Path), help="With --exact: the model's folder."
)
@JSON
@click.pass_context
def verify(
    ctx: click.Context,
    plan_path: Path,
    fleet_path: Path,
    exact: bool,
    model: Path | None,
    as_json: bool,
) -> None:
    r"""Check PLAN against FLEET independently; exit 0 only if everything holds.

    Every cost, budget and figure is recomputed from the raw profiles by code that shares
    nothing with the solvers. With --exact, the memory of the very adapters in the plan is
    counted tensor by tensor besides (this needs torch).

    \b
    legend verify plan.json fleet.json
    legend verify plan.json fleet.json --exact --model FOLDER
    """
    from profiler.schema import read_fleet
    from solver.check import check
    from solver.plan import InputError, read_plan

    if exact != (model is not None):
        raise InputError("--exact and --model FOLDER go together; give both or neither")
    plan, fleet = read_plan(plan_path), read_fleet(fleet_path)
    verdict = check(plan, fleet)
    counted = None
    if model is not None and verdict.ok:
        from solver.exact_memory import exact_memory, report_lines

        counted = exact_memory(plan, fleet, model)
    ok = verdict.ok and (counted is None or counted.ok)
    if as_json:
        report = {"ok": ok, "checks": verdict.checks}
        click.echo(msgspec.json.encode(report | ({"exact": counted} if exact else {})))
    else:
        for failure in verdict.failed:
            seen, expected = failure.seen, failure.expected
            click.echo(
                f"FAILED {failure.name}: seen {seen}, expected {expected}. {failure.detail}"
            )
        held = len(verdict.checks) - len(verdict.failed)
        click.echo(
            f"{held} of {len(verdict.checks)} checks hold: {plan_path} against {fleet_path}"
        )
        if counted is not None:
            click.echo("\n".join(report_lines(counted, plan)))
    ctx.exit(0 if ok else 2)
