"""Ways to make one adapter of many, by name; one file each.

A new one is a file with a class that follows `finetune.aggregate.protocol.Aggregation`, and
a line here.
"""

from collections.abc import Callable

from finetune.aggregate.hetlora import HetLora
from finetune.aggregate.layerwise import LayerwiseMean
from finetune.aggregate.protocol import Aggregation
from solver.plan import InputError, Plan

__all__ = ["AGGREGATIONS", "Aggregation", "aggregation_for"]

AGGREGATIONS: dict[str, Callable[[], Aggregation]] = {
    "layerwise": LayerwiseMean,
    "hetlora": HetLora,
}


def aggregation_for(plan: Plan, name: str | None) -> tuple[str, Aggregation]:
    """Name and instance of the aggregation asked for, or of the one that fits the plan.

    Raises
    ------
    InputError
        If there is none of this name, or it cannot join ranks as different as the plan's.
    """
    chosen = name or ("layerwise" if plan.question.structure == "shared" else "hetlora")
    if chosen not in AGGREGATIONS:
        raise InputError(
            f"--aggregation is '{chosen}'; expected one of {', '.join(AGGREGATIONS)}"
        )
    aggregation = AGGREGATIONS[chosen]()
    if aggregation.needs_equal_ranks:
        for index, configuration in enumerate(plan.configurations):
            for layer, rank in enumerate(configuration.ranks):
                if rank not in (0, plan.ranks[layer]):
                    raise InputError(
                        f"aggregation '{chosen}' needs equal ranks on a layer; configuration "
                        f"{index} has rank {rank} on layer {layer}, the server "
                        f"{plan.ranks[layer]}. Use --aggregation hetlora"
                    )
    return chosen, aggregation
