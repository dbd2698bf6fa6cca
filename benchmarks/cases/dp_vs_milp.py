"""The dynamic program against general solvers on the same question."""

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from benchmarks.child import TimedOut, in_child
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure

if TYPE_CHECKING:
    from solver.milp_model import Model
    from solver.problem import Problem

TARGET_RATIO = 1000.0
AGREEMENT = 1e-6
REPEATS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Devices of `paper-80` with a model and rank choices."""

    devices: int
    model: str
    ranks: tuple[int, ...]
    label: str


LARGE = Instance(
    devices=80,
    model="roberta-base",
    ranks=(1, 2, 4, 8, 12, 16, 24, 32),
    label="80 devices x 12 layers x 8 ranks",
)
ALL_RANKS = Instance(
    devices=80,
    model="roberta-base",
    ranks=tuple(range(1, 65)),
    label="80 devices x 12 layers x 64 ranks",
)
SMALL = Instance(
    devices=12,
    model="distilbert-base-uncased",
    ranks=(2, 4, 8, 16),
    label="12 devices x 6 layers x 4 ranks",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A program and who solves it.

    Attributes
    ----------
    full_only : bool
        Left out of the quick form, because it takes long.
    """

    instance: Instance
    form: str
    solver: str
    limit_s: float = 60.0
    full_only: bool = False

    @property
    def label(self) -> str:
        """Instance, form and solver."""
        return f"{self.instance.label}; {self.form}, {self.solver}"


PEERS = (
    Peer(instance=LARGE, form="arcs", solver="PuLP+CBC"),
    Peer(instance=LARGE, form="arcs", solver="PuLP+HiGHS"),
    Peer(instance=LARGE, form="arcs", solver="CP-SAT"),
    Peer(instance=ALL_RANKS, form="arcs", solver="PuLP+CBC", full_only=True),
    Peer(instance=ALL_RANKS, form="arcs", solver="PuLP+HiGHS", full_only=True),
    Peer(instance=SMALL, form="disaggregated", solver="PuLP+CBC"),
    Peer(instance=SMALL, form="disaggregated", solver="PuLP+HiGHS"),
    Peer(
        instance=LARGE, form="disaggregated", solver="PuLP+HiGHS", limit_s=20.0, full_only=True
    ),
)

PROTOCOL = f"""
Instances are fleets of preset paper-80, seeds 0 up, at 1.5 times the least feasible round
time, ranks shared, utility maximised. Every pair of seed and peer has a fresh process. In it
the dynamic program runs {REPEATS} times before and {REPEATS} times after the peer; its time is
the median, from the posed problem to the allocation, capacities included. The peer's time is
that of its solve call alone: PuLP's hand-over of the model counts, building the model does not,
except where the figure says so. Peers run with their default threads and a gap of 0. 'arcs' is
the strongest program known to us (a path over prefix sums, whose relaxation is whole);
'disaggregated' is the program one would write down first. 'proven' counts the seeds on which
the peer proved its optimum; where its time was up, its time is the limit, so the ratio a floor.
"""


def measure(job: Job) -> list[Figure]:
    """Time every peer on every seed; peers alternate within a seed."""
    peers = [p for p in PEERS if _installed(p, job) and not (job.quick and p.full_only)]
    found: dict[Peer, list[dict[str, Any]]] = {peer: [] for peer in peers}
    for seed in range(job.seeds):
        for peer in peers:
            job.say(f"seed {seed}: {peer.label}")
            found[peer].append(_one(peer, seed))
    return [one for peer in peers for one in _figures(peer, found[peer])]


def _installed(peer: Peer, job: Job) -> bool:
    here = peer.solver != "CP-SAT" or find_spec("ortools") is not None
    if not here:
        job.notes.append("CP-SAT is left out: pip install 'legend-planner[bench]'")
    return here


def _one(peer: Peer, seed: int) -> dict[str, Any]:
    instance = peer.instance
    arguments = {
        "devices": instance.devices,
        "model": instance.model,
        "ranks": instance.ranks,
        "form": peer.form,
        "solver": peer.solver,
        "limit_s": peer.limit_s,
        "seed": seed,
    }
    try:
        found: dict[str, Any] = in_child(race, arguments, timeout_s=3 * peer.limit_s + 60)
    except TimedOut:
        # It ran past its own limit: time the dynamic program alone.
        found = in_child(race, {**arguments, "solver": ""}, timeout_s=120)
        found |= {"solve_s": peer.limit_s, "proven": False, "difference": None}
    return found


def race(
    devices: int,
    model: str,
    ranks: list[int],
    form: str,
    solver: str,
    limit_s: float,
    seed: int,
) -> dict[str, Any]:
    """Time the dynamic program and one peer on one instance; runs in a process of its own."""
    if solver == "CP-SAT":
        # It brings a HiGHS of its own and does not load beside highspy unless it is first.
        importlib.import_module("ortools.sat.python.cp_model")
    from benchmarks.instances import paper_80
    from solver.allocation import utility
    from solver.exact import maximise_utility

    problem = paper_80(seed, devices=devices, model=model, ranks=ranks)
    value = maximise_utility(problem).value
    times = _dp_times(problem)
    if not solver:
        return {"dp_s": times}
    began = time.perf_counter()
    program = _program(problem, form)
    solve = _solver(program, solver, limit_s)
    built = time.perf_counter()
    proven, values = solve()
    ended = time.perf_counter()
    times += _dp_times(problem)
    other = utility(problem, program.read(values)) if values else None
    return {
        "dp_s": times,
        "build_s": built - began,
        "solve_s": ended - built,
        "proven": proven,
        "difference": None if other is None else abs(other - value) / value,
    }


def _dp_times(problem: "Problem") -> list[float]:
    from solver.exact import maximise_utility

    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        maximise_utility(problem)
        times.append(time.perf_counter() - began)
    return times


def _program(problem: "Problem", form: str) -> "Model":
    from solver.milp_arcs import arcs
    from solver.milp_model import disaggregated

    return {"arcs": arcs, "disaggregated": disaggregated}[form](problem)


def _solver(
    model: "Model", solver: str, limit_s: float
) -> Callable[[], tuple[bool, dict[str, float]]]:
    """Get ready; calling the result solves."""
    if solver == "CP-SAT":
        from benchmarks import cp_sat

        translated, variables = cp_sat.translate(model.program)

        def by_cp_sat() -> tuple[bool, dict[str, float]]:
            solution = cp_sat.solve(translated, variables, limit_s)
            return solution.proven, solution.values

        return by_cp_sat

    def by_pulp() -> tuple[bool, dict[str, float]]:
        import pulp

        program = model.program
        try:
            program.solve(_pulp_solver(solver, limit_s))
        except pulp.PulpSolverError:
            return False, {}
        proven = program.sol_status == pulp.LpSolutionOptimal
        values = {v.name: v.varValue for v in program.variables() if v.varValue}
        return proven, values if proven else {}

    return by_pulp


def _pulp_solver(solver: str, limit_s: float) -> Any:
    import pulp

    if solver == "PuLP+HiGHS":
        return pulp.HiGHS(msg=False, timeLimit=limit_s, gapRel=0.0)
    import cbcbox

    path = str(cbcbox.cbc_bin_path())
    return pulp.COIN_CMD(path=path, msg=False, timeLimit=limit_s, gapRel=0.0)


def _figures(peer: Peer, runs: list[dict[str, Any]]) -> list[Figure]:
    import statistics

    ours = [statistics.median(run["dp_s"]) for run in runs]
    proven = sum(run["proven"] for run in runs)
    label = f"{peer.label}; proven {proven} of {len(runs)}"
    alone = [run["solve_s"] / own for run, own in zip(runs, ours, strict=True)]
    figures = [
        figure("dynamic program", [1e3 * s for s in ours], "ms", setting=label),
        figure("peer", [1e3 * run["solve_s"] for run in runs], "ms", setting=label),
        figure(
            "peer / dynamic program", alone, "1",
            setting=label, target=TARGET_RATIO, better="high",
        ),
    ]  # fmt: skip
    if all("build_s" in run for run in runs):
        both = [
            (run["build_s"] + run["solve_s"]) / own for run, own in zip(runs, ours, strict=True)
        ]
        figures.append(figure("with building the model", both, "1", setting=label))
    differences = [run["difference"] for run in runs if run["difference"] is not None]
    if differences:
        figures.append(
            figure(
                "difference of optima", differences, "1",
                setting=label, target=AGREEMENT, judged="worst",
            )
        )  # fmt: skip
    return figures


CASE = Case(
    name="dp-vs-milp",
    summary="How much faster is the exact dynamic program than general solvers?",
    protocol=PROTOCOL,
    seeds=10,
    quick_seeds=3,
    measure=measure,
)
