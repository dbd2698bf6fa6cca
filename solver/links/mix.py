"""The best mix of a few options a device under shared links and a budget on the mean wait.

With the options of `solver.links.pool` it is a linear program,

    max  sum_io value_io x_io   over  sum_o x_io = 1,  x >= 0,  T in [low, high],
         bare_e + sum_io s_e count_i P_io x_io <= T      for every link e with i behind it,
         C (T - epsilon) - sum_io count_i t_io x_io <= 0   with a budget on the mean wait,

and its dual values are prices of the links and of the wait. The simplex method starts where a
like program ended, or with the option of every device that is best at some prices.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from solver.costs.devices import Floats, Ints
from solver.linear import AT_LOWER, AT_UPPER, BASIC, Solved, least
from solver.links.graph import NO_LINK, Links
from solver.links.pool import Pool, Prices, Window

# What passing the limits by a whole round time costs, in largest utilities.
PENALTY = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Statuses in the basis of a program over a pool, as `solver.linear` has them.

    Parameters
    ----------
    options : array of int, shape (N, O)
    round_s, missing, wait : int
        Of the round time, of what is missing, and of the row of the wait.
    links, devices : array of int, shapes (E,) and (N,)
        Of their rows.
    """

    options: Ints
    round_s: int
    missing: int
    links: Ints
    wait: int
    devices: Ints

    @classmethod
    def after(cls, answer: Solved, pool: Pool, links: Links, window: Window) -> Self:
        """Where a program ended."""
        device, option = np.nonzero(np.isfinite(pool.value))
        options = np.full(pool.value.shape, AT_LOWER)
        options[device, option] = answer.columns[:-2]
        by_link, kept = np.full(len(links.names), BASIC), len(window.kept)
        by_link[window.kept] = answer.rows[:kept]
        return cls(
            options=options,
            round_s=int(answer.columns[-2]),
            missing=int(answer.columns[-1]),
            links=by_link,
            wait=int(answer.rows[kept]) if window.epsilon_s is not None else BASIC,
            devices=answer.rows[-len(options) :],
        )

    @classmethod
    def at(cls, pool: Pool, links: Links, prices: Prices) -> Self:
        """The best option of every device at prices, and every limit left out."""
        best = pool.tilted(links, prices).argmax(axis=1)
        options = np.full(pool.value.shape, AT_LOWER)
        options[np.arange(len(best)), best] = BASIC
        return cls(
            options=options,
            round_s=AT_UPPER,
            missing=AT_LOWER,
            links=np.full(len(links.names), BASIC),
            wait=BASIC,
            devices=np.full(len(best), AT_LOWER),
        )

    def of_program(self, window: Window, device: Ints, option: Ints) -> tuple[Ints, Ints]:
        """Statuses of the columns and rows of another program."""
        known = option < self.options.shape[1]
        columns = np.full(len(option), AT_LOWER)
        columns[known] = self.options[device[known], option[known]]
        wait = [] if window.epsilon_s is None else [self.wait]
        return (
            np.append(columns, [self.round_s, self.missing]),
            np.concatenate([self.links[window.kept], wait, self.devices]).astype(np.int64),
        )


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
    basis : Basis
        Where the program ended.
    """

    value: float
    share: Floats
    prices: Prices
    keeps: bool
    round_s: float
    basis: Basis


def best_mix(
    pool: Pool,
    links: Links,
    window: Window,
    penalty: float = PENALTY,
    start: Basis | None = None,
) -> Mix:
    """Solve the linear program; the least options of the pool must keep the links.

    Parameters
    ----------
    pool : Pool
    links : Links
    window : Window
    penalty : float
        What passing the limits by a whole round time costs, in largest utilities.
    start : Basis, optional
        Where a like program ended; without it, with what is best if limits cost nothing.
    """
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
    limit = np.concatenate(limits) * scale
    free = Prices(links=np.zeros(len(links.names)))
    answer = least(
        np.concatenate([-value / unit, [0.0, penalty * scale]]),
        vstack([*(row * scale for row in rows), one.tocsr()]),
        (
            np.concatenate([np.full(len(limit), -np.inf), np.ones(n)]),
            np.concatenate([limit, np.ones(n)]),
        ),
        (
            np.append(np.zeros(columns), [window.low_s, 0.0]),
            np.append(np.full(columns, np.inf), [window.high_s, np.inf]),
        ),
        (start or Basis.at(pool, links, free)).of_program(window, device, option),
    )
    dual = np.maximum(-answer.dual[: len(limit)], 0.0) * unit * scale
    by_link = np.zeros(len(links.names))
    by_link[window.kept] = dual[: len(window.kept)]
    wait = float(dual[-1]) / float(links.count.sum()) if window.epsilon_s is not None else 0.0
    share = np.zeros(pool.value.shape)
    share[device, option] = answer.x[:columns]
    return Mix(
        value=-answer.value * unit,
        share=share,
        prices=Prices(links=by_link, wait=wait),
        keeps=bool(answer.x[-1] <= 1e-9 * window.high_s),
        round_s=float(answer.x[-2]),
        basis=Basis.after(answer, pool, links, window),
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
