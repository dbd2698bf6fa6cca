"""Whether a device lives with the memory that its plan says, and not with one layer more.

A limit holds for what the kernel charges a control group and cannot take back. Prediction and
charge differ in what does not depend on the plan: libraries and most weights are mapped from
files that the kernel drops when it needs room, so no limit on them ever kills. The limit is
therefore what a group is charged once the model is loaded, plus what the plan says training
adds to process and weights, plus `MARGIN_BYTES`.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from benchmarks.testbed.bench import ENVIRONMENT, Bench
from benchmarks.testbed.cage import PREFIX, Cage
from benchmarks.testbed.made import own_name
from finetune.child import module_command
from profiler.launch import MEMORY_ENVIRONMENT
from profiler.predict import peak_bytes
from profiler.schema import InputError, Memory, read_profile
from solver.plan import Configuration, Plan, read_plan, write

__all__ = [
    "MARGIN_BYTES",
    "Trial",
    "added_bytes",
    "deeper",
    "one_of_each",
    "try_memory",
    "with_shape",
]

# Page tables, stacks, what kernels take at first use. Less than half a layer's activations.
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


def try_memory(
    bench: Bench, plan_path: Path, data: Mapping[str, Path], *, quick: bool
) -> list[Trial]:
    """Train a device of each configuration as planned and, where there is one, a layer deeper.

    The quick form tries the shallowest configuration only.

    Raises
    ------
    InputError
        If a trial fails for another reason than its limit.
    """
    plan, trials = read_plan(plan_path), []
    positions = one_of_each(plan)
    for position in positions[:1] if quick else positions:
        device = plan.devices[position]
        shape = plan.configuration_of(device)
        assert shape is not None
        memory = read_profile(bench.folder / f"profile-{device.name}.json").memory
        added = added_bytes(memory, shape.ranks) + MARGIN_BYTES
        for made in filter(None, (shape, deeper(shape))):
            path = bench.folder / f"plan-{device.name}-{made.depth}.json"
            write(path, with_shape(plan, position, made))
            limit, killed = _killed(bench, path, position, data[device.name], added)
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


def added_bytes(memory: Memory, ranks: Sequence[int]) -> int:
    """What training is predicted to take on top of process and weights."""
    return round(peak_bytes(memory, ranks) - memory.weights_bytes - memory.framework_bytes)


def deeper(shape: Configuration) -> Configuration | None:
    """Return the configuration with one layer more, of its lowest rank, if there is one."""
    bare = len(shape.ranks) - shape.depth
    if not bare:
        return None
    rank = shape.ranks[bare] if shape.depth else 1
    ranks = [*shape.ranks[: bare - 1], rank, *shape.ranks[bare:]]
    return Configuration(depth=shape.depth + 1, ranks=ranks)


def one_of_each(plan: Plan) -> list[int]:
    """Position of a device of every configuration in use, the shallowest first."""
    found = {
        d.configuration: i for i, d in enumerate(plan.devices) if d.configuration is not None
    }
    return sorted(
        found.values(),
        key=lambda i: plan.configurations[plan.devices[i].configuration or 0].depth,
    )


def with_shape(plan: Plan, position: int, shape: Configuration) -> Plan:
    """Return the plan with another configuration for a device."""
    index = plan.devices[position].configuration
    shapes = [shape if i == index else old for i, old in enumerate(plan.configurations)]
    return replace(plan, configurations=shapes)


def _killed(
    bench: Bench, plan: Path, position: int, examples: Path, added_bytes: int
) -> tuple[int, bool]:
    """Train under a limit of so much above the charge of the loaded model.

    Returns the limit, and whether the kernel killed the process for it.
    """
    words = [str(plan), str(position), str(bench.model), str(examples), str(STEPS)]
    with Cage(own_name(PREFIX, "memory")) as cage:
        command = module_command("benchmarks.testbed.trial", *words)
        with subprocess.Popen(
            cage.command(command),
            env={**os.environ, **ENVIRONMENT, **MEMORY_ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            loaded = process.stdout.readline()
            limit = cage.charged_bytes() + added_bytes
            if loaded:
                cage.limit_memory(limit)
            try:
                _, errors = process.communicate("go\n", PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise InputError(
                    f"the memory trial of {plan.name} is not done after {PATIENCE_S:.0f} s"
                ) from None
        killed = process.returncode == -signal.SIGKILL and cage.kills() > 0
    if process.returncode and not killed:
        last = (errors.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"the memory trial of {plan.name} failed: {last}")
    return limit, killed
