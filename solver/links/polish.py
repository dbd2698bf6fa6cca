"""Better shared ranks near given ones: single layers changed, by what that is worth at prices.

The dynamic program of `solver.links.shared` proposes ranks that are best at some prices, each
alone short of a limit or wasteful, as what bounds all plans is their mix. Near a good proposal
there are better ranks, and the linear program's own prices say where: at these prices a change
of one layer is worth no more than

    sum_i max_k (w_i G_ik - Lambda_i P_k + mu count_i t_i(k))

at the changed ranks, so only changes that this bounds above the present value are tried.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from solver.costs.devices import Floats, Ints
from solver.links.pool import Prices, Window
from solver.links.shared import PricedRanks
from solver.problem import Problem
from solver.shapes import is_allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """All ranks that differ in one layer from given ones, with what they are worth at most.

    Parameters
    ----------
    problem : Problem
    value : array, shape (K, R)
        Bound on the linear program's value if layer k had choice r.
    ranks : array of int, shape (L,)
    """

    problem: Problem
    value: Floats
    ranks: Ints

    @classmethod
    def of(cls, program: PricedRanks, window: Window, ranks: Ints, prices: Prices) -> Self:
        """Bound every change of one adapted layer, or of the first that is not."""
        problem, links = program.problem, program.links
        used = int((ranks > 0).sum())
        layers = min(used + 1, problem.layers)
        earned = program.by_device(prices)[:, :layers]
        at = np.searchsorted(problem.ranks, ranks[:used])
        own = np.take_along_axis(earned[:, :used], at[None, :, None], axis=2)[:, :, 0]
        least = problem.question.min_depth
        start = program.start(prices)
        total = start[:, None] + np.concatenate(
            [np.zeros((len(own), 1)), np.cumsum(own, axis=1)], axis=1
        )
        steps = program.table.steps
        prefix = np.concatenate([[0], np.cumsum(ranks[:used] * steps[:used])])
        units = np.stack([program.most[k] for k in range(layers + 1)], axis=1)
        holds = (units[:, : used + 1] >= prefix) & (np.arange(used + 1) >= least)
        kept = np.where(holds, total, -np.inf)
        before = np.maximum.accumulate(kept, axis=1)
        value = np.full((layers, len(problem.ranks)), -np.inf)
        for layer in range(layers):
            for r, rank in enumerate(problem.ranks.tolist()):
                now = int(ranks[layer]) if layer < used else 0
                if rank == now:
                    continue
                gained = earned[:, layer, r] - (own[:, layer] if layer < used else 0.0)
                longer = (rank - now) * int(steps[layer])
                if layer < used:
                    deep = total[:, layer + 1 :] + gained[:, None]
                    fits = units[:, layer + 1 : used + 1] >= prefix[layer + 1 :] + longer
                else:
                    deep = (total[:, -1] + gained)[:, None]
                    fits = units[:, layer + 1 : layer + 2] >= prefix[-1] + longer
                fits &= np.arange(layer + 1, layer + 1 + fits.shape[1]) >= least
                if window.epsilon_s is not None and _passes(program, prefix, layer, longer):
                    continue
                best = np.where(fits, deep, -np.inf).max(axis=1)
                value[layer, r] = float(np.maximum(before[:, layer], best).sum())
        constant = prices.constant(links, window)
        return cls(problem=problem, value=value + constant, ranks=ranks)

    def above(self, value: float) -> list[Ints]:
        """Allowed ranks that may be worth more than a value, the most promising first."""
        question, choices = self.problem.question, self.problem.ranks
        order = np.argsort(-self.value, axis=None, kind="stable")
        found = []
        for flat in order[self.value.flat[order] > value].tolist():
            layer, choice = divmod(flat, len(choices))
            other = self.ranks.copy()
            other[layer] = choices[choice]
            if is_allowed(question, other):
                found.append(other)
        return found


def _passes(program: PricedRanks, prefix: Ints, layer: int, longer: int) -> bool:
    """Whether everybody sends too much if a layer that all adapt gets longer."""
    beyond = slice(layer + 1, program.problem.question.min_depth + 1)
    forced = prefix[beyond]
    return bool((forced + longer > program.table.least[beyond][: len(forced)]).any())
