"""One answer for every device, of most worth, whose own times add up to enough.

A multiple-choice knapsack. A price p per second of own time bounds it,

    sum_i max_k (g_ik + p t_ik)  -  p needed,

convex in p; its lowest point is where two lines meet, one of choices that fall short of the
time and one of choices that do not (as in `solver.wait.price`). The latter are a solution;
devices then go back to what gains more, one by one, as far as the time allows. Devices are
many, each a small part of the sum, so what a price leaves open is small.
"""

from dataclasses import dataclass

import numpy as np

from solver.costs.devices import Floats, Ints

# Prices that are tried, and how close lines meet at the best one, relatively.
MOST_PRICES, CLOSE = 60, 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Choices of all devices as a line over the price: ``gain + price spare_s``."""

    chosen: Ints
    gain: float
    spare_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Answers of every device to a deadline, as a knapsack.

    Parameters
    ----------
    gain, own_s : arrays, shape (M, N)
        Weighted by examples and by count; minus infinity and 0 where there is no choice.
    needed_s : float
        What own times must add up to.
    """

    gain: Floats
    own_s: Floats
    needed_s: float

    def at(self, price: float) -> Line:
        """Choices worth most at a price."""
        return self.line((self.gain + price * self.own_s).argmax(axis=0))

    def longest(self) -> Line:
        """Choices that take most time."""
        return self.line(np.where(np.isneginf(self.gain), -1.0, self.own_s).argmax(axis=0))

    def line(self, chosen: Ints) -> Line:
        """The line of some choices."""
        device = np.arange(len(chosen))
        return Line(
            chosen=chosen,
            gain=float(self.gain[chosen, device].sum()),
            spare_s=float(self.own_s[chosen, device].sum()) - self.needed_s,
        )

    def lowest(self) -> tuple[float, Line, Line] | None:
        """The lowest bound, and the lines that wait too long, or not, nearest to it.

        None where all choices wait too long. The lines are the same where none does that is
        worth most.
        """
        keeps, waits = self.longest(), self.at(0.0)
        if keeps.spare_s < 0:
            return None
        if waits.spare_s >= 0:
            return waits.gain, waits, waits
        height = np.inf
        for _ in range(MOST_PRICES):
            price = (waits.gain - keeps.gain) / (keeps.spare_s - waits.spare_s)
            meets = keeps.gain + price * keeps.spare_s
            line = self.at(price)
            height = min(height, line.gain + price * line.spare_s)
            if height <= meets + CLOSE * abs(meets):
                break
            if line.spare_s >= 0:
                keeps = line
            else:
                waits = line
        return height, waits, keeps

    def fill(self, waits: Line, keeps: Line) -> Ints:
        """Answers that keep the wait, with as many of `waits` as there is room for."""
        chosen, device = keeps.chosen.copy(), np.arange(len(keeps.chosen))
        gained = self.gain[waits.chosen, device] - self.gain[chosen, device]
        lost_s = self.own_s[chosen, device] - self.own_s[waits.chosen, device]
        spare_s = keeps.spare_s
        for i in np.argsort(-gained, kind="stable"):
            if gained[i] > 0 and lost_s[i] <= spare_s:
                chosen[i] = waits.chosen[i]
                spare_s -= lost_s[i]
        return chosen
