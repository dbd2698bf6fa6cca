"""What each device may be given: a few options a device, priced exactly.

With prices on the links and on the wait the devices no longer see each other, so options
come one by one, each the best at some prices (column generation: Dantzig and Wolfe,
Operations Research 8, 1960). `solver.links.mix` mixes them, which gives the next prices.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from solver.allocation import Allocation, cost, device_gains, parameters
from solver.costs.devices import Floats, Ints
from solver.links.graph import Links
from solver.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Round times in question, and the links that may bind within them.

    Parameters
    ----------
    low_s, high_s : float
        The round time lies between.
    epsilon_s : float or None
        Largest mean wait.
    kept : array of int
        Links that may bind at `high_s`, as indices.
    """

    low_s: float
    high_s: float
    epsilon_s: float | None
    kept: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices of a second: of busy time, by link, (E,), and of the devices' own time."""

    links: Floats
    wait: float = 0.0

    def round_s(self, links: Links, window: Window) -> float:
        """The round time of a window that is worth most."""
        rising = float(self.links.sum()) - self.wait * float(links.count.sum()) > 0
        return window.high_s if rising else window.low_s

    def constant(self, links: Links, window: Window) -> float:
        """What the limits themselves are worth at these prices, the best T taken."""
        count = float(links.count.sum())
        slope = float(self.links.sum()) - self.wait * count
        return (
            slope * self.round_s(links, window)
            - float(self.links @ links.bare_s)
            + self.wait * count * (window.epsilon_s or 0.0)
        )


def between(one: Prices, other: Prices, share: float) -> Prices:
    """Prices between two."""
    return Prices(
        links=one.links + share * (other.links - one.links),
        wait=one.wait + share * (other.wait - one.wait),
    )


@dataclass(slots=True, kw_only=True)
class Pool:
    """Options of every device, N by as many as were added.

    Parameters
    ----------
    problem : Problem
    rows : list of arrays, shape (M, L)
        Rank vectors by layer from the output, as they were added.
    row, depth : arrays of int, shape (N, O)
    value, parameters, seconds : arrays, shape (N, O)
        Utility, LoRA parameters and time of an option; utility is -inf where there is none.
    """

    problem: Problem
    rows: list[Ints] = field(default_factory=list)
    row: Ints = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    depth: Ints = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    value: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    parameters: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    seconds: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    def add(self, found: Allocation) -> bool:
        """Add one option for every device; left out (-1): none. Says whether any is new."""
        problem, costs = self.problem, self.problem.costs
        n = len(found.row)
        if not self.rows:
            empty = np.zeros((n, 0))
            self.value = self.parameters = self.seconds = empty
            self.row = self.depth = empty.astype(np.int64)
        gains = device_gains(problem, found.rows)
        value = problem.weights * gains[found.row, np.maximum(found.depth, 0)]
        size = parameters(costs, found)
        own_s = cost(costs, costs.seconds, found.rows, found.row, found.depth)
        known = (self.depth == found.depth[:, None]) & (self.parameters == size[:, None])
        known &= self.value >= value[:, None]
        if problem.question.budgets.mean_wait_s is not None:
            known &= self.seconds == own_s[:, None]
        new = found.taking_part & ~known.any(axis=1)
        if not new.any():
            return False
        offset = sum(map(len, self.rows))
        self.rows.append(found.rows)
        self.value = _beside(self.value, np.where(new, value, -np.inf))
        self.parameters = _beside(self.parameters, size)
        self.seconds = _beside(self.seconds, own_s)
        self.row = _beside(self.row, found.row + offset).astype(np.int64)
        self.depth = _beside(self.depth, found.depth).astype(np.int64)
        return True

    def allocation(self, chosen: Ints) -> Allocation:
        """The allocation of one option a device."""
        every = np.arange(len(chosen))
        rows = np.concatenate(self.rows)
        used, row = np.unique(self.row[every, chosen], return_inverse=True)
        return Allocation(rows=rows[used], row=row.reshape(-1), depth=self.depth[every, chosen])

    def tilted(self, links: Links, prices: Prices) -> Floats:
        """Value of every option less its toll, plus its time's worth, shape (N, O)."""
        own = self.value - links.toll(prices.links)[:, None] * self.parameters
        if prices.wait:
            own = own + (prices.wait * links.count)[:, None] * self.seconds
        return own


def _beside(table: npt.NDArray[np.generic], column: npt.NDArray[np.generic]) -> Floats:
    return np.concatenate([table, column[:, None]], axis=1)
