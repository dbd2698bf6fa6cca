"""Fit seconds by depth and rank to a few timed probes.

A step at depth k with rank r costs

    t(k, r) = bare + top * w[L-1] + deeper * sum of w over the next k - 1 layers
              + rank_s * sum of r * p[l] over the last k layers

with w[l] the layer's share of the forward pass and p[l] its share of LoRA parameters (both 1
in a model of like blocks). ``top`` stands apart because the bottom adapted layer passes no
gradient on, while the first one brings in the gradient of everything above it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from profiler.probes import Probe, Sample, Seconds
from profiler.schema import StepTime
from profiler.timing.spans import UNDISTURBED, Floats, low_mean, span_s, summarise

# How far two measurements of one machine lie apart, one sigma: idle, and among busy programs.
REPEAT_FRACTION = 0.03
DISTURBED_FRACTION = 0.04


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeFit:
    """A fitted step time and how far to trust it.

    Attributes
    ----------
    time : StepTime
        Seconds on an idle device.
    wall_per_cpu : float
        Wall seconds an undisturbed step takes for one CPU second of its main thread; 1 on a
        GPU.
    busy_fraction : float
        How much longer than that the median step took: other work on the machine.
    residual_fraction : float
        Root mean square miss of the fit over its probes, relative.
    noise_fraction : float
        Standard error of a probe's time, relative.
    rounds : int
        Timed rounds.
    """

    time: StepTime
    wall_per_cpu: float
    busy_fraction: float
    residual_fraction: float
    noise_fraction: float
    rounds: int

    @property
    def disturbed(self) -> bool:
        """Whether other programs took much of the machine."""
        return self.busy_fraction > UNDISTURBED - 1


def fit_time(
    probes: Sequence[Probe],
    samples: Sequence[Sample],
    kinds: Sequence[int],
    parameters_per_rank: Sequence[int],
) -> TimeFit:
    """Fit the step time.

    Parameters
    ----------
    probes : sequence of Probe
        What was timed; the first at depth 0.
    samples : sequence of Sample
        Timed steps; warm-up is left out here.
    kinds : sequence of int, shape (L,)
        Kind of each layer; layers alike are given one forward time.
    parameters_per_rank : sequence of int, shape (L,)
        LoRA parameters one rank adds, by layer.
    """
    timed = [s for s in samples if s.round >= 0]
    found = summarise(timed, len(probes))
    ratio, busy = found.wall_per_cpu, found.busy_fraction
    forward = _parts([s.parts for s in timed if s.parts], kinds, ratio)
    weight = forward[1:-1] / forward[1:-1].mean()
    size = np.array(parameters_per_rank, dtype=np.float64)
    size /= size.mean()
    rows = np.array([_row(p, weight, size) for p in probes])
    (bare, top, deeper, rank_s), residual = _solve(rows, found.seconds)
    parts = forward * bare / forward.sum()
    backward = deeper * weight
    backward[-1] = top * weight[-1]
    noise = float(found.noise_fraction.mean())
    return TimeFit(
        time=StepTime(
            embedding_s=float(parts[0]),
            forward_s=parts[1:-1].tolist(),
            head_s=float(parts[-1]),
            backward_s=backward.tolist(),
            lora_s_per_rank=(rank_s * size).tolist(),
            error_fraction=float(np.linalg.norm([residual, noise, _repeat(busy)])),
        ),
        wall_per_cpu=ratio,
        busy_fraction=busy,
        residual_fraction=residual,
        noise_fraction=noise,
        rounds=max(s.round for s in timed) + 1,
    )


def _repeat(busy: float) -> float:
    return DISTURBED_FRACTION if busy > UNDISTURBED - 1 else REPEAT_FRACTION


def _parts(splits: Sequence[Sequence[Seconds]], kinds: Sequence[int], ratio: float) -> Floats:
    """Seconds of embeddings, layers and head at depth 0; layers of a kind share their mean."""
    columns = zip(*splits, strict=True)
    parts = np.array([low_mean(span_s(column, ratio)) for column in columns])
    layers = parts[1:-1]
    for kind in set(kinds):
        alike = np.array(kinds) == kind
        layers[alike] = layers[alike].mean()
    return parts


def _row(probe: Probe, weight: Floats, size: Floats) -> list[float]:
    start = len(weight) - probe.depth
    adapted = weight[start:]
    top = float(adapted[-1:].sum())
    lora = probe.rank * float(size[start:].sum())
    return [1.0, top, float(adapted[:-1].sum()), lora]


def _solve(rows: Floats, seconds: Floats) -> tuple[Floats, float]:
    """Least squares in relative error, no coefficient below 0; also the residual."""
    scaled = rows / seconds[:, None]
    coefficients, norm = nnls(scaled, np.ones(len(seconds)))
    freedom = max(1, len(seconds) - rows.shape[1])
    return coefficients, float(norm / np.sqrt(freedom))
