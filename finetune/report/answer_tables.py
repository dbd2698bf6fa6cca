"""What the solver answered, as tables."""

from collections.abc import Sequence

from finetune.report.answers import FrontierPoint, Policy, is_planned
from finetune.report.tables import Table
from finetune.report.words import amount, energy, percent, printable, seconds, seconds_alike
from solver.plan import Plan

__all__ = ["frontier_table", "policy_table"]

NOTHING = "–"
MOST_LINES = 200


def frontier_table(points: Sequence[FrontierPoint]) -> Table:
    """Tabulate the frontier, shortest round first; very many points are thinned out."""
    shown = points[:: -(-len(points) // MOST_LINES) or 1]
    columns = (
        seconds_alike([p.round_time_s for p in shown]),
        [f"{p.utility:.5f}" for p in shown],
        [f"{p.mean_depth:.2f}" for p in shown],
        seconds_alike([p.mean_wait_s for p in shown]),
    )
    lines = [list(line) for line in zip(*columns, strict=True)]
    return Table(
        caption="Best plan within each round time",
        columns=["round time", "utility", "mean depth", "mean wait"],
        lines=lines,
    )


def policy_table(plan: Plan, policies: Sequence[Policy]) -> Table:
    """Tabulate policies under the same budgets, with remarks where one has no plan."""
    lines = [_line(policy) for policy in policies]
    own = next((i for i, p in enumerate(policies) if is_planned(p, plan)), None)
    columns = ["policy", "utility", "given away", "round time", "mean wait"]
    return Table(
        caption="Under the same budgets"
        + ("" if own is None else "; this plan's policy in bold"),
        bold=own,
        columns=[*columns, "upload", "download", "energy"],
        lines=lines,
        notes=_remarks(policies),
    )


def _remarks(policies: Sequence[Policy]) -> list[str]:
    """Each reason once, with the policies that it holds for."""
    named: dict[str, list[str]] = {}
    for policy in policies:
        if policy.reason:
            named.setdefault(policy.reason, []).append(printable(policy.policy, 60))
    return [f"{'; '.join(names)}: {printable(why, 200)}" for why, names in named.items()]


def _line(policy: Policy) -> list[str]:
    cost, gap = policy.predicted, policy.gap_fraction
    figures = [NOTHING] * 7
    if cost is not None:
        figures = [
            f"{cost.utility:.5f}",
            NOTHING if gap is None else percent(gap),
            seconds(cost.round_time_s),
            seconds(cost.mean_wait_s),
            amount(cost.upload_bytes),
            amount(cost.download_bytes),
            energy(cost.energy_j),
        ]
    return [printable(policy.policy, 60), *figures]
