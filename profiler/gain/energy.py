"""Gain by gradient energy: how much of a layer's gradient adapters of rank r can follow.

With G the mean gradient of a target matrix over the examples, the best rank-r approximation
keeps ``E(r) = sum_{i<=r} sigma_i(G)^2`` of its energy (Eckart and Young, 1936). Summed over
the targets of a layer, the share E(r) / E(16) is what a rank is worth there, and the norm
``sqrt(E(16))`` is the layer's score: what a step of given length, as Adam takes it, can lower
the loss by. The energy itself leaves next to nothing to the lower layers. The head is trained a
little first, as before that the top layer is over-rated.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from profiler.adapters import seeded
from profiler.gain.data import Text
from profiler.gain.default import RANKS, REFERENCE_RANK
from profiler.gain.gradients import Gradient, collect_gradients
from profiler.gain.head import warm_head
from profiler.gain.nested import gain_table, saturate
from profiler.gain.training import Bench
from profiler.schema import Gain

__all__ = ["captured_energy", "gradient_energy", "layer_energies", "shares_by_rank"]

# Up to this width all singular values are computed, beyond it the largest, by random
# projections; a 4096 wide matrix would take most of a minute.
ALL_VALUES_WIDTH = 1024
_COLUMN = RANKS.index(REFERENCE_RANK)


def gradient_energy(
    bench: Bench, text: Text, advance: Callable[[], None] = lambda: None
) -> Gain:
    """Gain table by gradient energy.

    Parameters
    ----------
    bench : Bench
        The model; its head is trained a little.
    text : Text
        The examples.
    advance : callable
        Called after every batch of gradients.
    """
    warm_head(bench, text)
    energies = [layer_energies(row) for row in collect_gradients(bench, text, advance)]
    return gain_table(
        f"gradient energy of {len(text.ids)} examples, head trained first",
        saturate([row[_COLUMN] ** 0.5 for row in energies]),
        [shares_by_rank(row) for row in energies],
    )


def layer_energies(row: Sequence[Gradient]) -> list[float]:
    """Energy that the targets of a layer keep, by rank of the table."""
    by_target = [captured_energy(gradient.mean) for gradient in row]
    return [sum(energies) for energies in zip(*by_target, strict=True)]


def shares_by_rank(energies: Sequence[float]) -> list[float]:
    """Energies by rank as shares of that at rank 16; of a layer without any, all 1."""
    reference = energies[_COLUMN]
    return [energy / reference if reference else 1.0 for energy in energies]


def captured_energy(matrix: Tensor) -> list[float]:
    """Sum of the r largest squared singular values, for the ranks of the table."""
    wanted = max(RANKS)
    if min(matrix.shape) <= ALL_VALUES_WIDTH:
        values = torch.linalg.svdvals(matrix)
    else:
        with seeded(0):
            values = torch.svd_lowrank(matrix, q=wanted + 16, niter=4)[1]
    squares = (values[:wanted].double() ** 2).tolist()
    sums = list(accumulate(squares))
    return [sums[min(rank, len(sums)) - 1] for rank in RANKS]
