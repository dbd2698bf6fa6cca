"""Command `solve`: the best plan for a fleet, with its certificate."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import msgspec

from solver import methods
from solver.cli.again import again, earlier
from solver.cli.options import (
    CHANGES,
    FILL_WAIT,
    FLEET,
    JSON,
    LEAVE_OUT,
    NEXT_LAYER,
    STRUCTURE,
    budgets,
    given,
    naming,
    problem_fields,
)
from solver.cli.terminal import console, waiting
from solver.milp.run import Backend
from solver.policies import POLICIES, described
from solver.question import Objective

if TYPE_CHECKING:
    from collections.abc import Callable

    from solver.outcome import Outcome
    from solver.plan import Plan
    from solver.problem import Problem


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
    type=click.Choice(get_args(Objective)),
    default="utility",
    show_default=True,
    help="Most utility, least time, most utility a second; 'legend': everybody as deep as "
    "possible, ties by utility.",
)
@STRUCTURE
@click.option("--min-utility", type=float, help="Least utility, for time and efficiency.")
@CHANGES
@click.option(
    "--method",
    type=click.Choice(methods.METHODS),
    default="auto",
    metavar="NAME",
    help="How policy 'exact' solves, see below.  [auto]",
)
@click.option(
    "--backend",
    type=click.Choice(get_args(Backend)),
    help="Solver of the methods that are mixed-integer programs.  [highs]",
)
@click.option(
    "--time-limit",
    "time_limit_s",
    type=float,
    metavar="S",
    help="Stop after S seconds with the best plan so far; exit code 4 if that leaves a gap.",
)
@FILL_WAIT
@LEAVE_OUT
@click.option(
    "--prices", "want_prices", is_flag=True, help="Say what one more unit of each budget buys."
)
@NEXT_LAYER
@click.option(
    "--write-program",
    "program",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the question's mixed-integer program here too, .lp or .mps.",
)
@click.option(
    "--like",
    type=click.Path(path_type=Path),
    metavar="PLAN",
    help="Ask the question of this plan again, of FLEET; no other option of the question.",
)
@click.option(
    "--keep-within",
    type=float,
    metavar="SHARE",
    help="Stay with the ranks and depths of --like PLAN where that loses no more than this "
    "share of the bound, such as 0.02.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, help="Seed of every random choice.  [0]"
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the plan here.")
@JSON
@click.pass_context
def solve(
    ctx: click.Context,
    /,
    fleet_path: Path,
    output: Path | None,
    like: Path | None,
    keep_within: float | None,
    as_json: bool,
    seed: int,
    changes: tuple[str, ...],
    want_prices: bool,
    want_next: bool,
    program: Path | None,
    **options: Any,
) -> None:
    r"""Find depth and ranks for every device of FLEET.

    \b
    legend solve fleet.json --round-time 30 -o plan.json
    legend solve fleet.json --round-time 30 --mean-wait 5 --policy legend
    legend solve fleet.json --objective time --min-utility 0.8
    legend solve fleet-today.json --like plan.json -o plan-today.json
    legend solve fleet-today.json --like plan.json --keep-within 0.02 -o plan-today.json
    legend solve fleet.json --round-time 30 --cache auto --upload-codec int8
    legend solve fleet.json --round-time 30 --prices --next-layer
    """
    from profiler.schema import check_writable, read_fleet, write
    from solver.cli.beside import lacking, priced, views
    from solver.deadline import within
    from solver.planner import solve as plan_problem
    from solver.problem import Problem
    from solver.whatif import changed

    for path in filter(None, (output, program)):
        check_writable(path, fleet_path)
    fleet = changed(read_fleet(fleet_path), changes)
    with naming(fleet_path):
        keep = earlier(fleet, like, keep_within)
        if like is not None:
            problem = again(fleet, like)
        else:
            problem = Problem.of(
                fleet,
                policy=options["policy"],
                objective=options["objective"],
                min_utility=options["min_utility"],
                **problem_fields(options),
            )
    using = _method(options, problem.question.policy, seed)
    _refuse_unused(problem, want_prices=want_prices)
    if program is not None:
        _write_program(problem, program)
    options["set"] = "; ".join(changes) or None
    options["keep_within"] = keep_within
    inputs = (fleet_path,) if like is None else (fleet_path, like)
    with waiting("planning"), within(options["time_limit_s"]) as clock:
        plan = plan_problem(
            problem,
            using=using,
            seed=seed,
            options=given(options),
            inputs=inputs,
            keep=keep,
            keep_within=keep_within,
        )
    # Less than what was asked for: the time ended before the gap was closed.
    code = 4 if clock.cut_short and plan.certificate.status == "feasible" else 0
    if output is not None:
        write(output, plan)
    beside = priced(problem) if want_prices else {}
    beside |= lacking(plan, fleet) if want_next else {}
    _note_backend(options["backend"], plan)
    _note_storage(problem)
    if as_json:
        click.echo(msgspec.json.encode({"plan": plan, **beside} if beside else plan))
        ctx.exit(code)
    from solver.show.plans import plan_view

    shown = console()
    shown.print(plan_view(plan, shown.width))
    for each in views(beside, plan):
        shown.print(each)
    if output is not None:
        click.echo(f"wrote {output}", err=True)
    ctx.exit(code)


def _method(
    options: dict[str, Any], policy: str, seed: int
) -> "Callable[[Problem], Outcome] | None":
    """The method of the exact policy; None for another policy, which is its own."""
    from functools import partial

    from profiler.schema import InputError

    chosen = {name: options[name] for name in ("method", "backend")}
    if policy == "exact":
        return partial(methods.plan_with, seed=seed, **chosen)
    if chosen["method"] == "auto":
        del chosen["method"]
    for name, value in chosen.items():
        if value is not None:
            raise InputError(
                f"policy '{policy}' has no {name} '{value}'; --{name} is for --policy exact"
            )
    return None


def _refuse_unused(problem: "Problem", *, want_prices: bool) -> None:
    """Refuse what another policy or objective would silently not heed."""
    from profiler.schema import InputError

    question, source = problem.question, click.get_current_context().get_parameter_source
    asked = source("structure") is click.core.ParameterSource.COMMANDLINE
    if asked and question.policy != "exact":
        raise InputError(
            f"policy '{question.policy}' decides itself how ranks may differ; --structure is "
            "for --policy exact"
        )
    if want_prices and (question.policy, question.objective) != ("exact", "utility"):
        raise InputError(
            "prices are of the largest utility; --prices is for --policy exact and --objective "
            "utility"
        )


def _write_program(problem: "Problem", path: Path) -> None:
    """Write the program for other solvers, and say what its objective counts."""
    from solver.milp.write import write_program

    unit = write_program(problem, path)
    what = "seconds" if problem.question.objective == "time" else "utility"
    turned = ", to be minimised," if unit < 0 else ""
    click.echo(
        f"wrote {path}: one unit of its objective{turned} is {unit:.9g} of {what}", err=True
    )


def _note_backend(backend: str | None, plan: "Plan") -> None:
    """Say so where a solver was chosen and 'auto' had no use for one."""
    if backend is not None and methods.PROGRAM not in plan.certificate.method:
        click.echo(
            f"note: --backend {backend} was not used, as no mixed-integer program was run; "
            "--method milp runs one",
            err=True,
        )


def _note_storage(problem: "Problem") -> None:
    """Say so where caches are asked for and no device has room for one."""
    cache = problem.question.cache
    if cache != "off" and not any(d.storage_bytes for d in problem.fleet.devices):
        click.echo(
            f"note: cache '{cache}' keeps nothing, as no device has storage for it; give "
            "it in column storage_gb, by legend fleet --storage-gb, or --set all,storage_gb=4",
            err=True,
        )
