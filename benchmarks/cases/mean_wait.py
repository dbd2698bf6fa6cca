"""Most utility under a mean wait, proven."""

from typing import Any

from benchmarks.child import in_child
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure
from solver.plan import Structure

RANKS = range(1, 66)
SHARES = (0.9, 0.6)
# Name, devices, layers.
INSTANCES = (("paper-80", 80, 12), ("llama-2-7b", 80, 32), ("llama-2-7b", 1000, 32))
# Seconds and gap by structure of the ranks; caps as in the case 'capped', without a wait.
TARGETS: dict[Structure, tuple[float, float]] = {
    "shared": (1.0, 1e-9),
    "own": (1.0, 1e-4),
    "capped": (5.0, 1e-3),
}
# Ranks that are not shared are looked at on these.
FEWER = (("paper-80", 80, 12), ("paper-80", 1000, 12))

PROTOCOL = f"""
Fleets of preset paper-80 (12 layers) and of two server classes that train Llama-2-7B (32
layers, as in dp-scale), ranks 1 to 65 shared, utility maximised at 1.5 times the least
feasible round time. The budget on the mean wait is {SHARES[0]} and {SHARES[1]} of what the best
plan without one waits. Every pair of seed and setting has a fresh process, where a few devices
are planned first, to load what is loaded lazily. Ranks of devices' own and capped ones are
asked for on paper-80 with {FEWER[0][1]} and {FEWER[1][1]} devices, at shares of the waits of
their own best plans without one. Seconds are those of `maximise_utility`, by wall clock and by
CPU time of the process, with one thread. 'solved' counts the seeds with a
plan; where none was found there is no gap.
"""


def measure(job: Job) -> list[Figure]:
    """Plan for every instance, share and seed."""
    shared, other = (INSTANCES[:2], FEWER[:1]) if job.quick else (INSTANCES, FEWER)
    asked: list[tuple[Structure, tuple[str, int, int]]] = [
        *(("shared", instance) for instance in shared),
        *(("own", instance) for instance in other),
        *(("capped", instance) for instance in other),
    ]
    figures = []
    for structure, (name, devices, layers) in asked:
        for share in SHARES:
            kind = "" if structure == "shared" else f" {structure}"
            setting = (
                f"{devices} devices x {layers} layers x {len(RANKS)}{kind} ranks, {share:g} of "
                "the wait"
            )
            runs = []
            for seed in range(job.seeds):
                job.say(f"seed {seed}: {setting}")
                runs.append(
                    in_child(
                        plan,
                        {
                            "name": name,
                            "devices": devices,
                            "share": share,
                            "seed": seed,
                            "structure": structure,
                        },
                        environment={"OMP_NUM_THREADS": "1"},
                    )
                )
            solved = sum(run["gap_fraction"] is not None for run in runs)
            figures += _figures(
                f"{setting}; solved {solved} of {len(runs)}", runs, *TARGETS[structure]
            )
    return figures


def _figures(
    setting: str, runs: list[dict[str, Any]], target_s: float, target_gap: float
) -> list[Figure]:
    gaps = [run["gap_fraction"] for run in runs if run["gap_fraction"] is not None]
    figures = [
        figure("planning time", [run["wall_s"] for run in runs], "s", setting=setting),
        figure(
            "CPU time", [run["cpu_s"] for run in runs], "s", setting=setting, target=target_s
        ),
    ]
    if gaps:
        figures.append(
            figure(
                "gap to the bound", gaps, "1",
                setting=setting, target=target_gap, judged="worst",
            )
        )  # fmt: skip
    return figures


def plan(
    name: str, devices: int, share: float, seed: int, structure: Structure
) -> dict[str, float | None]:
    """Pose and solve one problem; runs in a process of its own."""
    import time

    from solver.allocation import mean_wait_s
    from solver.errors import Infeasible
    from solver.exact import maximise_utility
    from solver.outcome import relative_gap

    few = _problem(name, 3, seed, structure)
    _limited(few, maximise_utility(few), 0.9)
    problem = _problem(name, devices, seed, structure)
    free = maximise_utility(problem)
    limited = problem.under(mean_wait_s=share * mean_wait_s(problem, free.allocation))
    wall, cpu = time.perf_counter(), time.process_time()
    gap: float | None
    try:
        outcome = maximise_utility(limited)
        gap = relative_gap(outcome.value, outcome.bound or 0.0, "utility")
    except Infeasible:
        gap = None
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "gap_fraction": gap,
    }


def _limited(problem: Any, free: Any, share: float) -> None:
    from solver.allocation import mean_wait_s
    from solver.errors import Infeasible
    from solver.exact import maximise_utility

    try:
        maximise_utility(
            problem.under(mean_wait_s=share * mean_wait_s(problem, free.allocation))
        )
    except Infeasible:
        return


def _problem(name: str, devices: int, seed: int, structure: Structure = "shared") -> Any:
    from msgspec.structs import replace

    from benchmarks.cases.dp_scale import instance
    from benchmarks.instances import paper_80
    from solver.problem import Problem

    if name == "paper-80":
        problem = paper_80(seed, devices=devices, ranks=RANKS)
    else:
        fleet, rows, round_time_s = instance(devices, seed)
        problem = Problem.of(fleet, ranks=RANKS, round_time_s=round_time_s, devices=rows)
    return problem.asking(replace(problem.question, structure=structure))


CASE = Case(
    name="mean-wait",
    summary="How long does the proven optimum under a mean wait take?",
    shortfall=(
        "Proving the bound takes the time: with the best plan given from the start, 0.6 of "
        "the wait takes as long."
    ),
    protocol=PROTOCOL,
    seeds=10,
    quick_seeds=3,
    measure=measure,
)
