"""The memory of a plan's configurations counted anew, tensor by tensor.

A profile's memory is an affine model; this runs the very configurations that a plan chose
on fake tensors and compares. The counting needs torch, so it is a program of its own
(``python -m profiler.exact_memory``) and the solver stays free of it.

The count is of CPU kernels. For a class that computes on CUDA it is shown but proves
nothing: attention and dropout keep other tensors there.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from profiler.schema import DeviceClass, Fleet, InputError, Model
from solver.plan import Configuration, Plan

__all__ = ["Breach", "Comparison", "ExactReport", "exact_memory", "report_lines"]

PROGRAM = "profiler.exact_memory"
MB = 1e6


class Comparison(Struct, frozen=True, kw_only=True):
    """A configuration on a device class.

    Attributes
    ----------
    device_class, processor : str
        The class, and what it computes on.
    configuration : int
        Index into the plan's.
    predicted_bytes, exact_bytes : float
        Peak without the process around it: as the plan predicts, and counted.
    binding : bool
        Whether the count holds for this class.
    """

    device_class: str
    processor: str
    configuration: int
    predicted_bytes: float
    exact_bytes: float
    binding: bool

    @property
    def error_fraction(self) -> float:
        """Relative error of the prediction; above 0 where it is too high."""
        return self.predicted_bytes / self.exact_bytes - 1


class Breach(Struct, frozen=True, kw_only=True):
    """A device that would run out of memory."""

    device: str
    need_bytes: float
    limit_bytes: float


class ExactReport(Struct, frozen=True, kw_only=True):
    """What the counting found.

    Attributes
    ----------
    comparisons : list of Comparison
        One for each class and configuration in use.
    breaches : list of Breach
        Devices of CPU classes whose limit the counted peak breaks.
    """

    comparisons: list[Comparison]
    breaches: list[Breach]

    @property
    def ok(self) -> bool:
        """Whether no limit breaks."""
        return not self.breaches

    @property
    def worst(self) -> Comparison | None:
        """The largest error among the classes that the count holds for."""
        judged = [c for c in self.comparisons if c.binding]
        return max(judged, key=lambda c: abs(c.error_fraction), default=None)


class _Peaks(Struct):
    weights_bytes: float
    forward_bytes: float
    backward_bytes: float
    optimizer_bytes: float

    def peak_bytes(self) -> float:
        phases = (self.forward_bytes, self.backward_bytes, self.optimizer_bytes)
        return self.weights_bytes + max(phases)


class _Answer(Struct):
    status: str
    message: str = ""
    model: Model | None = None
    peaks: list[_Peaks] = []


def exact_memory(plan: Plan, fleet: Fleet, model: Path) -> ExactReport:
    """Count the configurations of `plan` that are in use and hold them against `fleet`.

    Parameters
    ----------
    plan : Plan
        A plan that `solver.check` has passed.
    fleet : Fleet
        The fleet it is for; its limits are checked.
    model : Path
        Folder with the model's ``config.json``; weights are not needed.

    Raises
    ------
    InputError
        If torch or the model is missing, or it is another model than the plan's.
    """
    classes = {c.name: c for c in fleet.classes}
    used = _used(plan)
    indices = sorted({index for _, index in used})
    counted = _count(plan, [plan.configurations[i] for i in indices], model)
    exact_bytes = dict(zip(indices, counted, strict=True))
    comparisons = [
        _compare(classes[name], index, memory_bytes, exact_bytes[index])
        for (name, index), memory_bytes in used.items()
    ]
    return ExactReport(
        comparisons=comparisons, breaches=list(_breaches(plan, fleet, classes, exact_bytes))
    )


def report_lines(report: ExactReport, plan: Plan) -> list[str]:
    """Say for people what was found: breaches, the largest error, and what is not proven."""
    lines = [
        f"FAILED memory[{b.device}]: counted {_mib(b.need_bytes)}, limit "
        f"{_mib(b.limit_bytes)}. Plan again with a tighter memory, or leave it out"
        for b in report.breaches
    ]
    if report.worst is not None:
        worst = report.worst
        depth = plan.configurations[worst.configuration].depth
        lines.append(
            f"exact memory: largest error of the plan {worst.error_fraction:+.3%} (class "
            f"'{worst.device_class}', depth {depth}: predicted {_mib(worst.predicted_bytes)}, "
            f"counted {_mib(worst.exact_bytes)}, without the process around it)"
        )
    unproven = [c for c in report.comparisons if not c.binding]
    if unproven:
        names = list(dict.fromkeys(f"'{c.device_class}'" for c in unproven))
        errors = [c.error_fraction for c in unproven]
        verb = "compute" if len(names) > 1 else "computes"
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lines.append(
            f"not proven: {', '.join(names[:3])}{more} {verb} on CUDA, whose kernels keep "
            f"other tensors than those counted here for a CPU. The plan is {min(errors):+.1%} "
            f"to {max(errors):+.1%} off that count; 'legend profile --device cuda --check' "
            "there tells how far from the truth"
        )
    return lines


def _mib(value_bytes: float) -> str:
    return f"{value_bytes / MB:.1f} MB"


def _used(plan: Plan) -> dict[tuple[str, int], float]:
    """Predicted memory of each class and configuration in use."""
    return {
        (d.device_class, d.configuration): d.predicted.memory_bytes
        for d in plan.devices
        if d.configuration is not None and d.predicted is not None
    }


def _compare(
    owner: DeviceClass, index: int, memory_bytes: float, exact_bytes: float
) -> Comparison:
    return Comparison(
        device_class=owner.name,
        processor=owner.device.processor,
        configuration=index,
        predicted_bytes=memory_bytes - owner.memory.framework_bytes,
        exact_bytes=exact_bytes,
        binding=owner.device.processor == "cpu",
    )


def _breaches(
    plan: Plan, fleet: Fleet, classes: dict[str, DeviceClass], exact_bytes: dict[int, float]
) -> Iterator[Breach]:
    limits = {d.name: d.memory_bytes for d in fleet.devices}
    for device in plan.devices:
        owner, limit = classes[device.device_class], limits[device.name]
        if device.configuration is None or not limit or owner.device.processor != "cpu":
            continue
        need = owner.memory.framework_bytes + exact_bytes[device.configuration]
        if need > limit:
            yield Breach(device=device.name, need_bytes=need, limit_bytes=limit)


def _count(plan: Plan, configurations: list[Configuration], model: Path) -> list[float]:
    """Peak bytes of each configuration, without the process around it."""
    request = {
        "model": str(model),
        "training": plan.training,
        "targets": [t.name for t in plan.model.targets],
        "ranks": [c.ranks for c in configurations],
    }
    answer = _ask(msgspec.json.encode(request))
    if answer.status != "counted" or answer.model is None:
        raise InputError(answer.message)
    _refuse_other(plan.model, answer.model, model)
    return [peaks.peak_bytes() for peaks in answer.peaks]


def _ask(request: bytes) -> _Answer:
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [root, *sys.path]))
    done = subprocess.run(
        [sys.executable, "-P", "-m", PROGRAM],
        input=request,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
    )
    try:
        return msgspec.json.decode(done.stdout, type=_Answer)
    except msgspec.DecodeError:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "no message"
        raise InputError(
            f"counting memory ended with code {done.returncode} ({last}); expected an answer"
        ) from None


def _refuse_other(planned: Model, found: Model, folder: Path) -> None:
    for field in ("family", "layers", "hidden_size", "parameters", "targets"):
        theirs, ours = getattr(planned, field), getattr(found, field)
        if theirs != ours:
            raise InputError(
                f"{folder}: {field} is {ours}, the plan's model has {theirs}; give the folder "
                f"of {planned.name}"
            )
