"""The fit of step times finds what the samples were made from."""

import numpy as np
import pytest

from profiler.probes import Probe, Sample, Seconds, choose_probes
from profiler.timing.fit import REPEAT_FRACTION, TimeFit, fit_time
from profiler.timing.spans import low_mean

LAYERS = 6
EMBEDDING_S, FORWARD_S, HEAD_S = 0.003, 0.03, 0.002
TOP_S, DEEPER_S, RANK_S = 0.018, 0.025, 4e-5
BARE_S = EMBEDDING_S + LAYERS * FORWARD_S + HEAD_S


def step_s(probe: Probe) -> float:
    if probe.depth == 0:
        return BARE_S
    adapted = TOP_S + DEEPER_S * (probe.depth - 1) + RANK_S * probe.depth * probe.rank
    return BARE_S + adapted


def spans(seconds: float, busy: float) -> Seconds:
    return Seconds(wall_s=seconds * busy, cpu_s=seconds)


def make_samples(
    probes: list[Probe], rounds: int, *, busy: float = 1.0, noise: float = 0.0
) -> list[Sample]:
    source = np.random.default_rng(0)
    samples = []
    for turn in range(-1, rounds):
        for index, probe in enumerate(probes):
            # Warm-up is far slower, and disturbances only ever add.
            scale = 10.0 if turn < 0 else 1.0 + noise * source.exponential()
            parts = [EMBEDDING_S, *[FORWARD_S] * LAYERS, HEAD_S] if probe.depth == 0 else []
            samples.append(
                Sample(
                    probe=index,
                    round=turn,
                    step=spans(step_s(probe) * scale, busy),
                    parts=[spans(part * scale, busy) for part in parts],
                )
            )
    return samples


def fit(probes: list[Probe], samples: list[Sample]) -> TimeFit:
    return fit_time(probes, samples, [0] * LAYERS, [1536] * LAYERS)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("busy", [1.0, 1.05, 3.0])
def test_known_coefficients_are_found(quick: bool, busy: float) -> None:
    probes = choose_probes(LAYERS, quick=quick)
    found = fit(probes, make_samples(probes, 4, busy=busy))
    scale = busy if busy < 1.1 else 1.0
    assert found.time.embedding_s == pytest.approx(scale * EMBEDDING_S)
    assert found.time.forward_s == pytest.approx([scale * FORWARD_S] * LAYERS)
    assert found.time.head_s == pytest.approx(scale * HEAD_S)
    assert found.time.backward_s[-1] == pytest.approx(scale * TOP_S)
    assert found.time.backward_s[:-1] == pytest.approx([scale * DEEPER_S] * (LAYERS - 1))
    assert found.time.lora_s_per_rank == pytest.approx([scale * RANK_S] * LAYERS)
    assert found.residual_fraction == pytest.approx(0, abs=1e-9)
    assert found.disturbed == (busy > 1.1)
    assert found.rounds == 4


def test_noise_is_told_and_held_out_probes_are_met() -> None:
    probes = choose_probes(LAYERS, quick=False)
    found = fit(probes, make_samples(probes, 8, noise=0.02))
    assert found.time.error_fraction > REPEAT_FRACTION
    assert found.noise_fraction > 0
    held_out = Probe(depth=4, rank=16)
    time = found.time
    adapted = sum(time.backward_s[-4:]) + 16 * sum(time.lora_s_per_rank[-4:])
    total = time.embedding_s + sum(time.forward_s) + time.head_s + adapted
    assert total == pytest.approx(step_s(held_out), rel=0.02)


def test_no_coefficient_falls_below_zero() -> None:
    probes = choose_probes(LAYERS, quick=True)
    samples = [
        Sample(probe=i, round=0, step=spans(BARE_S, 1.0), parts=s.parts)
        for i, s in enumerate(make_samples(probes, 1)[len(probes) :])
    ]
    time = fit(probes, samples).time
    assert min(time.backward_s) >= 0
    assert min(time.lora_s_per_rank) >= 0


def test_unlike_layers_keep_their_shares() -> None:
    probes = choose_probes(2, quick=True)
    forward, lora = [0.01, 0.03], [1e-5, 3e-5]
    samples = []
    for index, probe in enumerate(probes):
        start = 2 - probe.depth
        seconds = 0.04 + sum(forward[start:]) + probe.rank * sum(lora[start:])
        parts = [spans(s, 1.0) for s in (0.0, *forward, 0.0)] if probe.depth == 0 else []
        samples.append(Sample(probe=index, round=0, step=spans(seconds, 1.0), parts=parts))
    time = fit_time(probes, samples, [0, 1], [100, 300]).time
    assert time.forward_s == pytest.approx(forward)
    assert time.backward_s == pytest.approx(forward)
    assert time.lora_s_per_rank == pytest.approx(lora)


def test_a_gpu_is_timed_by_its_events() -> None:
    probes = choose_probes(LAYERS, quick=True)
    samples = [
        Sample(
            probe=s.probe,
            round=s.round,
            step=Seconds(wall_s=s.step.wall_s),
            parts=[Seconds(wall_s=part.wall_s) for part in s.parts],
        )
        for s in make_samples(probes, 3)
    ]
    found = fit(probes, samples)
    assert found.wall_per_cpu == 1
    assert found.busy_fraction == 0
    assert found.time.backward_s[0] == pytest.approx(DEEPER_S)


def test_shallow_models_have_fewer_probes() -> None:
    assert choose_probes(1, quick=False) == [
        Probe(depth=0, rank=0),
        Probe(depth=1, rank=8),
        Probe(depth=1, rank=64),
        Probe(depth=1, rank=2),
    ]


def test_the_lower_half_ignores_disturbances() -> None:
    assert low_mean(np.array([1.0, 9.0, 1.2, 50.0])) == pytest.approx(1.1)
    assert low_mean(np.array([2.0])) == 2.0
