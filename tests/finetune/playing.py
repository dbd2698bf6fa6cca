"""Runs of the tiny models: started, stopped, and compared byte by byte."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from safetensors.torch import load_file

from finetune.model.state import State
from finetune.monitor.metrics import METRICS_FILE
from finetune.monitor.progress import Progress
from finetune.options import RunOptions
from finetune.run import Stopped, run
from finetune.session.result import Summary
from finetune.session.setup import Sources
from solver.plan import Plan
from tests.finetune.runs import Inputs, make_plan

OPTIONS = RunOptions(rounds=3, sample=3, learning_rate=1e-2)
ADAPTER = "adapter/adapter_model.safetensors"
CAPPED = ((0, 0, 4), (0, 2, 2), (2, 3, 4))


def execute(
    inputs: Inputs, out: Path, options: RunOptions = OPTIONS, **more: object
) -> Summary:
    return run(inputs.plan, Sources(inputs.model, inputs.data), out, options, **more)  # type: ignore[arg-type]


class StopAfter(Progress):
    """Presses Ctrl-C after so many answers."""

    def __init__(self, answers: int) -> None:
        self.left = answers

    def answered(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def files_of_run(
    inputs: Inputs, out: Path, options: RunOptions = OPTIONS, *, stop_after: int | None = None
) -> list[bytes]:
    """Adapter and metrics of a run, begun or resumed, as they are on disk."""
    progress = None if stop_after is None else StopAfter(stop_after)
    execute(inputs, out, options, resume=out.exists(), progress=progress)
    return [(out / file).read_bytes() for file in (ADAPTER, METRICS_FILE)]


def plan_joined_by(name: str, **more: object) -> Plan:
    """A plan that an aggregation takes: with equal ranks by layer, or with capped ones."""
    equal = name in ("layerwise", "fedex")
    if equal:
        return make_plan(**more)  # type: ignore[arg-type]
    return make_plan(shapes=CAPPED, structure="capped", **more)  # type: ignore[arg-type]


def last_state(out: Path) -> State:
    """The server's state as its checkpoint has it."""
    (tensors,) = (out / "checkpoint").glob("*.safetensors")
    state: State = load_file(tensors)
    return state


def resumed_equals_whole(given: Inputs, folder: Path, options: RunOptions) -> None:
    """Compare a run stopped and resumed in ``parts`` with the one in ``whole``."""
    with pytest.raises(Stopped):
        execute(given, folder / "parts", options, progress=StopAfter(5))
    execute(given, folder / "parts", options, resume=True)
    for file in (ADAPTER, METRICS_FILE, "summary.json"):
        whole, parts = folder / "whole" / file, folder / "parts" / file
        assert whole.read_bytes() == parts.read_bytes()


def arguments(inputs: tuple[Path, Path, Path], out: Path, *more: str) -> list[str]:
    model, data, plan = map(str, inputs)
    return [plan, "--model", model, "--data", data, "-o", str(out), "--rounds", "2", *more]


def caching(*kinds: str, build_s: float = 0.0) -> Plan:
    """Plan whose devices keep a cache of these kinds in turn, and train for two passes."""
    plan = make_plan(shapes=((0, 0, 4), (0, 3, 4)))
    devices = [
        replace(
            device,
            cache=kinds[i % len(kinds)],
            local_steps=12,
            predicted=device.predicted and replace(device.predicted, cache_build_s=build_s),
        )
        for i, device in enumerate(plan.devices)
    ]
    return replace(plan, devices=devices)
