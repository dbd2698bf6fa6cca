"""What each device may be given: a few options a device, priced exactly, and their best mix.

With prices on the links and on the wait the devices no longer see each other, so options
come one by one, each the best at some prices (column generation: Dantzig and Wolfe,
Operations Research 8, 1960). Mixing them is a linear program,

    max  sum_io value_io x_io   over  sum_o x_io = 1,  x >= 0,  T in [low, high],
         bare_e + sum_io s_e count_i P_io x_io <= T      for every link e with i behind it,
         C (T - epsilon) - sum_io count_i t_io x_io <= 0   with a budget on the mean wait,

and its dual values are the next prices.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from solver.allocation import Allocation, cost, device_gains, parameters
from solver.devices import Floats, Ints
from solver.links import NO_LINK, Links
from solver.problem import Problem

# What passing the limits by a whole round time costs, in largest utilities.
PENALTY = 10.0
# Options from which on interior points are faster than the simplex method.
LARGE = 2000


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Optimum of the linear program over a pool.

    Parameters
    ----------
    value : float
        Its value: a bound on every choice of one option a device.
    share : array, shape (N, O)
    prices : Prices
    keeps : bool
        Whether every limit is kept.
    round_s : float
        Its round time.
    """

    value: float
    share: Floats
    prices: Prices
    keeps: bool
    round_s: float


def best_mix(pool: Pool, links: Links, window: Window, penalty: float = PENALTY) -> Mix:
    """Solve the linear program; the least options of the pool must keep the links.

    Parameters
    ----------
    pool : Pool
    links : Links
    window : Window
    penalty : float
        What passing the limits by a whole round time costs, in largest utilities.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array, csr_array, vstack

    device, option = np.nonzero(np.isfinite(pool.value))
    value = pool.value[device, option]
    unit = float(value.max(initial=0.0)) or 1.0
    penalty *= float(pool.value.max(axis=1).sum()) / unit
    n, columns = len(pool.value), len(value)
    rows: list[Any] = [_link_rows(pool, links, window, device, option)]
    limits = [-links.bare_s[window.kept]]
    if window.epsilon_s is not None:
        count = float(links.count.sum())
        own_s = links.count[device] * pool.seconds[device, option]
        # Per device, so that all rows are seconds; the last column is what is missing.
        rows.append(csr_array(np.concatenate([-own_s / count, [1.0, -1.0]])[None, :]))
        limits.append(np.array([window.epsilon_s]))
    one = coo_array((np.ones(columns), (device, np.arange(columns))), shape=(n, columns + 2))
    scale = 1.0 / window.high_s if window.high_s > 0 else 1.0
    bounds: list[tuple[float, float | None]] = [(0.0, None)] * columns
    bounds += [(window.low_s, window.high_s), (0.0, None)]
    solve: Any = partial(
        linprog,
        np.concatenate([-value / unit, [0.0, penalty * scale]]),
        A_ub=vstack(rows) * scale,
        b_ub=np.concatenate(limits) * scale,
        A_eq=one.tocsr(),
        b_eq=np.ones(n),
        bounds=bounds,
    )
    answer = solve(method="highs-ipm" if columns > LARGE else "highs")
    if answer.status != 0:
        answer = solve(method="highs")
    if answer.status != 0:
        raise ArithmeticError(f"linear program over the links: {answer.message}")
    dual = np.maximum(-np.asarray(answer.ineqlin.marginals), 0.0) * unit * scale
    by_link = np.zeros(len(links.names))
    by_link[window.kept] = dual[: len(window.kept)]
    wait = float(dual[-1]) / float(links.count.sum()) if window.epsilon_s is not None else 0.0
    share = np.zeros(pool.value.shape)
    share[device, option] = answer.x[:columns]
    return Mix(
        value=-float(answer.fun) * unit,
        share=share,
        prices=Prices(links=by_link, wait=wait),
        keeps=bool(answer.x[-1] <= 1e-9 * window.high_s),
        round_s=float(answer.x[-2]),
    )


def _link_rows(pool: Pool, links: Links, window: Window, device: Ints, option: Ints) -> Any:
    """Busy time of every kept link by option; then T, which bounds it, and one column more."""
    from scipy.sparse import coo_array, csr_array

    size = links.count[device] * pool.parameters[device, option]
    own = links.own[device]
    linked = np.flatnonzero(own != NO_LINK)
    columns = len(device)
    through = csr_array(
        links.above[:, window.kept].T * links.s_per_parameter[window.kept, None]
    )
    by_own = coo_array(
        (size[linked], (own[linked], linked)), shape=(len(links.names), columns + 2)
    )
    table = (through @ by_own.tocsr()).tolil()
    table[:, columns:] = -1.0
    return table.tocsr()
