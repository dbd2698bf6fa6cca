"""Devices that want much the same, next to each other: groups as a tree of halves.

All are one group first. Then the group whose devices differ most is cut in two, at the mean of
what they differ in most, again and again, as in median cut (Heckbert, Computer Graphics 16,
1982). A few groups of the tree are coarser than many, and each of many lies in one of few.
"""

import heapq
from itertools import count

import numpy as np

from solver.costs.devices import Floats, Ints


def halved(wants: Floats, weights: Floats, groups: int) -> tuple[Ints, Ints]:
    """Put devices in order, and cut them into at most so many groups.

    Parameters
    ----------
    wants : array, shape (N, F)
        What devices are told apart by, all in one measure.
    weights : array, shape (N,)
        Those of some device above 0.
    groups : int

    Returns
    -------
    tuple of array of int
        The order, shape (N,), and the first place of every group in it but the first group's,
        the cut that tells most first.
    """
    order, number = np.arange(len(weights)), count()
    queue: list[tuple[float, int, int, int, int, float]] = []

    def consider(low: int, high: int) -> None:
        own, w = wants[order[low:high]], weights[order[low:high]]
        mean = w @ own / w.sum()
        apart = w @ np.abs(own - mean)
        at = int(apart.argmax())
        left = own[:, at] <= mean[at]
        # Both sides must count for something, whatever is rounded.
        if w[left].sum() > 0 and w[~left].sum() > 0:
            entry = -float(apart.sum()), next(number), low, high, at, float(mean[at])
            heapq.heappush(queue, entry)

    consider(0, len(order))
    cuts: list[int] = []
    while queue and len(cuts) < groups - 1:
        _, _, low, high, at, mean = heapq.heappop(queue)
        here = order[low:high]
        here = here[np.argsort(wants[here, at], kind="stable")]
        order[low:high] = here
        cut = low + int((wants[here, at] <= mean).sum())
        cuts.append(cut)
        consider(low, cut)
        consider(cut, high)
    return order, np.array(cuts, dtype=np.int64)
