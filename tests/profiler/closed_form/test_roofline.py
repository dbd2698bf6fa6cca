"""Step times by closed form against the kernels of a simulated step, added up by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from profiler.closed_form.roofline import STREAM_FRACTION, step_time
from profiler.closed_form.simulate import simulate_step
from profiler.hardware import find_hardware
from profiler.predict import step_s
from profiler.schema import Training
from tests.profiler.closed_form.counted import PLAIN, Case

# What binds: whatever does, launching alone, memory traffic alone.
LIMITS = [
    {},
    {"kernel_launch_s": 1e3},
    {"kernel_launch_s": 0.0, "fp32_flop_per_s": 1e30},
]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_step_takes_what_its_kernels_take(
    limits: dict[str, float], depth: int, tmp_path: Path
) -> None:
    setting = Case(tmp_path, "bert", Training(**PLAIN)).setting
    hardware = replace(find_hardware("jetson-tx2"), **limits)  # type: ignore[arg-type]
    ranks = [0] * (3 - depth) + [8] * depth
    step = simulate_step(setting, ranks)
    work = [step.embedding, *step.layers, step.head, step.backward, step.optimizer]
    rate, width = hardware.reached_flop_per_s("float32"), hardware.bandwidth_bytes_per_s
    expected_s = sum(
        max(
            cost.flops / rate,
            cost.traffic_bytes / (STREAM_FRACTION * width),
            hardware.kernel_launch_s if cost.traffic_bytes else 0.0,
        )
        for part in work
        for cost in part
    )
    assert step_s(step_time(setting, hardware), ranks) == pytest.approx(expected_s, rel=1e-9)
