"""Questions of every kind, and in plain Python the value of every plan."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from profiler.schema import Fleet, FleetDevice, InputError
from solver.errors import Infeasible, Stopped
from solver.plan import Plan, Question, Structure
from solver.planner import solve
from solver.problem import Problem
from tests.solver.exhaustive import fits, layer_gain, need, rank_vectors, weights
from tests.solver.instances import random_fleet
from tests.solver.linked import with_links
from tests.solver.questions import more_options, random_case

SLACK = 1e-10


class Choice(NamedTuple):
    gain: float
    time_s: float
    sent_bytes: float
    received_bytes: float
    depth: int


def mixed_case(seed: int) -> tuple[Fleet, dict[str, Any]]:
    """Everything that a question may ask for, drawn by the seed."""
    rng = np.random.default_rng(seed + 10**6)
    noise = 0.3 * float(rng.random() < 0.3)
    fleet, options = random_case(seed, devices=3, slope_noise=noise)
    options |= more_options(fleet, rng)
    if rng.random() < 0.5:
        fleet = with_links(fleet, seed)
        options["round_time_s"] = options["round_time_s"] or 5.0
    if rng.random() < 0.5:
        share = float(rng.uniform(0.02, 0.6))
        options["mean_wait_s"] = share * (options["round_time_s"] or 5)
    options["structure"] = str(rng.choice(["shared", "shared", "capped", "own"]))
    options["objective"] = str(
        rng.choice(["utility", "utility", "time", "efficiency", "legend"])
    )
    if options["objective"] in ("time", "efficiency"):
        options["min_utility"] = float(rng.uniform(0.05, 0.9))
    if options["structure"] != "shared":
        options["rank_shape"] = "free"
    return fleet, options


def choices(
    fleet: Fleet, question: Question, device: FleetDevice, ranks: tuple[int, ...]
) -> set[Choice]:
    """What a device may do with server ranks, at any cap if ranks are capped."""
    capped = question.structure == "capped"
    caps = question.rank_choices if capped else [max(ranks, default=1)]
    most = len(ranks) if question.max_depth is None else min(question.max_depth, len(ranks))
    found = set()
    for cap, depth in product(caps, range(question.min_depth, most + 1)):
        own = tuple(min(r, cap) for r in ranks)
        needs = need(fleet, device, own, depth, question)
        if fits(fleet, device, question, needs):
            gain = math.fsum(layer_gain(fleet, j, own[j]) for j in range(depth))
            sizes = (needs.sent_bytes, needs.received_bytes)
            found.add(Choice(gain, needs.time_s, *sizes, depth))
    return found


def busiest_s(fleet: Fleet, chosen: tuple[Choice, ...]) -> float:
    """Busy time of the busiest link."""
    parents = {link.name: link.parent for link in fleet.links}
    total = {name: [0.0, 0.0] for name in parents}
    for device, choice in zip(fleet.devices, chosen, strict=True):
        at = device.link
        while at:
            total[at][0] += device.count * choice.sent_bytes
            total[at][1] += device.count * choice.received_bytes
            at = parents[at]
    return max(
        (
            total[k.name][0] / k.uplink_bytes_per_s + total[k.name][1] / k.downlink_bytes_per_s
            for k in fleet.links
        ),
        default=0.0,
    )


def values(fleet: Fleet, question: Question) -> Iterator[float]:
    """Value of every plan, larger is better."""
    vectors = list(rank_vectors(fleet.model.layers, question))
    tables = [[choices(fleet, question, d, r) for d in fleet.devices] for r in vectors]
    if question.structure == "own":
        tables = [[set().union(*every) for every in zip(*tables, strict=True)]]
    share, counts = weights(fleet, question), [d.count for d in fleet.devices]
    budgets, floor = question.budgets, question.min_utility or 0.0
    for chosen in (each for table in tables for each in product(*table)):
        round_s = max(*(c.time_s for c in chosen), busiest_s(fleet, chosen))
        waited = sum(n * (round_s - c.time_s) for n, c in zip(counts, chosen, strict=True))
        limits = (
            (round_s, budgets.round_time_s),
            (waited / sum(counts), budgets.mean_wait_s),
        )
        if any(top is not None and seen > top * (1 + SLACK) for seen, top in limits):
            continue
        gained = math.fsum(w * c.gain for w, c in zip(share, chosen, strict=True))
        if gained < floor * (1 - SLACK):
            continue
        yield {
            "utility": gained,
            "time": -round_s,
            "efficiency": gained / round_s,
            "legend": math.fsum(w * c.depth for w, c in zip(share, chosen, strict=True)),
        }[question.objective]


def asked(seed: int) -> tuple[Fleet, dict[str, Any]]:
    """A question of any kind, of another policy, or of a mean wait that is all that binds."""
    policies = ("legend", "fedlora-exclusive", "hetlora", "fedra", "hralora", "fedadapter")
    if seed % 3 == 0:
        fleet, options = random_case(seed, devices=3)
        return fleet, options | {"policy": policies[seed // 3 % len(policies)]}
    if seed % 3 == 1:
        return mixed_case(seed)
    fleet = random_fleet(seed, layers=3, devices=4, max_rank=3)
    fleet = replace(fleet, devices=[replace(d, memory_bytes=0) for d in fleet.devices])
    wait = {"mean_wait_s": 0.5 + seed % 7, "fill_wait": 1.0 + seed % 2}
    return fleet, {"ranks": [1, 2, 3], "structure": "shared", **wait}


def made(seed: int) -> tuple[Fleet, Plan] | None:
    """A plan of a question drawn by the seed, if there is one."""
    fleet, options = asked(seed)
    try:
        return fleet, solve(Problem.of(fleet, **options))
    except (Infeasible, Stopped, InputError):
        return None


def best_value(fleet: Fleet, question: Question, structure: Structure) -> float | None:
    """Largest value over all ranks, caps and depths of all devices; None without a plan."""
    return max(values(fleet, replace(question, structure=structure)), default=None)
