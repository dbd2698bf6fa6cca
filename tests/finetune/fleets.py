"""A fleet of the tiny BERT at several speeds, plans of it, and traces."""

from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from profiler.schema import DeviceTrace, Fleet, Link, Provenance, StepTime, Trace, write
from solver import Problem, solve
from solver.plan import Plan
from tests.finetune.runs import make_plan
from tests.solver.instances import random_fleet

ROUND_TIME_S = 10.0
FACTORS = {"fast": 1.0, "slow": 1.8, "stuck": 10.0}
PROVENANCE = Provenance(version="0", created="2026-01-01", host="test")


def slowed(time: StepTime, factor: float) -> StepTime:
    def by_layer(seconds: list[float]) -> list[float]:
        return [factor * s for s in seconds]

    return replace(
        time,
        embedding_s=factor * time.embedding_s,
        forward_s=by_layer(time.forward_s),
        head_s=factor * time.head_s,
        backward_s=by_layer(time.backward_s),
        lora_s_per_rank=by_layer(time.lora_s_per_rank),
    )


def make_fleet(devices: int = 6, links: list[Link] | None = None, **fields: object) -> Fleet:
    """Devices of class ``fast``; the other classes are the same, by `FACTORS` slower."""
    plan = make_plan()
    made = random_fleet(1, layers=3, devices=devices)
    first = made.classes[0]
    classes = [
        replace(first, name=name, time=slowed(first.time, factor))
        for name, factor in FACTORS.items()
    ]
    changes = {"device_class": "fast", "count": 1, "examples": 20, "local_steps": 3}
    return replace(
        made,
        model=plan.model,
        lora=plan.lora,
        training=plan.training,
        classes=classes,
        devices=[replace(d, **{**changes, "memory_bytes": 0, **fields}) for d in made.devices],
        links=links or [],
    )


def plan_for(fleet: Fleet, round_time_s: float = ROUND_TIME_S, **options: object) -> Plan:
    """Most utility within a round time."""
    given = {"ranks": [1, 2, 3, 4], "round_time_s": round_time_s, **options}
    return solve(Problem.of(fleet, **given))  # type: ignore[arg-type]


def make_trace(edges: list[int], *devices: DeviceTrace, seconds: bool = False) -> Trace:
    named = {"edge_s": [float(e) for e in edges]} if seconds else {"edge_rounds": edges}
    return Trace(provenance=PROVENANCE, devices=list(devices), **named)


def write_all(folder: Path, fleet: Fleet, trace: Trace | None, plan: Plan) -> None:
    """Write ``fleet.json``, ``trace.json`` and ``plan.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "fleet.json", fleet)
    write(folder / "plan.json", plan)
    if trace is not None:
        write(folder / "trace.json", trace)


def switching(classes: Sequence[str]) -> Trace:
    """Devices 0 and 2 change their class after round 1."""
    changes = [DeviceTrace(name=name, device_class=list(classes)) for name in ("d0", "d2")]
    return make_trace([0, 1, 50], *changes)
