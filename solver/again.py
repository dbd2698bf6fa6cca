"""The question of a plan, asked again of its fleet or of another."""

from msgspec.structs import replace

from profiler.schema import Fleet
from solver.plan import Question
from solver.problem import Problem


def pose_again(fleet: Fleet, question: Question) -> Problem:
    """Pose a plan's question.

    Parameters
    ----------
    fleet : Fleet
    question : Question
        Of a plan, with whatever its policy made of the question that was asked.

    Raises
    ------
    InputError
        If the question is not one of this fleet.
    """
    asked = {name: getattr(question, name) for name in question.__struct_fields__}
    budgets, ranks = asked.pop("budgets"), asked.pop("rank_choices")
    # What a policy made of its own answer, which it will do again.
    del asked["download"]
    asked |= {name: getattr(budgets, name) for name in budgets.__struct_fields__}
    posed = Problem.of(fleet, ranks=ranks, **asked)
    return posed.asking(replace(question, rank_choices=posed.question.rank_choices))
