"""From what single layers are worth to what they add along the nested chain of depths.

Gains are not additive: in our prototype (6-layer BERT, movie reviews) the layers 3 to 5 alone
brought 2.6 times what they brought together. A device trains its last k layers, so what a
planner needs is what layer l adds to those above it. A score s of single layers becomes that
through one saturation law,

``D(k) = (sum of s over the last k layers / sum of s over all)^p``,

whose increments are the rows of the table at the reference rank. Its exponent p is that of
the analytic default (`profiler.gain.default`), which comes out again where all layers score
alike.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from profiler.gain.default import DEPTH_EXPONENT, RANK_EXPONENT, RANKS, REFERENCE_RANK
from profiler.schema import Gain, InputError

__all__ = ["gain_table", "power_of_rank", "saturate"]


def saturate(scores: Sequence[float]) -> list[float]:
    """What each layer adds to those above it, summing to 1.

    Parameters
    ----------
    scores : sequence of float, shape (L,)
        What each layer is worth alone, input first, any unit.

    Raises
    ------
    InputError
        If no layer is worth anything: the data teach this model nothing.
    """
    total = sum(scores)
    if not total > 0:
        raise InputError(
            "no layer gains anything on these data; give more or other examples with --data, "
            "or use --gain default"
        )
    sums = accumulate(reversed(scores), initial=0.0)
    depths = [(partial / total) ** DEPTH_EXPONENT for partial in sums]
    return [max(0.0, b - a) for a, b in pairwise(depths)][::-1]


def power_of_rank(exponent: float = RANK_EXPONENT) -> list[float]:
    """``(r / 16)^q`` at the ranks of the table."""
    return [(rank / REFERENCE_RANK) ** exponent for rank in RANKS]


def gain_table(
    method: str, by_layer: Sequence[float], by_rank: Sequence[Sequence[float]]
) -> Gain:
    """Gain table of layers times ranks, all layers at rank 16 worth 1.

    Parameters
    ----------
    method : str
        How it was found.
    by_layer : sequence of float, shape (L,)
        What each layer adds at rank 16, input first.
    by_rank : sequence of sequence of float, shape (L, ranks)
        What a rank is worth in each layer, 1 at rank 16.
    """
    total = sum(by_layer)
    rows = zip(by_layer, by_rank, strict=True)
    return Gain(
        method=method,
        ranks=list(RANKS),
        by_layer=[[layer / total * part for part in parts] for layer, parts in rows],
    )
