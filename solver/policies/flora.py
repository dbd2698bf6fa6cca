"""FLoRA: ranks per device, adapters stacked; exact, but everybody downloads them all.

Wang et al., "FLoRA: Federated Fine-Tuning Large Language Models with Heterogeneous Low-Rank
Adaptations", NeurIPS 2024, arXiv 2409.05976. Stacking ``[p_1 A_1; ...]`` and ``[B_1, ...]``
aggregates without error, and the download grows with the sum of the ranks of all who take
part: the plan's question says ``download: stacked`` and each download is priced so.

Our reading, a generous one. The paper gives no rule for the ranks. For a stack of a given
size every device takes the largest rank that it affords beside that download; if all
together are more than the stack, the largest ranks are lowered to a common cap, and if even
the least rank is too much, the devices with the fewest examples stay out. The size of the
stack is the best of a geometric grid. Memory for the stack itself is not charged: it can be
merged into the base layer by layer.
"""

from dataclasses import replace

import numpy as np
from msgspec.structs import replace as replace_fields

from solver.allocation import LEFT_OUT, Allocation, utility
from solver.costs.devices import Floats, Ints
from solver.costs.stacking import stacked
from solver.explain.infeasible import infeasible
from solver.outcome import Outcome
from solver.problem import Problem
from solver.uniform import best_kept, largest_ranks
from solver.wait.limit import keeps_wait

# Sizes of the stack that are tried.
SIZES = 64


def plan(problem: Problem) -> Outcome:
    """All layers; ranks per device within what is left beside downloading the stack."""
    found = [a for a in _by_stack(problem) if keeps_wait(stacked(problem, a), a)]
    best = best_kept(problem.under(mean_wait_s=None), iter(found))
    if best is None:
        raise _refusal(problem, found)
    return Outcome(
        allocation=best,
        value=utility(problem, best),
        bound=None,
        method="largest affordable rank beside a stack of the best size",
        question=replace_fields(problem.question, structure="capped", download="stacked"),
    )


def _by_stack(problem: Problem) -> list[Allocation]:
    """One allocation a size of the stack, in summed ranks."""
    # The least stacks there are, of one row of devices alone, so that no plan is missed.
    alone = np.unique(problem.ranks[0] * problem.costs.devices.count)[:SIZES]
    most = max(_sum_of_ranks(problem, largest_ranks(problem)), int(alone[0]))
    between = np.geomspace(alone[0], most, SIZES).round().astype(np.int64)
    found = [_within(problem, size) for size in np.union1d(alone, between).tolist()]
    return [a for a in found if a.taking_part.any()]


def _within(problem: Problem, size: int) -> Allocation:
    """Largest ranks beside a download of `size` summed ranks that sum to no more."""
    download = _stack_bytes(problem, size)
    question = replace_fields(problem.question, download="stacked")
    wanted = largest_ranks(problem.asking(question, download))
    return _left_out(problem, _capped(problem, wanted, size), size)


def _capped(problem: Problem, wanted: Allocation, size: int) -> Allocation:
    """Lower the largest ranks to a common cap that makes the sum fit, or to the least."""
    choices = wanted.rows[:, 0]
    counts, part = problem.costs.devices.count, wanted.taking_part
    sums = [
        int(np.dot(counts[part], np.minimum(choices[wanted.row], c)[part])) for c in choices
    ]
    cap = max(int(np.searchsorted(sums, size, side="right")) - 1, 0)
    return replace(wanted, row=np.minimum(wanted.row, cap))


def _left_out(problem: Problem, wanted: Allocation, size: int) -> Allocation:
    """Leave out who has the fewest examples until the rest sums to the size."""
    devices = problem.costs.devices
    spent = np.where(wanted.taking_part, wanted.rows[wanted.row, 0] * devices.count, 0)
    alone = spent > size
    spent[alone] = 0
    order: Ints = np.argsort(-devices.examples, kind="stable")
    over = np.empty(len(order), dtype=np.bool_)
    over[order] = np.cumsum(spent[order]) > size
    return replace(wanted, depth=np.where(over | alone, LEFT_OUT, wanted.depth))


def _stack_bytes(problem: Problem, ranks: int | Ints) -> Floats:
    """Bytes of a stack of so many ranks on every layer, without the head."""
    costs, summed = problem.costs, np.asarray(ranks, dtype=np.float64)
    return costs.download.adapter_bytes(
        summed * float(costs.sizes.sum()), summed * problem.layers
    )


def _sum_of_ranks(problem: Problem, allocation: Allocation) -> int:
    part = allocation.taking_part
    ranks = allocation.rows[allocation.row, 0]
    return int(np.dot(ranks[part], problem.costs.devices.count[part]))


def _refusal(problem: Problem, found: list[Allocation]) -> Exception:
    """Explain by the least stack of each row of devices: its own adapters alone."""
    layers = problem.layers
    least = np.full(layers, problem.ranks[0])
    if found:
        longest = max(found, key=lambda a: utility(problem, a))
        waiting = stacked(problem, longest)
        return infeasible(waiting, least, layers, everybody=False, waiting=longest)
    alone = _stack_bytes(problem, problem.ranks[0] * problem.costs.devices.count)
    question = replace_fields(problem.question, download="stacked")
    smallest = problem.asking(question, alone)
    return infeasible(smallest, least, layers, everybody=False)
