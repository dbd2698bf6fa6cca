"""Gain by probing: short training at a few depths, and what it takes off the held-out loss.

With V(k, r) the held-out loss of the head trained alone less that of the last k layers
adapted at rank r, all from the same start on the same batches:

- depth: V(k, 16) at a few k, fitted by least squares with a curve through 0 that rises and
  bends down, ``D(k) = sum_m u_m min(k, m)`` with ``u_m >= 0`` and m the probed depths. Noise
  bends single points the other way; gains along a chain of depths hardly ever do.
- rank: ``V(k, r) ~ D(k) (r / 16)^q``, with q from the sums of V at two ranks over the depths
  that were probed at both.

Nothing but training says what training brings; but layers differ by less than short training
moves the loss by chance. With few examples this is the dearest method and not the best.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from scipy.optimize import nnls

from profiler.gain.data import Text
from profiler.gain.default import REFERENCE_RANK
from profiler.gain.nested import gain_table, power_of_rank
from profiler.gain.training import Bench
from profiler.probes import Probe, ranks_at
from profiler.schema import Gain, InputError

__all__ = [
    "LEAST_STEPS",
    "LOW_RANK",
    "concave_marginals",
    "plan_probes",
    "probe",
    "rank_exponent",
]

# Many small steps at a high rate, because adapters start slowly (B = 0), and the slower the
# lower the rank: after 60 steps of 16 at 2e-3, rank 2 has gained nothing yet where rank 16 has
# gained half of all there is. One pass over the examples, so that more of them probe longer.
BATCH_SIZE = 8
LEAST_STEPS = 150
LEARNING_RATE = 3e-3
LOW_RANK = 2
TRAIN_FRACTION = 0.7


def plan_probes(layers: int) -> list[Probe]:
    """Depths 1, 2, L/3, 2L/3 and L at rank 16, the first two at a low rank as well."""
    depths = sorted({1, min(2, layers), -(-layers // 3), -(-2 * layers // 3), layers})
    high = [Probe(depth=depth, rank=REFERENCE_RANK) for depth in depths]
    return high + [Probe(depth=depth, rank=LOW_RANK) for depth in depths[:2]]


def probe(bench: Bench, text: Text, advance: Callable[[], None] = lambda: None) -> Gain:
    """Gain table by short training.

    Parameters
    ----------
    bench : Bench
        The model; nothing in it changes.
    text : Text
        Examples to train on, and to hold out.
    advance : callable
        Called after every training, of which there is one more than `plan_probes` says.
    """
    layers = bench.anatomy.model.layers
    train, held_out = text.split(TRAIN_FRACTION)
    probes = [Probe(depth=0, rank=0), *plan_probes(layers)]
    losses = {}
    for point in probes:
        losses[point.depth, point.rank] = _trained_loss(bench, point, train, held_out)
        advance()
    bare = losses.pop((0, 0))
    value = {point: bare - loss for point, loss in losses.items()}
    marginals = concave_marginals(
        {depth: v for (depth, rank), v in value.items() if rank == REFERENCE_RANK}, layers
    )
    exponent = rank_exponent(value)
    measured = ", ".join(f"{v:.4f} at {k} of rank {r}" for (k, r), v in value.items())
    return gain_table(
        f"probe: training of {_steps(train)} steps took off the held-out loss, by depth, "
        f"{measured}; rank^{exponent:.3f}",
        marginals,
        [power_of_rank(exponent)] * layers,
    )


def _trained_loss(bench: Bench, point: Probe, train: Text, held_out: Text) -> float:
    model = bench.adapted(ranks_at(bench.anatomy.model.layers, point.depth, point.rank))
    steps = _steps(train)
    batches = train.shuffled(BATCH_SIZE, steps, bench.seed)
    bench.train(model, batches, steps, learning_rate=LEARNING_RATE)
    return bench.loss(model, held_out)


def _steps(train: Text) -> int:
    return max(LEAST_STEPS, len(train.ids) // BATCH_SIZE)


def concave_marginals(value: Mapping[int, float], layers: int) -> list[float]:
    """What each layer adds, input first: increments of the best rising, concave curve.

    Parameters
    ----------
    value : mapping of int to float
        What was measured at depths; the curve starts at 0 in depth 0.
    layers : int
        Number of layers, L.

    Raises
    ------
    InputError
        If adapters brought nothing anywhere.
    """
    depths = sorted(value)
    bends = np.minimum.outer(depths, depths).astype(float)
    weights, _ = nnls(bends, np.array([value[depth] for depth in depths]))
    if not weights.any():
        raise InputError(
            "training adapters took nothing off the held-out loss; give more examples with "
            "--data and --gain-examples, or use --gain default"
        )
    curve = [float(weights @ np.minimum(k, depths)) for k in range(layers + 1)]
    return [max(0.0, b - a) for a, b in pairwise(curve)][::-1]


def rank_exponent(value: Mapping[tuple[int, int], float]) -> float:
    """Exponent q of the rank, between 0 and 1, from values by (depth, rank)."""
    depths = [depth for depth, rank in value if rank == LOW_RANK]
    low = _sum(value, depths, LOW_RANK)
    high = _sum(value, depths, REFERENCE_RANK)
    if high <= 0:
        return 0.0
    if low <= 0:
        return 1.0
    return min(1.0, max(0.0, math.log(high / low) / math.log(REFERENCE_RANK / LOW_RANK)))


def _sum(value: Mapping[tuple[int, int], float], depths: Sequence[int], rank: int) -> float:
    return sum(value[depth, rank] for depth in depths)
