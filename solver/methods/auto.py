"""Pick what suits the question, and say why.

Each question has its own exact method. Where that leaves a gap on a question small enough, a
general solver closes it: the better plan and the tighter bound of the two.
"""

from dataclasses import replace

from solver.costs.capacity import exact
from solver.deadline import expired
from solver.errors import Infeasible, Stopped
from solver.methods.milp import disaggregated
from solver.methods.settings import Settings
from solver.outcome import OPTIMAL_GAP, Outcome, relative_gap
from solver.policies.exact import plan as best_plan
from solver.problem import Problem

# Devices times layers times ranks of the programs that a solver closes within seconds.
SMALL = 4000
# Nodes that it gets for that, and when it is killed all the same.
NODES, KILLED_S = 20_000, 60.0


def plan(problem: Problem, settings: Settings) -> Outcome:
    """Answer with the question's own method, then with a program if that may help."""
    found: Outcome | Infeasible | Stopped
    try:
        found = best_plan(problem)
    except (Infeasible, Stopped) as error:
        found = error
    if isinstance(found, Outcome):
        found = replace(found, method=f"auto: {found.method}, {reason(problem, found.method)}")
    if _worth_a_program(problem, found):
        found = _closed(problem, settings, found)
    if not isinstance(found, Outcome):
        raise found
    return found


def reason(problem: Problem, method: str) -> str:
    """Why the method is the question's own."""
    question = problem.question
    if "priced links" in method:
        return "since at prices on the shared links no device sees another"
    if question.objective in ("time", "efficiency"):
        return f"since objective '{question.objective}' is a sequence of utility problems"
    if question.objective == "legend" and question.budgets.mean_wait_s is None:
        return "since nobody gets deeper than at the least ranks"
    if question.rank_shape == "progression":
        return "since there are few enough progressions to try them all"
    if question.structure == "own":
        return "since with ranks of its own every device is a problem of its own"
    if question.structure == "capped":
        return "since caps tie the devices together by the shared ranks alone"
    if question.budgets.mean_wait_s is not None:
        return "since a price on the wait adds up over layers as gains do"
    if exact(problem.costs, question.rank_choices[-1], question.min_depth):
        return "exact since costs per rank are in proportion to the layers' sizes"
    return "since costs per rank are out of proportion to the layers' sizes"


def _closed(
    problem: Problem, settings: Settings, found: Outcome | Infeasible | Stopped
) -> Outcome | Infeasible | Stopped:
    """What is left after a general solver had its turn."""
    try:
        program = disaggregated(problem, settings.backend, NODES, KILLED_S)
    except Stopped:
        if not isinstance(found, Outcome):
            return found
        from solver.milp.solve import method_name

        tried = method_name("disaggregated", settings.backend)
        return replace(found, method=f"{found.method}; {tried}, stopped without a plan")
    program = replace(program, method=f"{program.method}, since the question is small")
    return _both(problem, found, program) if isinstance(found, Outcome) else program


def _worth_a_program(problem: Problem, found: Outcome | Infeasible | Stopped) -> bool:
    """Whether a question is open, small, and one that a linear program can pose."""
    question = problem.question
    cells = problem.gains.size * len(problem.costs.devices)
    if question.objective == "efficiency" or cells > SMALL or expired():
        return False
    if isinstance(found, Outcome):
        return _gap(problem, found) > OPTIMAL_GAP
    # A search that found nothing proves nothing, where limits act on devices together.
    return question.budgets.mean_wait_s is not None or isinstance(found, Stopped)


def _gap(problem: Problem, found: Outcome) -> float:
    bound = found.bound
    if bound is None:
        return 1.0
    return relative_gap(found.value, bound, problem.question.objective)


def _both(problem: Problem, one: Outcome, other: Outcome) -> Outcome:
    """The better plan and the tighter bound of two outcomes."""
    least = problem.question.objective == "time"
    better = min if least else max
    tighter = max if least else min
    best = one if better(one.value, other.value) == one.value else other
    bounds = [o.bound for o in (one, other) if o.bound is not None]
    bound = better(tighter(bounds), best.value) if bounds else None
    return replace(best, bound=bound, method=f"{one.method}; {other.method}")
