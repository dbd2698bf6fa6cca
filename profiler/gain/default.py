"""What a layer and a rank are worth when nothing was measured.

The default is a power law in depth and in rank, ``G(k, r) = k^p (r / 16)^q``, scaled so that
all layers at rank 16 are worth 1. Its exponents are a least-squares fit, in logarithms, to
figures of our prototype (6-layer BERT, movie reviews, one seed): relative loss gain .143
.163 .186 .185 .205 at depth 1, 2, 3, 4, 6, and .70 .78 .83 .93 1 at rank 1, 2, 4, 8, 16.
One model and one task: a prior, to be replaced by a measured gain table where it matters.
"""

from collections.abc import Sequence

from profiler.schema import Gain

__all__ = ["DEPTH_EXPONENT", "RANK_EXPONENT", "default_gain"]

DEPTH_EXPONENT = 0.2
RANK_EXPONENT = 0.128
REFERENCE_RANK = 16
# Close enough together that straight lines between them stay within 1 % of the power law.
RANKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


def default_gain(layers: int, ranks: Sequence[int] = RANKS) -> Gain:
    """Analytic gain table of a model.

    Layer l, the j-th from the output, adds ``(j^p - (j-1)^p) / L^p * (r / 16)^q`` to the
    gain of those above it.

    Parameters
    ----------
    layers : int
        Number of layers, L.
    ranks : sequence of int
        Columns of the table, rising.
    """
    p, q = DEPTH_EXPONENT, RANK_EXPONENT
    from_output = [(j**p - (j - 1) ** p) / layers**p for j in range(1, layers + 1)]
    by_rank = [(rank / REFERENCE_RANK) ** q for rank in ranks]
    return Gain(
        method=f"analytic default: depth^{p} rank^{q}, fitted to one 6-layer model",
        ranks=list(ranks),
        by_layer=[[depth * rank for rank in by_rank] for depth in reversed(from_output)],
    )
