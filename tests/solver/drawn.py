"""Questions that Hypothesis draws."""

import math
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from profiler.schema import Fleet
from solver.errors import Infeasible
from solver.exact import maximise_utility
from solver.outcome import Outcome
from solver.problem import Problem
from tests.solver.instances import random_fleet
from tests.solver.questions import random_options, with_drop

Case = tuple[Fleet, dict[str, Any]]

relaxed = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@st.composite
def cases(draw: st.DrawFn, *, noise: float | None = None, wait: bool = False) -> Case:
    """A fleet of up to 6 layers and 8 devices, and options that usually have a plan."""
    seed = draw(st.integers(0, 10**6))
    layers = draw(st.integers(1, 6))
    fleet = random_fleet(
        seed,
        layers=layers,
        classes=draw(st.integers(1, 3)),
        devices=draw(st.integers(1, 8)),
        max_rank=draw(st.integers(2, 6)),
        slope_noise=draw(st.sampled_from([0.0, 0.3])) if noise is None else noise,
        sizes=tuple(
            draw(st.lists(st.sampled_from([32, 64, 96]), min_size=layers, max_size=layers))
        )
        if draw(st.booleans())
        else (),
    )
    if noise is None and draw(st.booleans()):
        fleet = with_drop(fleet, 0.4)
    options = random_options(fleet, np.random.default_rng(seed))
    options["min_depth"] = min(options["min_depth"], 1)
    if wait:
        options["mean_wait_s"] = draw(st.floats(0, 2))
    return fleet, options


def best(fleet: Fleet, options: dict[str, Any]) -> Outcome | None:
    try:
        return maximise_utility(Problem.of(fleet, **options))
    except Infeasible:
        return None


def value(fleet: Fleet, options: dict[str, Any]) -> float:
    found = best(fleet, options)
    return -math.inf if found is None else found.value


def most(fleet: Fleet, options: dict[str, Any]) -> float:
    """The value, with room for rounding."""
    return value(fleet, options) * (1 + 1e-12)
