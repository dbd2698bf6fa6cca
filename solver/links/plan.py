"""Plans under shared links: the round lasts as long as its slowest device and busiest link.

Without a budget on the mean wait the round time is its budget, and one window
(`solver.links.window`) says it all. With one, the round time is branched on, as in
`solver.wait.search`: within a window of round times, devices and links have to the end of the
window, the wait is counted from the prices' better end, and windows are halved, best bound
first. Many devices with ranks of their own or with caps go ways of their own
(`solver.links.own_rounds`, `solver.links.capped_rounds`).
"""

import heapq
from functools import partial
from itertools import count

import numpy as np

from profiler.schema import InputError
from solver.allocation import round_time_s
from solver.costs.devices import Ints
from solver.deadline import expired
from solver.explain.infeasible import without_plan
from solver.least import least_allocation
from solver.links.ascent import Ascent
from solver.links.best import Best, Caps
from solver.links.blend import blend, improve
from solver.links.branch import branch
from solver.links.capped_rounds import bound_over_rounds
from solver.links.capped_wait import over_rounds
from solver.links.few import Few, try_all
from solver.links.graph import Links
from solver.links.own_rounds import own_over_rounds
from solver.links.part import Deadline
from solver.links.pool import Prices, Window
from solver.links.said import method_name, none_found, overloaded
from solver.links.search import FEW as FEW_DEVICES
from solver.links.search import GAP, Effort, Search
from solver.links.shortest import shortest
from solver.links.times import least_s, longest_s, over, window
from solver.links.window import QUICK, THOROUGH, run
from solver.outcome import Outcome
from solver.problem import Problem
from solver.wait.limit import keeps_wait

# Windows of round times that are looked at, at most.
WINDOWS, QUICK_WINDOWS = 48, 12
# With capped ranks each takes a second or more, and the first ones tell most.
CAPPED_WINDOWS = 12
# Single round times that are tried first, by bisection.
STARTS = 7
# Per window of many: less work, as prices are handed down.
ROUGH = Effort(steps=16, programs=0, copies=25)
EACH = Effort(steps=16, programs=1, copies=0)
LEAF = Effort(steps=40, programs=4, copies=25)
# Changes of single layers, times devices, near the best plan with caps, and how many at most.
CAPPED_POLISH, MOST_CHANGES = 16_000, 32
# How much longer a round may be than the longest one that good capped ranks keep.
LENGTHS = (0.0, 0.004, 0.01, 0.02, 0.04)
# Windows, as shares of the round time, that are too wide to make plans of.
WIDE = 0.05
# Share of the gap that halving a window must promise.
WORTH_HALVING = 0.25
# What is so little that it is all looked at.
FEW, QUICK_FEW = Few(ranks=128, choices=30_000), Few(ranks=32, choices=1000)
# At one round time: for plans, not for the bound.
POINT = Effort(steps=24, programs=3, copies=0, few=True)


def plan_links(problem: Problem, *, thorough: bool) -> Outcome | None:
    """Most utility under every budget and shared link; None where no link can bind.

    Parameters
    ----------
    problem : Problem
        Any structure, objective 'utility' or one made of such questions.
    thorough : bool
        Whether to take seconds for a tight bound.

    Raises
    ------
    Infeasible
        If no plan keeps the limits; names the link.
    Stopped
        If none was found that keeps the mean wait.
    """
    problem = _without_vain_wait(problem)
    links, budgets = problem.costs.links, problem.question.budgets
    if links is None or (budgets.round_time_s is None and budgets.mean_wait_s is None):
        return None
    reason = without_plan(problem) or overloaded(problem, least_allocation(problem))
    if reason is not None:
        raise reason
    end_s = longest_s(problem)
    low_s = end_s if budgets.mean_wait_s is None else min(least_s(problem), end_s)
    whole = window(problem, links, low_s, end_s)
    if not len(whole.kept):
        return None
    if problem.question.rank_shape == "progression":
        raise InputError(
            "rank shape 'progression' and shared links that may bind do not go together; use "
            "rank shape 'rising' or 'free', or --method milp"
        )
    best = Best(problem=problem)
    if budgets.mean_wait_s is None:
        search = Search.of(problem, links, whole, best, None)
        bound = run(search, THOROUGH if thorough else QUICK)
    else:
        few, structure = len(problem.costs.devices) <= FEW_DEVICES, problem.question.structure
        by = _by_windows if few else BY.get(structure, _by_windows)
        bound = by(problem, links, whole, best, thorough=thorough)
    if bound > best.value * (1 + GAP):
        again = Search.of(problem.under(round_time_s=end_s), links, whole, best, None)
        bound = min(bound, try_all(again, FEW if thorough else QUICK_FEW))
    if best.allocation is None:
        best.offer(least_allocation(problem))
    if best.allocation is None and bound >= 0:
        best.offer(shortest(problem))
    if best.allocation is None:
        raise none_found(problem, bound)
    return Outcome(
        allocation=best.allocation,
        value=best.value,
        bound=max(bound, best.value),
        method=method_name(problem),
        target_gap=GAP,
    )


def _without_vain_wait(problem: Problem) -> Problem:
    """The same without a mean wait that no round is long enough for."""
    epsilon_s, links = problem.question.budgets.mean_wait_s, problem.costs.links
    if links is None or epsilon_s is None or epsilon_s < longest_s(problem):
        return problem
    return problem.under(mean_wait_s=None)


def _start(problem: Problem, links: Links, best: Best) -> None:
    """Offer plans at single round times, by bisection: the longest that a plan can keep.

    Shorter rounds leave less to wait for, longer ones more to gain.
    """
    low_s, high_s = least_s(problem), longest_s(problem)
    at_s, prices = high_s, None
    for _ in range(STARTS):
        before, search = best.value, over(problem, links, best, at_s, at_s, prices)
        if problem.question.structure == "capped":
            ranks = _without_wait(problem, links, at_s, best)
            mix = None if ranks is None else search.try_ranks(ranks)
            # Larger ranks may keep the wait where these do not, but gain less.
            better = mix is not None and mix.keeps
            if not better and best.allocation is None:
                run(search, POINT)
        else:
            run(search, POINT)
            better = best.value > before
        if better:
            if at_s == high_s:
                return
            low_s, prices = at_s, search.prices
        else:
            high_s = at_s
        at_s = (low_s + high_s) / 2
        if expired():
            return
    if best.caps.ranks is not None and best.allocation is not None:
        _lengthen(problem, links, best, low_s, best.caps.ranks)


def _by_windows(
    problem: Problem, links: Links, whole: Window, best: Best, *, thorough: bool
) -> float:
    """Offer plans at single round times, then branch on these; a bound on every plan."""
    _start(problem, links, best)
    _polish(problem, links, best, whole.high_s)
    if problem.question.structure == "shared" and problem.question.rank_shape == "free":
        few = FEW if thorough else QUICK_FEW
        return branch(problem, links, whole, best, few, thorough=thorough)
    return _branch(problem, links, whole, best, thorough=thorough)


def _with_own(
    problem: Problem, links: Links, whole: Window, best: Best, *, thorough: bool
) -> float:
    """Offer plans with ranks of their own at good round times; a bound on every plan."""
    at = partial(over, problem, links, best)
    bound = own_over_rounds(at, best, whole.low_s, whole.high_s, thorough=thorough)
    if best.allocation is None and bound >= 0:
        _start(problem, links, best)
    return bound


def _with_caps(
    problem: Problem, links: Links, whole: Window, best: Best, *, thorough: bool
) -> float:
    """Offer plans with caps at good round times; a bound on every plan."""
    at = partial(over, problem, links, best)
    ranks = _without_wait(problem, links, whole.high_s, best)
    if ranks is not None and best.allocation is None:
        over_rounds(at, ranks, whole.low_s, whole.high_s)
    if best.allocation is None or best.caps.ranks is None:
        return _by_windows(problem, links, whole, best, thorough=thorough)
    return bound_over_rounds(at, best, whole.low_s, whole.high_s, thorough=thorough)


# Where devices are many.
BY = {"own": _with_own, "capped": _with_caps}


def _lengthen(problem: Problem, links: Links, best: Best, from_s: float, ranks: Ints) -> None:
    """Try rounds a little longer, with ranks that give devices more to do."""
    known, end_s = -np.inf, longest_s(problem)
    for longer in LENGTHS:
        at_s = min(from_s * (1 + longer), end_s)
        value = blend(over(problem, links, best, at_s, at_s), ranks)
        if value <= known or at_s == end_s or expired():
            return
        known = value


def _without_wait(problem: Problem, links: Links, at_s: float, best: Best) -> Ints | None:
    """Capped ranks that are good at a round time if nobody minds the wait."""
    free = problem.under(mean_wait_s=None, round_time_s=at_s)
    found = Best(problem=free, caps=Caps(ranks=best.caps.ranks))
    run(Search.of(free, links, window(free, links, at_s, at_s), found, None), POINT)
    if found.allocation is not None and keeps_wait(problem, found.allocation):
        best.offer(found.allocation)
    return found.caps.ranks


def _polish(problem: Problem, links: Links, best: Best, end_s: float) -> None:
    """Change the best plan's ranks a little, and its round time."""
    structure = problem.question.structure
    if best.allocation is None or structure == "own":
        return
    # A plan may pass its budget by rounding.
    at_s = min(round_time_s(problem, best.allocation), end_s)
    if structure == "shared":
        ascent = Ascent(
            at=lambda round_s: over(problem, links, best, round_s, round_s),
            deadline=Deadline.of(problem, links, end_s),
        )
        ascent.run(best.allocation.rows[0], at_s)
    else:
        number = min(CAPPED_POLISH // len(problem.costs.devices), MOST_CHANGES)
        improve(over(problem, links, best, at_s, at_s), number)


def _branch(
    problem: Problem, links: Links, whole: Window, best: Best, *, thorough: bool
) -> float:
    """Branch on the round time; a bound on every plan."""
    number = count()
    queue: list[tuple[float, int, float, float, Prices | None]] = [
        (-np.inf, next(number), whole.low_s, whole.high_s, None)
    ]
    settled, capped = -np.inf, problem.question.structure == "capped"
    most = CAPPED_WINDOWS if capped else WINDOWS
    for tried in range(most if thorough else QUICK_WINDOWS):
        if not queue or -queue[0][0] <= best.value * (1 + GAP) or (tried and expired()):
            break
        before, _, low_s, high_s, prices = heapq.heappop(queue)
        search = over(problem, links, best, low_s, high_s, prices)
        wide = high_s - low_s > WIDE * high_s
        bound = min(-before, run(search, ROUGH if wide or capped else EACH))
        # What the wait is worth over the window: no more than that is gained by halving it.
        halving = search.prices.wait * float(links.count.sum()) * (high_s - low_s)
        least = max(GAP / 2 * abs(bound), WORTH_HALVING * (bound - best.value))
        if halving <= least and bound > best.value * (1 + GAP):
            bound = min(bound, run(search, LEAF))
            settled = max(settled, bound)
            continue
        if bound <= best.value:
            settled = max(settled, bound)
            continue
        middle_s = (low_s + high_s) / 2
        heapq.heappush(queue, (-bound, next(number), low_s, middle_s, search.prices))
        heapq.heappush(queue, (-bound, next(number), middle_s, high_s, search.prices))
    known = best.value if best.allocation is not None else -np.inf
    return max(-queue[0][0] if queue else -np.inf, settled, known)
