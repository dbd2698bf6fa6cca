"""What a plan says of shared links, and what is said of those that are too busy."""

import numpy as np

from solver.allocation import Allocation, busy_s, parameters, summed_ranks
from solver.costs.build import Costs
from solver.costs.resource import TOLERANCE
from solver.errors import Infeasible, Shortfall, Stopped
from solver.explain.infeasible import infeasible
from solver.links.graph import NO_LINK
from solver.plan import PredictedLink
from solver.problem import Problem
from solver.show.figures import friendly, rounded

_SHOWN = 3
BUSY = "busy time"
# A device changes its traffic in steps, so a link that binds is rarely full to the last bit.
NEARLY = 0.99


def overloaded(
    problem: Problem, allocation: Allocation, *, least: bool = True, method: str = ""
) -> Infeasible | None:
    """Explain why an allocation passes the round time on shared links; None if it does not.

    Parameters
    ----------
    problem : Problem
    allocation : Allocation
        By default the least configuration of every device, which no plan undercuts on any
        link.
    least : bool
        Whether it is; else it is what a policy wants, and only says so of that policy.
    method : str
        Method of the exact policy whose plan it is, where it is a heuristic.
    """
    links, limit_s = problem.costs.links, problem.question.budgets.round_time_s
    if links is None or limit_s is None:
        return None
    busy = busy_s(problem.costs, allocation)
    over = np.flatnonzero(busy > limit_s * (1 + TOLERANCE))
    if not len(over):
        return None
    worst = over[np.argsort(-busy[over], kind="stable")]
    short = [
        Shortfall(
            device=f"link {links.names[e]}",
            constraint=BUSY,
            unit="s",
            need=float(busy[e]),
            limit=limit_s,
        )
        for e in worst
    ]
    told = "; ".join(
        f"link {links.names[e]} is busy for {friendly(float(busy[e]), 's')} and the round "
        f"takes {friendly(limit_s, 's')}"
        for e in worst[:_SHOWN]
    )
    more = f"; {len(worst) - _SHOWN} more" if len(worst) > _SHOWN else ""
    longest = float(busy[worst[0]])
    if least:
        who = "even with the least configuration of every device, "
        repair = f"These links alone need a round time of {rounded(longest, up=True)} s."
    else:
        name = f"method '{method}'" if method else f"policy '{problem.question.policy}'"
        who = f"{name} does not look at shared links: "
        repair = (
            f"Its plan takes a round time of {rounded(longest, up=True)} s; "
            f"{'--method auto' if method else '--policy exact'} keeps the links."
        )
    return Infeasible(
        reason=f"{who}{told}{more}. {repair}",
        shortfalls=short,
        least_round_time_s=longest if least else None,
        repair=repair,
        proven=least,
    )


def link_of(costs: Costs, device: int) -> str:
    """Name of the link that a row of devices is behind; empty where there is none."""
    links = costs.links
    if links is None or links.own[device] == NO_LINK:
        return ""
    return links.names[int(links.own[device])]


def predicted_links(costs: Costs, allocation: Allocation) -> list[PredictedLink]:
    """What a round costs every link, in the fleet's order."""
    links = costs.links
    if links is None:
        return []
    size, part = parameters(costs, allocation), allocation.taking_part
    ranks = summed_ranks(allocation)
    up, down = links.bytes_through(size, part, ranks)
    busy = links.busy_s(size, part, ranks)
    return [
        PredictedLink(
            name=name,
            busy_s=float(busy[e]),
            upload_bytes=float(up[e]),
            download_bytes=float(down[e]),
        )
        for e, name in enumerate(links.names)
    ]


def at_limit(busy_by_link: dict[str, float], limit_s: float | None) -> list[str]:
    """Links that leave no more than a hundredth of the round time, busiest first.

    Parameters
    ----------
    busy_by_link : dict of str to float
    limit_s : float or None
        Budget, or the round time itself.
    """
    if not limit_s:
        return []
    full = [(busy, name) for name, busy in busy_by_link.items() if busy >= NEARLY * limit_s]
    return [name for _, name in sorted(full, key=lambda pair: (-pair[0], pair[1]))]


def method_name(problem: Problem) -> str:
    """What certificates call the method."""
    names = {
        "shared": "dynamic program, priced links",
        "own": "ranks of their own, priced links",
        "capped": "search over ranks with caps, priced links",
    }
    wait = ", priced wait" if problem.question.budgets.mean_wait_s is not None else ""
    return names[problem.question.structure] + wait


def none_found(problem: Problem, bound: float) -> Infeasible | Stopped:
    """Nothing keeps the wait, as far as is known."""
    if bound < 0:
        return infeasible(problem)
    return Stopped(
        "found no plan that keeps the mean wait and the shared links; loosen --mean-wait, or "
        "try --method milp"
    )
