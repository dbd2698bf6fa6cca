"""Commands `solve`, `verify`, `compare` and `frontier`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from solver import methods
from solver.options import FLEET, JSON, budgets, given, problem_fields
from solver.policies import POLICIES, described

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console

    from profiler.schema import Fleet
    from solver.frontier import Point
    from solver.outcome import Outcome
    from solver.prices import Price
    from solver.problem import Problem

T = TypeVar("T")


@click.command(epilog=f"{described()}\n\n{methods.described()}")
@FLEET
@budgets
@click.option(
    "--policy",
    type=click.Choice(list(POLICIES)),
    default="exact",
    metavar="NAME",
    help="Way to plan, see below.  [exact]",
)
@click.option(
    "--objective",
    type=click.Choice(["utility", "time", "efficiency", "legend"]),
    default="utility",
    help="Most utility, least time, most utility a second; 'legend': everybody as deep as "
    "possible, ties by utility.",
)
@click.option(
    "--structure",
    type=click.Choice(["shared", "capped", "own"]),
    default="shared",
    help="One rank per layer for all devices, the same up to a cap per device, or ranks of its "
    "own for every device.",
)
@click.option("--min-utility", type=float, help="Least utility, for time and efficiency.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="CHANGE",
    help="What if: 'device=tx2-03,uplink_mbps=5', 'class=NAME,memory_gb=4' or "
    "'link=ap-1,uplink_mbps=50'.",
)
@click.option(
    "--method",
    type=click.Choice(methods.METHODS),
    default="auto",
    metavar="NAME",
    help="How policy 'exact' solves, see below.  [auto]",
)
@click.option(
    "--backend", type=click.Choice(["highs", "cbc"]), default="highs", help="MILP solver."
)
@click.option(
    "--time-limit",
    "time_limit_s",
    type=float,
    metavar="S",
    help="Stop after S seconds with the best plan so far; exit code 4 if that leaves a gap.",
)
@click.option(
    "--leave-out",
    type=click.Choice(["nobody", "unable"]),
    default="nobody",
    help="Leave out devices that cannot train even the least configuration.",
)
@click.option(
    "--prices", "want_prices", is_flag=True, help="Say what one more unit of each budget buys."
)
@click.option(
    "--like",
    type=click.Path(path_type=Path),
    metavar="PLAN",
    help="Ask the question of this plan again, of FLEET; no other option of the question.",
)
@click.option("--seed", type=int, default=0, help="Seed of every random choice.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the plan here.")
@JSON
@click.pass_context
def solve(
    ctx: click.Context,
    /,
    fleet_path: Path,
    output: Path | None,
    like: Path | None,
    as_json: bool,
    seed: int,
    changes: tuple[str, ...],
    want_prices: bool,
    **options: Any,
) -> None:
    r"""Find depth and ranks for every device of FLEET.

    \b
    legend solve fleet.json --round-time 30 -o plan.json
    legend solve fleet.json --round-time 30 --mean-wait 5 --policy legend
    legend solve fleet.json --objective time --min-utility 0.8
    legend solve fleet-today.json --like plan.json -o plan-today.json
    legend solve fleet.json --round-time 30 --cache auto --upload-codec int8
    """
    from profiler.schema import read_fleet, write
    from solver.deadline import within
    from solver.planner import solve as plan_problem
    from solver.problem import Problem
    from solver.whatif import changed

    fleet = changed(read_fleet(fleet_path), changes)
    if like is not None:
        problem = _again(fleet, like)
    else:
        problem = Problem.of(
            fleet,
            policy=options["policy"],
            objective=options["objective"],
            structure=options["structure"],
            min_utility=options["min_utility"],
            leave_out=options["leave_out"],
            **problem_fields(options),
        )
    using = _method(options, problem.question.policy, seed)
    options["set"] = "; ".join(changes) or None
    inputs = (fleet_path,) if like is None else (fleet_path, like)
    with within(options["time_limit_s"]) as clock:
        plan = plan_problem(
            problem, using=using, seed=seed, options=given(options), inputs=inputs
        )
    # Less than what was asked for: the time ended before the gap was closed.
    code = 4 if clock.cut_short and plan.certificate.status == "feasible" else 0
    if output is not None:
        write(output, plan)
    prices = _prices(problem) if want_prices else []
    if as_json:
        click.echo(msgspec.json.encode({"plan": plan, "prices": prices} if prices else plan))
        ctx.exit(code)
    from solver.tables import plan_view, prices_table

    console = _console()
    console.print(plan_view(plan, console.width))
    if prices:
        console.print(prices_table(prices))
    if output is not None:
        click.echo(f"plan written to {output}", err=True)
    ctx.exit(code)


# What `solve` may be told beside --like: how to solve and what to print, not what is asked.
_BESIDE_LIKE = {
    "fleet_path", "output", "as_json", "seed", "changes", "want_prices", "like", "method",
    "backend", "time_limit_s",
}  # fmt: skip


def _again(fleet: "Fleet", like: Path) -> "Problem":
    """Pose the question of a plan for another fleet, or the same one as it is now."""
    from solver.plan import InputError, read_plan
    from solver.problem import Problem

    ctx = click.get_current_context()
    for name in sorted(ctx.params.keys() - _BESIDE_LIKE):
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            flag = next(p.opts[0] for p in ctx.command.params if p.name == name)
            raise InputError(f"{flag} and --like both say what is asked; give one of them")
    question = read_plan(like).question
    posed = Problem.of(
        fleet,
        policy=question.policy,
        weights=question.weights,
        ranks=question.rank_choices,
        min_depth=question.min_depth,
    )
    return posed.asking(question)


def _prices(problem: "Problem") -> "list[Price]":
    from solver.prices import prices

    return prices(problem)


def _method(
    options: dict[str, Any], policy: str, seed: int
) -> "Callable[[Problem], Outcome] | None":
    """The method of the exact policy; None for another policy, which is its own."""
    from functools import partial

    from solver.plan import InputError

    if policy == "exact":
        chosen = {name: options[name] for name in ("method", "backend")}
        return partial(methods.plan_with, seed=seed, **chosen)
    if options["method"] != "auto":
        raise InputError(
            f"policy '{policy}' has no method '{options['method']}'; --method is "
            "for --policy exact"
        )
    return None


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


@click.command()
@FLEET
@budgets
@click.option(
    "--policy",
    "chosen",
    multiple=True,
    type=click.Choice(list(POLICIES)),
    metavar="NAME",
    help="Only this one, or several; see 'legend solve --help'.",
)
@click.option(
    "--plan",
    "plans",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A plan of this fleet to show beside them, such as of 'legend plan-from-peft'.",
)
@JSON
def compare(
    fleet_path: Path,
    chosen: tuple[str, ...],
    plans: tuple[Path, ...],
    as_json: bool,
    **options: Any,
) -> None:
    r"""Plan FLEET with every policy and show the plans side by side.

    The gap is to the best plan of any structure: ranks of its own for every device.

    \b
    legend compare fleet.json --round-time 30
    legend compare fleet.json --policy exact --plan mine.json
    """
    from profiler.schema import read_fleet
    from solver.compare import compare_plans, compare_policies

    fleet, fields = read_fleet(fleet_path), problem_fields(options)
    rows = compare_policies(fleet, _watched(chosen or tuple(POLICIES), "policies"), fields)
    rows += compare_plans(fleet, plans, fields)
    if as_json:
        click.echo(msgspec.json.encode([_comparison_record(row) for row in rows]))
        return
    from solver.compare_table import comparison_view

    console = _console()
    console.print(comparison_view(rows, console.width))


def _comparison_record(row: Any) -> dict[str, object]:
    plan = row.plan
    return {
        "policy": row.policy,
        "gap_fraction": row.gap_fraction,
        "reason": row.reason,
        "predicted": None if plan is None else plan.predicted,
        "question": None if plan is None else plan.question,
    }


@click.command()
@FLEET
@budgets
@click.option(
    "--points", type=click.IntRange(2, 10_000), default=20, help="Round times to plan for."
)
@click.option("--all", "whole", is_flag=True, help="Every step of the curve instead of some.")
@click.option(
    "--picture", type=click.Path(path_type=Path), help="Draw it here too, .svg or .png."
)
@JSON
def frontier(
    fleet_path: Path,
    points: int,
    whole: bool,
    picture: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    r"""Show the largest utility for every round time: the Pareto curve.

    \b
    legend frontier fleet.json --points 100 --json
    legend frontier fleet.json --all --ranks 4,8,16 --picture frontier.svg
    """
    from profiler.schema import read_fleet
    from solver.problem import Problem

    problem = Problem.of(read_fleet(fleet_path), **problem_fields(options))
    found = _whole_curve(problem) if whole else _some_points(problem, points)
    if picture is not None:
        from solver.frontier_picture import draw

        draw(found, picture)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("round time s", "utility", "gap", "mean depth", "mean wait s"):
        table.add_column(name, justify="right")
    for p in found:
        table.add_row(
            f"{p.round_time_s:.4g}",
            f"{p.utility:.5f}",
            f"{p.gap_fraction:.3%}",
            f"{p.mean_depth:.2f}",
            f"{p.mean_wait_s:.3g}",
        )
    _console().print(table)


def _some_points(problem: "Problem", points: int) -> "list[Point]":
    from solver.frontier import frontier_points

    return frontier_points(problem, points, lambda times: _watched(times, "round times"))


def _whole_curve(problem: "Problem") -> "list[Point]":
    """Every step, shortest round first, with progress on stderr."""
    from solver.frontier import every_step

    return list(_watched(every_step(problem), "steps of the curve"))[::-1]


def _watched(work: "Iterable[T]", words: str) -> "Iterable[T]":
    """Hand work on piece by piece; on a terminal, show on stderr how far it is."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(work, words, console=console, transient=True, disable=not console.is_terminal)


def _console() -> "Console":
    """Stdout, as wide as tables need where it is not a terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=140)
