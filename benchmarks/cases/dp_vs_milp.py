"""The dynamic program against general solvers on the same question."""

import statistics
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from benchmarks.child import TimedOut, in_child
from benchmarks.peers import load, ready
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure

if TYPE_CHECKING:
    from solver.problem import Problem

TARGET_RATIO = 1000.0
AGREEMENT = 1e-6
REPEATS = 7
QUICK_LIMIT_S = 5.0
# Time to build the program, and what solvers overrun their limits by.
KILLED_AFTER_S = 60.0
WITHOUT_CP_SAT = "CP-SAT is left out: pip install 'legend-planner[bench]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Devices of `paper-80` with a model and rank choices."""

    devices: int
    model: str
    ranks: tuple[int, ...]
    label: str


def _roberta(*ranks: int) -> Instance:
    return Instance(
        devices=80,
        model="roberta-base",
        ranks=ranks,
        label=f"80 devices x 12 layers x {len(ranks)} ranks",
    )


EIGHT = _roberta(1, 2, 4, 8, 12, 16, 24, 32)
SIXTEEN = _roberta(1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 56, 64)
# What `legend solve` offers where nobody says which.
ALL_RANKS = _roberta(*range(1, 65))
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
    limit_s : float
        Of the solve call; the quick form allows `QUICK_LIMIT_S` at most.
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


MIXED_INTEGER = ("PuLP+CBC", "PuLP+HiGHS", "scipy")
PEERS = (
    *(Peer(instance=EIGHT, form="arcs", solver=s) for s in MIXED_INTEGER),
    Peer(instance=EIGHT, form="arcs", solver="CP-SAT"),
    *(Peer(instance=SIXTEEN, form="arcs", solver=s) for s in MIXED_INTEGER),
    Peer(instance=SIXTEEN, form="arcs", solver="CP-SAT", limit_s=30.0, full_only=True),
    *(Peer(instance=ALL_RANKS, form="arcs", solver=s, full_only=True) for s in MIXED_INTEGER),
    *(Peer(instance=SMALL, form="disaggregated", solver=s) for s in MIXED_INTEGER[:2]),
    Peer(
        instance=EIGHT, form="disaggregated", solver="PuLP+HiGHS", limit_s=20.0, full_only=True
    ),
)

PROTOCOL = f"""
Instances are fleets of preset paper-80, seeds 0 up, at 1.5 times the least feasible round
time, ranks shared, utility maximised; of 8, 16 (as far as 64) and all 64 ranks, which is what
`legend solve` takes by default. Every pair of seed and peer has a fresh process. In it
the dynamic program runs {REPEATS} times before and {REPEATS} times after the peer; its time is
the median, from the posed problem to the allocation, capacities included. The peer's time is
that of its solve call alone: PuLP's hand-over of the model counts, building the model does not,
except where the figure says so; loading libraries counts nowhere. Peers run with their default
threads and a gap of 0. 'arcs' is the strongest program known to us (a path over prefix sums,
whose relaxation is whole), for 'scipy' written as sparse matrices and solved by
`scipy.optimize.milp`; 'disaggregated' is the program one would write down first. Solve calls
may take 60 s, CP-SAT at 16 ranks 30 s, the disaggregated form at 80 devices 20 s, and
{QUICK_LIMIT_S:g} s in the quick form; what runs on is killed {KILLED_AFTER_S:g} s later.
'proven' counts the seeds on which the peer proved its optimum; where its time was up, its time
is the limit, so the ratio a floor. CP-SAT is not given 64 ranks: it takes most of its time at
16. At 8 ranks the time of the dynamic program is that of calling numpy, not of its arithmetic,
so the ratio grows with the ranks.
"""


def measure(job: Job) -> list[Figure]:
    """Time every peer on every seed; peers alternate within a seed."""
    peers = [p for p in PEERS if _installed(p, job) and not (job.quick and p.full_only)]
    found: dict[Peer, list[dict[str, Any]]] = {peer: [] for peer in peers}
    for seed in range(job.seeds):
        for peer in peers:
            job.say(f"seed {seed}: {peer.label}")
            limit_s = min(peer.limit_s, QUICK_LIMIT_S) if job.quick else peer.limit_s
            found[peer].append(_one(peer, seed, limit_s))
    return [one for peer in peers for one in _figures(peer, found[peer])]


def _installed(peer: Peer, job: Job) -> bool:
    here = peer.solver != "CP-SAT" or find_spec("ortools") is not None
    if not here and WITHOUT_CP_SAT not in job.notes:
        job.notes.append(WITHOUT_CP_SAT)
    return here


def _one(peer: Peer, seed: int, limit_s: float) -> dict[str, Any]:
    instance = peer.instance
    arguments = {
        "devices": instance.devices,
        "model": instance.model,
        "ranks": instance.ranks,
        "form": peer.form,
        "solver": peer.solver,
        "limit_s": limit_s,
        "seed": seed,
    }
    try:
        found: dict[str, Any] = in_child(race, arguments, timeout_s=limit_s + KILLED_AFTER_S)
    except TimedOut:
        # It ran past its own limit: time the dynamic program alone.
        found = in_child(race, {**arguments, "solver": ""}, timeout_s=120.0)
        found |= {"solve_s": limit_s, "proven": False, "difference": None}
    return found


def race(
    *,
    devices: int,
    model: str,
    ranks: list[int],
    form: str,
    solver: str,
    limit_s: float,
    seed: int,
) -> dict[str, Any]:
    """Time the dynamic program and one peer on one instance; runs in a process of its own."""
    load(solver)
    from benchmarks.instances import paper_80
    from solver.allocation import utility
    from solver.exact import maximise_utility

    problem = paper_80(seed, devices=devices, model=model, ranks=ranks)
    value = maximise_utility(problem).value
    times = _dp_times(problem)
    if not solver:
        return {"dp_s": times}
    began = time.perf_counter()
    peer = ready(problem, form, solver, limit_s)
    built = time.perf_counter()
    proven, solution = peer.solve()
    ended = time.perf_counter()
    times += _dp_times(problem)
    other = utility(problem, peer.read(solution)) if proven else None
    return {
        "dp_s": times,
        "build_s": built - began,
        # At most the limit where its time was up: a floor, not what it overran.
        "solve_s": ended - built if proven else min(ended - built, limit_s),
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


def _figures(peer: Peer, runs: list[dict[str, Any]]) -> list[Figure]:
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
    shortfall=(
        "With 8 ranks, and on the tiny instances that the plainly written program solves at "
        "all, the dynamic program takes the time of calling numpy, not of its arithmetic; "
        "the ratio grows with the ranks."
    ),
    protocol=PROTOCOL,
    seeds=10,
    quick_seeds=3,
    measure=measure,
)
