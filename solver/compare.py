"""Every policy on the same fleet under the same budgets."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from profiler.schema import Fleet, InputError
from solver.check import check
from solver.errors import Infeasible, Stopped
from solver.exact import maximise_utility, utility_bound
from solver.explain.infeasible import describe, heads
from solver.heuristics import Heuristic, plan_of
from solver.outcome import relative_gap
from solver.plan import Plan, read_plan
from solver.planner import solve
from solver.problem import Problem
from solver.show.question import NO_BUDGETS, budget_text
from solver.wording import spoken


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One policy in a comparison; `plan` is None where it has none, and `reason` says why.

    `exit_code` is then that of ``legend solve`` with this policy.
    """

    policy: str
    plan: Plan | None = field(repr=False)
    gap_fraction: float | None
    reason: str
    exit_code: int = 0

    @property
    def memory_bytes(self) -> float | None:
        """Largest peak of a device that takes part; None without a plan."""
        if self.plan is None:
            return None
        return max(
            (d.predicted.memory_bytes for d in self.plan.devices if d.predicted), default=0.0
        )

    @property
    def left_out(self) -> int | None:
        """Devices that do not take part; None without a plan."""
        if self.plan is None:
            return None
        return sum(d.count for d in self.plan.devices if d.configuration is None)


@spoken
def compare_policies(
    fleet: Fleet,
    policies: Iterable[str | Heuristic],
    options: dict[str, Any],
    structures: Sequence[str] = ("shared", "capped", "own"),
) -> list[Row]:
    """Plan with each policy under the same budgets.

    Parameters
    ----------
    fleet : Fleet
    policies : str or iterable of str or callable
        Names of `solver.policies`, such as ``exact`` and ``legend``, and heuristics of one's
        own (`solver.heuristics`), which go by their function's name. Devices that cannot carry
        what one of those gives them are left out if ``leave_out`` is ``unable``.
    options : dict
        Keyword arguments of `Problem.of` that all of them get, but for ``leave_out``, which
        is for ``exact``: the others decide themselves whom they leave out.
    structures : sequence of str
        Of ``exact``.

    Returns
    -------
    list of Row
        One a policy, in the order given; of ``exact`` one a structure. Each has the policy's
        name, its plan or None, the gap, and the reason where there is no plan or no gap. The
        gap is to the bound of ranks of its own for every device, under the same budgets.
    """
    best = _best_utility(fleet, options)
    rows = []
    for policy in (policies,) if isinstance(policies, str) else policies:
        if not isinstance(policy, str):
            rows.append(_own_row(fleet, policy, options, best))
            continue
        asked = {**options, "policy": policy}
        if policy != "exact":
            rows.append(_row(fleet, policy, {**asked, "leave_out": "nobody"}, best))
            continue
        for structure in structures:
            shape = {"structure": structure}
            if structure != "shared":
                shape["rank_shape"] = "free"
            rows.append(_row(fleet, f"exact, {structure} ranks", {**asked, **shape}, best))
    return rows


def compare_plans(fleet: Fleet, paths: Sequence[Path], options: dict[str, Any]) -> list[Row]:
    """Rows for plans made before; raises `InputError` for one that does not verify."""
    best = _best_utility(fleet, options)
    budgets = Problem.of(fleet, **options).question.budgets
    rows = []
    for path in paths:
        plan = read_plan(path)
        if failed := check(plan, fleet).failed:
            raise InputError(
                f"{path}: does not hold for this fleet ({failed[0].name}); see it with: legend "
                "verify PLAN FLEET"
            )
        kept = plan.question.budgets == budgets
        rows.append(
            Row(
                policy=f"{plan.question.policy} ({path.name})",
                plan=plan,
                gap_fraction=relative_gap(plan.predicted.utility, best, "utility")
                if kept
                else None,
                reason="" if kept else f"planned for: {budget_text(plan.question.budgets)}",
            )
        )
    return rows


def _best_utility(fleet: Fleet, options: dict[str, Any]) -> float:
    """No plan has more, whoever it leaves out: so it holds where no plan takes everybody."""
    relaxed = {**options, "structure": "own", "rank_shape": "free", "rank_budget": None}
    return utility_bound(Problem.of(fleet, **relaxed))


def _row(fleet: Fleet, name: str, options: dict[str, Any], best: float) -> Row:
    problem = Problem.of(fleet, **options)
    # The gap shown is to ranks of their own: a tight bound of its own kind is not needed.
    quick = partial(maximise_utility, branching=False)
    using = quick if problem.question.structure == "capped" else None
    return _answered(problem, name, lambda: solve(problem, using=using), best)


def _own_row(fleet: Fleet, heuristic: Heuristic, options: dict[str, Any], best: float) -> Row:
    """What a heuristic of somebody's makes of the question."""
    problem = Problem.of(fleet, **options)
    name = getattr(heuristic, "__name__", type(heuristic).__name__)
    leave_out = problem.question.leave_out == "unable"

    def answer() -> Plan:
        return plan_of(problem, heuristic(problem), policy=name, leave_out=leave_out)

    return _answered(problem, name, answer, best)


def _answered(problem: Problem, name: str, answer: Callable[[], Plan], best: float) -> Row:
    try:
        plan = answer()
    except (Infeasible, Stopped, InputError) as error:
        # The others' rows are still worth a look.
        reason = _brief(problem, error) if isinstance(error, Infeasible) else str(error)
        code = error.exit_code
        return Row(policy=name, plan=None, gap_fraction=None, reason=reason, exit_code=code)
    kept = plan.question.budgets == problem.question.budgets
    gap = None
    if kept:
        gap = relative_gap(plan.predicted.utility, best, "utility")
    heeded = budget_text(plan.question.budgets)
    only = "" if heeded == NO_BUDGETS else "only "
    reason = "" if kept else f"heeds {only}{heeded}, so no gap is shown"
    return Row(policy=name, plan=plan, gap_fraction=gap, reason=reason)


def _brief(problem: Problem, error: Infeasible) -> str:
    """The worst shortfall and how many devices have one."""
    if not error.shortfalls:
        known = "infeasible" if error.proven else "no plan found"
        return f"{known}: {error.repair}"
    worst = error.shortfalls[0]
    others = heads(problem, {s.device for s in error.shortfalls[1:]} - {worst.device})
    return f"infeasible: {describe(worst)}" + (f", {others} more" if others else "")
