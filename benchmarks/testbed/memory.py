"""Does a device live with the memory that its plan says, and not with one layer more?

A limit holds for what the kernel charges a control group and cannot take back. Prediction and
charge differ in what does not depend on the plan: libraries and most weights are mapped from
files that the kernel drops when it needs room, so no limit on them ever kills. The limit is
therefore what a group is charged once the model is loaded, plus what the plan says training
adds to process and weights, plus `MARGIN_BYTES`.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from benchmarks.testbed.bench import ENVIRONMENT, Bench, legend_command
from benchmarks.testbed.cage import Cage
from profiler.launch import MEMORY_ENVIRONMENT
from profiler.predict import peak_bytes
from profiler.schema import InputError, Memory, read_profile
from solver.plan import Configuration, Plan, read_plan, write

__all__ = ["MARGIN_BYTES", "Trial", "deeper", "limits", "try_memory"]

# Less than half a layer's activations here: page tables, stacks, what kernels take at first use.
MARGIN_BYTES = 16 << 20
STEPS = 3
PATIENCE_S = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A device of the plan trained under a limit.

    Parameters
    ----------
    device : str
    depth : int
        That it trained.
    planned_depth : int
        For which the limit is.
    limit_bytes : int
        Of its control group.
    killed : bool
        Whether the kernel killed it.
    """

    device: str
    depth: int
    planned_depth: int
    limit_bytes: int
    killed: bool


def try_memory(bench: Bench, plan_path: Path, data: dict[str, Path]) -> list[Trial]:
    """Train one device of every configuration as planned and, where there is one, a layer deeper.

    Raises
    ------
    InputError
        If a trial fails for another reason than its limit.
    """
    plan, trials = read_plan(plan_path), []
    for position in _one_of_each(plan):
        device = plan.devices[position]
        shape = plan.configuration_of(device)
        assert shape is not None
        memory = read_profile(bench.folder / f"profile-{device.name}.json").memory
        examples = data[device.name]
        charged, _ = _train(bench, plan_path, position, examples, None)
        limit = limits(charged, memory, shape.ranks)
        for made in filter(None, (shape, deeper(shape))):
            path = bench.folder / f"plan-{device.name}-{made.depth}.json"
            write(path, _only(plan, position, made))
            _, killed = _train(bench, path, position, examples, limit)
            trials.append(
                Trial(
                    device=device.name,
                    depth=made.depth,
                    planned_depth=shape.depth,
                    limit_bytes=limit,
                    killed=killed,
                )
            )
    return trials


def limits(charged_bytes: int, memory: Memory, ranks: Sequence[int]) -> int:
    """Memory limit of a configuration, bytes, from the charge once the model is loaded."""
    fixed = memory.weights_bytes + memory.framework_bytes
    return round(charged_bytes + peak_bytes(memory, ranks) - fixed) + MARGIN_BYTES


def deeper(shape: Configuration) -> Configuration | None:
    """Return the configuration with one layer more, at the lowest layer's rank; None if all are in."""
    bare = len(shape.ranks) - shape.depth
    if not bare:
        return None
    rank = shape.ranks[bare] if shape.depth else 1
    ranks = [*shape.ranks[: bare - 1], rank, *shape.ranks[bare:]]
    return Configuration(depth=shape.depth + 1, ranks=ranks)


def _one_of_each(plan: Plan) -> list[int]:
    """The last device of every configuration: the slowest, as they are listed."""
    last = {device.configuration: i for i, device in enumerate(plan.devices)}
    return sorted(i for shape, i in last.items() if shape is not None)


def _only(plan: Plan, position: int, shape: Configuration) -> Plan:
    """Return the plan with another configuration for a device."""
    index = plan.devices[position].configuration
    shapes = [shape if i == index else old for i, old in enumerate(plan.configurations)]
    return replace(plan, configurations=shapes)


def _train(
    bench: Bench, plan: Path, position: int, examples: Path, limit_bytes: int | None
) -> tuple[int, bool]:
    """Train in a cage; returns the charge once the model is loaded, and whether it was killed."""
    import os

    name = f"legend-{os.getpid()}-memory"
    with Cage(name, memory_bytes=limit_bytes) as cage:
        words = [str(plan), str(position), str(bench.model), str(examples), str(STEPS)]
        command = [sys.executable, "-m", "benchmarks.testbed.trial", *words]
        done = subprocess.run(
            cage.command([*command, str(cage.memory_group)]),
            env={**os.environ, **ENVIRONMENT, **MEMORY_ENVIRONMENT},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        killed = done.returncode == -signal.SIGKILL and cage.kills() > 0
    if done.returncode and not killed:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"the memory trial of {plan.name} ended with {done.returncode}: {last}")
    first = done.stdout.splitlines()
    return (int(json.loads(first[0])["charged_bytes"]) if first else 0), killed
