"""Ways to make one adapter of many, by name; one file each.

A new one is a file with a class that follows `finetune.aggregate.protocol.Aggregation`, and
a line here.
"""

from collections.abc import Callable
from typing import NamedTuple

from finetune.aggregate.error import aggregation_error
from finetune.aggregate.fedex import FedExLora
from finetune.aggregate.ffa import FfaLora
from finetune.aggregate.flexlora import FlexLora
from finetune.aggregate.flora import Flora
from finetune.aggregate.hetlora import HetLora
from finetune.aggregate.hlora import HLora
from finetune.aggregate.layerwise import LayerwiseMean
from finetune.aggregate.protocol import Aggregation
from finetune.aggregate.rbla import Rbla
from solver.plan import InputError, Plan

__all__ = [
    "AGGREGATIONS",
    "TRIMMED",
    "Aggregation",
    "Settings",
    "aggregation_error",
    "aggregation_for",
]


class Settings(NamedTuple):
    """What an aggregation may depend on besides the updates."""

    seed: int = 0
    trim: float = 0.0


DEFAULT = Settings()
AGGREGATIONS: dict[str, Callable[[Settings], Aggregation]] = {
    "layerwise": lambda settings: LayerwiseMean(settings.trim),
    "hetlora": lambda settings: HetLora(),
    "flexlora": lambda settings: FlexLora(),
    "hlora": lambda settings: HLora(),
    "flora": lambda settings: Flora(settings.seed),
    "rbla": lambda settings: Rbla(settings.trim),
    "ffa": lambda settings: FfaLora(),
    "fedex": lambda settings: FedExLora(),
}
TRIMMED = ("layerwise", "rbla")
"""Those that average coordinate by coordinate, so that a trimmed mean makes sense."""


def aggregation_for(
    plan: Plan, name: str | None, settings: Settings = DEFAULT
) -> tuple[str, Aggregation]:
    """Name and instance of the aggregation asked for, or of the one that fits the plan.

    Raises
    ------
    InputError
        If there is none of this name, it cannot join ranks as different as the plan's, or
        cannot trim.
    """
    chosen = name or _fitting(plan)
    if chosen not in AGGREGATIONS:
        raise InputError(
            f"--aggregation is '{chosen}'; expected one of {', '.join(AGGREGATIONS)}"
        )
    if settings.trim and chosen not in TRIMMED:
        raise InputError(
            f"--aggregation-trim needs an aggregation that averages coordinate by coordinate; "
            f"'{chosen}' does not. Use --aggregation {' or '.join(TRIMMED)}"
        )
    aggregation = AGGREGATIONS[chosen](settings)
    if aggregation.needs_equal_ranks:
        _check_equal_ranks(plan, chosen)
    return chosen, aggregation


def _fitting(plan: Plan) -> str:
    """Return the policy's own way; else the layer-wise mean of shared ranks, or `hlora`.

    Ranks by device have no common coordinates to average in. Of the exact ways to join them,
    only the SVD keeps uploads and downloads at what the plan charges, and adapters of the
    server's rank cannot come closer to the averaged product.
    """
    question = plan.question
    if question.download == "stacked":
        return "flora"
    if question.policy in ("flexlora", "hetlora"):
        return question.policy
    return "layerwise" if question.structure == "shared" else "hlora"


def _check_equal_ranks(plan: Plan, chosen: str) -> None:
    for index, configuration in enumerate(plan.configurations):
        for layer, rank in enumerate(configuration.ranks):
            if rank not in (0, plan.ranks[layer]):
                raise InputError(
                    f"aggregation '{chosen}' needs equal ranks on a layer; configuration "
                    f"{index} has rank {rank} on layer {layer}, the server "
                    f"{plan.ranks[layer]}. Use --aggregation hlora"
                )
