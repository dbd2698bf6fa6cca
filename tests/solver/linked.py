"""Fleets behind links that devices share."""

from typing import Any

import numpy as np
from msgspec.structs import replace

from profiler.fleet import FleetRequest, preset_fleet
from profiler.fleet.links import draw_links
from profiler.schema import Fleet, Link
from solver.links.best import Best
from solver.links.pool import Window
from solver.links.search import Search
from solver.problem import Problem
from tests.solver.exhaustive import need
from tests.solver.questions import random_case


def with_links(fleet: Fleet, seed: int, *, tight: float = 1.0) -> Fleet:
    """Two access points, one behind a site and one straight to the server; one device free."""
    rng = np.random.default_rng(seed)
    top = (fleet.gain.ranks[-1],) * fleet.model.layers
    everything = sum(
        d.count * need(fleet, d, top, fleet.model.layers).sent_bytes for d in fleet.devices
    )

    def link(name: str, parent: str, share: float) -> Link:
        speed = everything * share / 4 / tight
        return Link(
            name=name, parent=parent, uplink_bytes_per_s=speed, downlink_bytes_per_s=2 * speed
        )

    links = [
        link("site", "", float(rng.uniform(0.3, 1.5))),
        link("ap-1", "site", float(rng.uniform(0.1, 1.0))),
        link("ap-2", "", float(rng.uniform(0.1, 1.0))),
    ]
    places = ["ap-1", "site", "ap-2", ""]
    devices = [
        replace(d, link=places[int(rng.choice(4, p=[0.4, 0.2, 0.3, 0.1]))])
        for d in fleet.devices
    ]
    return replace(fleet, devices=devices, links=links)


def linked_case(seed: int) -> tuple[Fleet, dict[str, Any]]:
    fleet, options = random_case(seed, slope_noise=0.3 * (seed % 2))
    fleet = with_links(fleet, seed)
    if options["round_time_s"] is None:
        options["round_time_s"] = 5.0
    if seed % 3 == 0:
        options["mean_wait_s"] = float(np.random.default_rng(seed).uniform(0.1, 0.6)) * 5
    return fleet, options


def preset(devices: int, access_points: int, sites: int, seed: int = 0) -> Fleet:
    fleet = preset_fleet(FleetRequest(seed=seed, devices=devices, model="", options={}))
    placed, links = draw_links(fleet.devices, access_points, sites, seed)
    return replace(fleet, devices=placed, links=links)


def search_at(problem: Problem, best: Best, round_s: float) -> Search:
    """The search at one round time."""
    links, epsilon_s = problem.costs.links, problem.question.budgets.mean_wait_s
    assert links is not None
    window = Window(
        low_s=round_s, high_s=round_s, epsilon_s=epsilon_s, kept=np.arange(len(links.names))
    )
    return Search.of(problem.under(round_time_s=round_s), links, window, best, None)
