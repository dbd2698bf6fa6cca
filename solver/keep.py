"""A plan that stays with an earlier one, where that gives little away.

New ranks every week cost more than they bring: adapters change their shape and whatever was
learned in the ranks that go is lost. So the earlier plan's ranks are kept, and depths as far as
each device still can, if the loss is small against the *bound* of the question as it is now: no
plan whatever gains more than that by changing. Otherwise the plan is the new one.

Who was not in the earlier plan, or left out there, takes the best of its ranks that it can, as
deep as it can; who is gone is gone.
"""

from dataclasses import replace
from functools import partial
from numbers import Real

import numpy as np

from profiler.schema import Fleet, InputError
from solver.allocation import (
    LEFT_OUT,
    Allocation,
    device_gains,
    fits_by_depth,
    mean_wait_s,
    round_time_s,
    server_ranks,
    utility,
)
from solver.costs.devices import Ints
from solver.costs.resource import TOLERANCE
from solver.deepest import mean_depth
from solver.errors import Infeasible
from solver.explain.binding import shortfalls
from solver.explain.infeasible import describe
from solver.fill import filled
from solver.leave_out import plan_able
from solver.links.said import overloaded
from solver.outcome import OPTIMAL_GAP, Outcome, relative_gap
from solver.plan import Kept, Plan
from solver.problem import Problem
from solver.shapes import keeps_shape
from solver.wait.limit import limit_wait

__all__ = ["check_keep", "check_same_model", "stay"]

# Ranks of the earlier plan that a new device tries.
MOST_TRIED = 64
# What a loss and a share may differ by in rounding, to the checker too.
ROUNDING = OPTIMAL_GAP


def check_keep(problem: Problem, keep: Plan | None, within: float | None) -> None:
    """Refuse an earlier plan or a share that cannot be heeded; raises `InputError`."""
    number = isinstance(within, Real) and not isinstance(within, bool)
    if within is not None and not (number and 0 <= within <= 1):
        raise InputError(f"--keep-within is {within!r}; expected a share of the bound, 0 to 1")
    if (keep is None) != (within is None):
        lacks = "keep, an earlier plan" if keep is None else "keep_within, a share such as 0.02"
        raise InputError(f"keep and keep_within go together; expected {lacks} too")
    if keep is None:
        return
    if not isinstance(keep, Plan):
        raise InputError(f"keep is {keep!r:.60}; expected a Plan, as read_plan gives")
    check_same_model(keep, problem.fleet)
    policy = problem.question.policy
    if policy != "exact":
        raise InputError(
            f"policy '{policy}' plans in its own way each time; --keep-within is for --policy "
            "exact"
        )


def check_same_model(keep: Plan, fleet: Fleet) -> None:
    """Refuse an earlier plan of another model than the fleet's; raises `InputError`."""
    for field in ("name", "layers", "targets"):
        if getattr(keep.model, field) != getattr(fleet.model, field):
            raise InputError(
                f"the plan to stay with is of model {keep.model.name}, the fleet of "
                f"{fleet.model.name} ({field} differ); expected a plan of the same model"
            )


def stay(problem: Problem, outcome: Outcome, keep: Plan, within: float) -> tuple[Outcome, Kept]:
    """Choose between an earlier plan and the new one.

    Parameters
    ----------
    problem : Problem
        As it is now.
    outcome : Outcome
        The new plan, and the bound that the loss is counted against.
    keep : Plan
        The earlier one; see `check_keep`.
    within : float
        Largest loss, as a share of the bound.

    Returns
    -------
    tuple of (Outcome, Kept)
        What to do, with the new question's bound in either case, and why.
    """
    objective = problem.question.objective
    try:
        kept = plan_able(problem, partial(_kept, keep=keep))
    except Infeasible as error:
        return outcome, _new(within, None, f"cannot be kept: {error.reason}")
    if outcome.bound is None or not np.isfinite(outcome.bound):
        return outcome, _new(within, None, "lose nobody knows what, as no bound was found")
    loss = relative_gap(kept.value, outcome.bound, objective)
    new_loss = relative_gap(outcome.value, outcome.bound, objective)
    share = f"{100 * within:.6g}%"
    said = f"lose {loss:.3%} against the bound"
    if loss > within + ROUNDING and loss > new_loss + ROUNDING:
        return outcome, _new(within, loss, f"{said}, more than the {share} allowed")
    small = loss <= within + ROUNDING
    outside = min if objective == "time" else max
    proven = replace(
        kept,
        bound=outside(outcome.bound, kept.value),
        method=f"kept from an earlier plan, bound by {outcome.method}",
        target_gap=within if small else outcome.target_gap,
    )
    why = f"within the {share} allowed" if small else "and no better plan was found"
    counts = _counts(problem, keep, kept.allocation)
    record = Kept(
        decision="kept" if small else "best",
        within_fraction=within,
        loss_fraction=loss,
        reason=f"{said}, {why}",
        **counts,
    )
    return proven, record


def _new(within: float, loss: float | None, reason: str) -> Kept:
    return Kept(decision="new", within_fraction=within, loss_fraction=loss, reason=reason)


def _kept(problem: Problem, keep: Plan) -> Outcome:
    """The earlier plan as far as it goes; raises `Infeasible` where it does not."""
    rows, row, depth = _wanted(problem, keep)
    allocation = _settled(problem, rows, row, depth)
    out = ~allocation.taking_part
    if out.any():
        first = int(np.flatnonzero(out)[0])
        at, held = problem.question.min_depth, np.maximum(rows[row[first]], problem.ranks[0])
        lacking = shortfalls(problem, held, at, np.arange(len(out)) == first)
        name = problem.costs.devices.names[first]
        told = describe(lacking[0]) if lacking else f"{name} cannot train so few layers"
        raise Infeasible(reason=told)
    _refuse_together(problem, allocation)
    allocation = _waiting(problem, allocation)
    broken = overloaded(problem, allocation, least=False)
    if broken is not None:
        raise Infeasible(reason=f"{describe(broken.shortfalls[0])}")
    value = _value(problem, allocation)
    return Outcome(allocation=allocation, value=value, bound=None, method="kept")


def _wanted(problem: Problem, keep: Plan) -> tuple[Ints, Ints, Ints]:
    """Ranks (M, L) of the earlier plan from the output, the server's first, and whose they are.

    The row and depth of each device, (N,); a device without any has row 0 and depth -1.
    """
    server = np.array(keep.ranks[::-1], dtype=np.int64)
    structure, choices = problem.question.structure, set(problem.question.rank_choices)
    odd = set(server[server > 0].tolist()) - choices
    every = [server]
    for each in keep.configurations:
        held = np.array(each.ranks[::-1], dtype=np.int64)
        odd |= set(held[held > 0].tolist()) - choices
        cap = held.max(initial=0)
        whole = {"shared": server, "capped": np.minimum(server, cap), "own": held}[structure]
        if (whole[: each.depth] != held[: each.depth]).any():
            raise Infeasible(
                reason=f"ranks differ by device, and the question asks for {structure} ones"
            )
        every.append(whole)
    if odd:
        raise Infeasible(reason=f"rank {min(odd)} is none of the question's choices")
    before = {d.name: d.configuration for d in keep.devices}
    index = [before.get(name) for name in problem.costs.devices.names]
    row = np.array([0 if i is None else i + 1 for i in index], dtype=np.int64)
    depths = [LEFT_OUT if i is None else keep.configurations[i].depth for i in index]
    return np.array(every), row, np.array(depths, dtype=np.int64)


def _settled(problem: Problem, rows: Ints, row: Ints, depth: Ints) -> Allocation:
    """Every device at its depth, or as near to it from above as its limits allow."""
    known = depth != LEFT_OUT
    most = np.where(known, depth, problem.layers)
    found = _deepest(problem, rows, row, most)
    if problem.question.structure == "shared":
        return Allocation(rows=rows[:1], row=np.zeros_like(row), depth=found)
    found = np.where(known, found, LEFT_OUT)
    least = np.minimum(rows[:1], problem.ranks[0])
    rows = np.concatenate([rows, least])
    tried = np.unique(rows, axis=0, return_index=True)[1]
    if len(tried) > MOST_TRIED:
        tried = tried[np.linspace(0, len(tried) - 1, MOST_TRIED).astype(np.int64)]
        tried = np.union1d(tried, [0, len(rows) - 1])
    gains, best = device_gains(problem, rows), np.full(len(row), -np.inf)
    lost = found == LEFT_OUT
    row = row.copy()
    for one in tried.tolist() if lost.any() else ():
        alike = np.full_like(row, one)
        each = _deepest(problem, rows, alike, np.full_like(row, problem.layers))
        gain = np.where(each == LEFT_OUT, -np.inf, gains[one, each.clip(0)])
        better = lost & (gain > best)
        row[better], found[better], best[better] = one, each[better], gain[better]
    return Allocation(rows=rows, row=row, depth=found)


def _deepest(problem: Problem, rows: Ints, row: Ints, most: Ints) -> Ints:
    """Largest depth up to a given one, and from the least on, that every limit allows, (N,)."""
    holds = fits_by_depth(problem.costs, rows, row)
    depths = np.arange(problem.layers + 1)[:, None]
    holds &= (depths <= most) & (depths >= problem.question.min_depth)
    found: Ints = np.where(holds, depths, LEFT_OUT).max(axis=0)
    return found


def _refuse_together(problem: Problem, allocation: Allocation) -> None:
    """Refuse what devices keep alone and all of them together do not."""
    server, question = server_ranks(allocation), problem.question
    budget, total = question.budgets.rank_budget, int(server.sum())
    if budget is not None and total > budget:
        raise Infeasible(reason=f"the ranks sum to {total} and the rank budget is {budget}")
    if not keeps_shape(question.rank_shape, server[server > 0]):
        raise Infeasible(reason=f"the ranks are not of shape '{question.rank_shape}'")
    floor = question.min_utility
    reached = utility(problem, allocation)
    if floor is not None and reached < floor * (1 - ROUNDING):
        raise Infeasible(reason=f"the utility would be {reached:.6g}, below {floor:.6g}")


def _waiting(problem: Problem, allocation: Allocation) -> Allocation:
    """The same, with shallower depths where the mean wait asks for them."""
    limit_s = problem.question.budgets.mean_wait_s
    if limit_s is None:
        return allocation
    wait_s = mean_wait_s(filled(problem, allocation), allocation)
    if wait_s <= limit_s * (1 + TOLERANCE):
        return allocation
    kept = limit_wait(problem, allocation, limit_s)
    if kept is None:
        raise Infeasible(reason=f"the mean wait would be {wait_s:.6g} s, above {limit_s:.6g} s")
    _refuse_together(problem, kept)
    return kept


def _value(problem: Problem, allocation: Allocation) -> float:
    objective = problem.question.objective
    if objective == "legend":
        return mean_depth(problem, allocation)
    gained, seconds = utility(problem, allocation), round_time_s(problem, allocation)
    if objective == "utility":
        return gained
    if objective == "time":
        return seconds
    return gained / seconds if seconds > 0 else 0.0


def _counts(problem: Problem, keep: Plan, allocation: Allocation) -> dict[str, int]:
    """How many devices stay as they were, do less, are new, and are gone."""
    before = {d.name: d for d in keep.devices if d.configuration is not None}
    found = dict.fromkeys(("same", "less", "added", "gone"), 0)
    present = set()
    for i, name in enumerate(problem.costs.devices.names):
        depth, count = int(allocation.depth[i]), int(problem.costs.devices.count[i])
        if depth == LEFT_OUT:
            continue
        present.add(name)
        then = before.get(name)
        shape = None if then is None else keep.configuration_of(then)
        if shape is None:
            found["added"] += count
            continue
        held = allocation.rows[allocation.row[i]][:depth].tolist()
        same = shape.depth == depth and shape.ranks[::-1][:depth] == held
        found["same" if same else "less"] += count
    found["gone"] = sum(d.count for name, d in before.items() if name not in present)
    return found
