"""What a budget is worth: the utility that one more second, megabyte or rank buys.

The largest utility is a step function of every budget, so a price is no derivative: it is the
difference of two exact plans, the second with the budget loosened by one unit.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from msgspec.structs import replace as replace_fields

from profiler.schema import InputError, Link
from solver.allocation import busy_s
from solver.costs.build import build_costs
from solver.costs.limited import OWN
from solver.errors import Infeasible
from solver.exact import maximise_utility
from solver.fill_budget import plan_filled
from solver.leave_out import plan_able
from solver.links.said import at_limit
from solver.outcome import Outcome
from solver.problem import Problem

# Budget, what one more unit of it is, in words and in its own unit.
_UNITS = {
    "round_time_s": ("second of round time", 1.0),
    "mean_wait_s": ("second of mean wait", 1.0),
    "upload_bytes": ("MB of upload", 1e6),
    "download_bytes": ("MB of download", 1e6),
    "energy_j": ("joule", 1.0),
    "rank_budget": ("rank in the budget", 1),
}
_MEMORY_BYTES = 100e6
_STORAGE_BYTES = 1e9
# A megabit a second, and links that are priced at most: each is a plan.
_LINK_BYTES_PER_S = 125_000.0
_MOST_LINKS = 3
_AS_ASKED = "budgets as asked"

_best = partial(plan_filled, plan=maximise_utility)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What loosening one budget by one unit buys.

    Parameters
    ----------
    budget : str
        What there is one more of.
    utility : float
        Utility gained, 0 where the budget does not bind.
    fraction : float
        The same relative to the utility without it.
    exact : bool
        Whether both plans are proven optimal; else it is the difference of the plans found.
    """

    budget: str
    utility: float
    fraction: float
    exact: bool


def prices(problem: Problem, watch: Callable[[list[str]], Iterable[str]] = iter) -> list[Price]:
    """Price every budget in force, and more memory, storage and limits of devices' own.

    100 MB of memory, where it is limited, 1 GB of storage, where caches are asked for, and one
    unit of each limit that devices have of their own, on all that have it.

    Parameters
    ----------
    problem : Problem
    watch : callable
        Hands the budgets on one by one, and may show how far the work is: each takes as long
        as a plan.

    Raises
    ------
    Infeasible
        If there is no plan to begin with.
    """
    asked = {_AS_ASKED: problem, **_loosened(problem)}
    plans = dict[str, Outcome | None]()
    for words in watch(list(asked)):
        try:
            plans[words] = _planned(words, asked[words])
        except InputError:
            # Where links come to bind that did not, some shapes of ranks have no method.
            if words == _AS_ASKED:
                raise
    base = plans.pop(_AS_ASKED)
    assert base is not None
    found = [_price(words, base, better or base) for words, better in plans.items()]
    return sorted(found, key=lambda price: -price.utility)


def _planned(words: str, problem: Problem) -> Outcome | None:
    """The best plan; None where more of something leaves none, which then buys nothing.

    Storage may: with a faster cache a device may wait longer than it is allowed to.
    """
    try:
        return plan_able(problem, _best)
    except Infeasible:
        if words == _AS_ASKED:
            raise
        return None


def _price(words: str, base: Outcome, better: Outcome) -> Price:
    gained = max(0.0, better.value - base.value)
    return Price(
        budget=words,
        utility=gained,
        fraction=gained / base.value if base.value > 0 else 0.0,
        exact=_proven(base) and _proven(better),
    )


def _loosened(problem: Problem) -> dict[str, Problem]:
    """The problem with each of its limits loosened, by what there is one more of."""
    looser = {
        words: problem.under(**{name: getattr(problem.question.budgets, name) + step})
        for name, (words, step) in _UNITS.items()
        if getattr(problem.question.budgets, name) is not None
    }
    limited = {q.name for q in problem.costs.resources}
    if "memory" in limited:
        looser["100 MB of memory everywhere"] = _with_more(
            problem, "memory_bytes", _MEMORY_BYTES
        )
    if problem.costs.caches is not None:
        looser["GB of storage everywhere"] = _with_more(
            problem, "storage_bytes", _STORAGE_BYTES
        )
    # On every device that has such a limit: the others have no less than all of it.
    looser |= {
        own.step_words: _with_more(problem, own.field, own.step)
        for name, own in OWN.items()
        if name in limited
    }
    return looser | _wider_links(problem)


def _wider_links(problem: Problem) -> dict[str, Problem]:
    """Each of the few links that matter most by the plan, 1 Mb/s wider both ways."""
    fleet, limit_s = problem.fleet, problem.question.budgets.round_time_s
    if problem.costs.links is None or limit_s is None:
        return {}
    quick = partial(maximise_utility, branching=False)
    busy = busy_s(problem.costs, plan_able(problem, quick).allocation)
    named = dict(zip(problem.costs.links.names, busy.tolist(), strict=True))
    found = {}
    for name in at_limit(named, limit_s)[:_MOST_LINKS]:
        links = [_widened(link) if link.name == name else link for link in fleet.links]
        wider = replace(problem, fleet=replace_fields(fleet, links=links))
        found[f"Mb/s on link {name}"] = wider.under()
    return found


def _widened(link: Link) -> Link:
    return replace_fields(
        link,
        uplink_bytes_per_s=link.uplink_bytes_per_s + _LINK_BYTES_PER_S,
        downlink_bytes_per_s=link.downlink_bytes_per_s + _LINK_BYTES_PER_S,
    )


def _proven(outcome: Outcome) -> bool:
    return outcome.certificate("utility").status == "optimal"


def _with_more(problem: Problem, field: str, more: float) -> Problem:
    """Every device with so much more of a column of `Devices`."""
    devices = problem.costs.devices
    roomier = replace(devices, **{field: getattr(devices, field) + more})
    return replace(problem, costs=build_costs(problem.fleet, problem.question, roomier))
