"""Rows of the mixed-integer program for links that devices share.

``busy_e = sum over i behind e of count_i (upload_i / uplink_e + download_i / downlink_e)``,
with ``upload_i = fixed_i + sum_j sum_r (width size_j + flat) r u[i,j,r]`` and alike for the
download: linear in the ranks taken. A link may be busy no longer
than the round-time budget, nor than T.
"""

from typing import Any

import numpy as np
import pulp

from solver.costs.devices import Ints
from solver.costs.resource import Costs
from solver.links.graph import NO_LINK

__all__ = ["busy_times"]


def busy_times(
    costs: Costs, ranks: Ints, taken: list[list[list[Any]]], unit_s: float
) -> dict[str, Any]:
    """Busy time of every link that a device is behind, as expressions.

    Parameters
    ----------
    costs : Costs
    ranks : array of int, shape (R,)
        Rank choices.
    taken : nested lists of variables
        ``u[i][j][m]``: device i adapts layer j at the m-th rank.
    unit_s : float
        Seconds in a unit of the expressions.
    """
    links = costs.links
    if links is None:
        return {}
    found = {}
    for e, name in enumerate(links.names):
        behind = [
            i for i, own in enumerate(links.own) if own != NO_LINK and links.above[own, e]
        ]
        terms: list[tuple[Any, float]] = []
        fixed = 0.0
        for i in behind:
            count = float(links.count[i]) / unit_s
            per_s = (links.up_s_per_byte[e], links.down_s_per_byte[e])
            ways = list(zip((links.up, links.down), per_s, strict=True))
            fixed += count * sum(float(way.fixed[i]) * float(s) for way, s in ways)
            slope, flat = (
                count * sum(each * float(s) for each, s in zip(price, per_s, strict=True))
                for price in (
                    (links.up.width, links.down.width),
                    (links.up.flat, links.down.flat),
                )
            )
            terms += [
                (variable, (slope * int(size) + flat) * int(rank))
                for size, row in zip(costs.sizes, taken[i], strict=True)
                for rank, variable in zip(np.asarray(ranks), row, strict=True)
            ]
        if behind:
            found[name] = pulp.LpAffineExpression(terms, constant=fixed)
    return found
