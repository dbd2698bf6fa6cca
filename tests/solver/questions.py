"""Random questions about random fleets: budgets that bind but rarely forbid everything."""

from typing import Any

import numpy as np
from msgspec.structs import replace

from profiler.schema import DepthCost, Fleet, Memory
from solver.allocation import mean_wait_s
from solver.exact import maximise_utility
from solver.least import least_round_time_s
from solver.problem import Problem
from tests.solver.exhaustive import need
from tests.solver.instances import random_fleet


def random_case(seed: int, *, devices: int = 4, **fleet: Any) -> tuple[Fleet, dict[str, Any]]:
    """A fleet and options of `Problem.of`; the seed picks everything not given."""
    rng = np.random.default_rng(seed)
    layers = int(rng.integers(1, 4))
    max_rank = int(rng.integers(2, 4))
    made = random_fleet(
        seed,
        layers=layers,
        classes=int(rng.integers(1, 3)),
        devices=int(rng.integers(1, devices + 1)),
        max_rank=max_rank,
        sizes=tuple(rng.choice([32, 64, 96], layers).tolist()) if rng.random() < 0.4 else (),
        concave=bool(rng.random() < 0.5),
        **fleet,
    )
    made = without_limits(made, rng) if rng.random() < 0.3 else made
    return made, random_options(made, rng)


def random_options(fleet: Fleet, rng: np.random.Generator) -> dict[str, Any]:
    layers, top = fleet.model.layers, fleet.gain.ranks[-1]
    least_s, most_s = _range(fleet, "time_s", top)
    options: dict[str, Any] = {
        "ranks": range(1, top + 1),
        "min_depth": int(rng.integers(0, min(layers, 2) + 1)),
        "round_time_s": least_s + (most_s - least_s) * float(rng.uniform(0.2, 1)),
        "weights": str(rng.choice(["examples", "equal"])),
    }
    for field, budget in (("sent_bytes", "upload_bytes"), ("energy_j", "energy_j")):
        if rng.random() < 0.3:
            low, high = _range(fleet, field, top)
            options[budget] = low + (high - low) * float(rng.uniform(0.3, 1))
    if rng.random() < 0.2:
        options["download_bytes"] = options.get("upload_bytes", 1e9) * float(
            rng.uniform(0.7, 1.2)
        )
    if rng.random() < 0.4:
        options["rank_budget"] = int(rng.integers(0, layers * top + 1))
    if rng.random() < 0.2:
        options["round_time_s"] = None
    return options


def more_options(fleet: Fleet, rng: np.random.Generator) -> dict[str, Any]:
    """A cache, codecs, a rank shape and a greatest depth, each more often than not."""
    layers = fleet.model.layers
    # A stream of its own, so that all other draws of a seed stay what they were without it.
    beside = rng.spawn(1)[0]
    return {
        "cache": str(rng.choice(["off", "round", "always", "auto"])),
        "upload_codec": str(rng.choice(["none", "float16", "int8"])),
        "download_codec": str(beside.choice(["none", "float16", "int8"])),
        "rank_shape": str(rng.choice(["free", "rising", "progression"])),
        "max_depth": None if rng.random() < 0.5 else int(rng.integers(1, layers + 1)),
    }


def _range(fleet: Fleet, field: str, top: int) -> tuple[float, float]:
    """From the largest least need of a device to the largest need."""
    layers = fleet.model.layers
    low = [getattr(need(fleet, d, (1,) * layers, 0), field) for d in fleet.devices]
    high = [getattr(need(fleet, d, (top,) * layers, layers), field) for d in fleet.devices]
    return max(low), max(high)


def without_limits(fleet: Fleet, rng: np.random.Generator) -> Fleet:
    """Take the memory limit off some devices."""
    return replace(
        fleet,
        devices=[
            replace(d, memory_bytes=0) if rng.random() < 0.7 else d for d in fleet.devices
        ],
    )


def with_drop(fleet: Fleet, share: float) -> Fleet:
    """Lower the forward and backward peaks at full depth, as real profiles may."""

    def dropped(cost: DepthCost) -> DepthCost:
        *others, last = cost.by_depth
        return replace(cost, by_depth=[*others, last * (1 - share)])

    def lower(memory: Memory) -> Memory:
        return replace(
            memory,
            forward_bytes=dropped(memory.forward_bytes),
            backward_bytes=dropped(memory.backward_bytes),
        )

    return replace(fleet, classes=[replace(c, memory=lower(c.memory)) for c in fleet.classes])


def mean_wait(problem: Problem, share: float) -> float:
    """A budget on the mean wait: a share of the largest round time budget, or of 5 s."""
    return share * (problem.question.budgets.round_time_s or 5.0)


def within(problem: Problem, room: float) -> Problem:
    """The problem within some times the least feasible round time."""
    least_s = least_round_time_s(problem)
    assert least_s is not None
    return problem.under(round_time_s=room * least_s)


def less_wait(problem: Problem, share: float) -> Problem:
    """The problem with a share of the wait of its best plan as a budget."""
    free = maximise_utility(problem)
    return problem.under(mean_wait_s=share * mean_wait_s(problem, free.allocation))


def longest_s(problem: Problem) -> float:
    """The budget on the round time."""
    budget_s = problem.question.budgets.round_time_s
    assert budget_s is not None
    return budget_s
