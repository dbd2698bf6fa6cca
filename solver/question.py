"""What a plan was asked for: objective, structure, rank choices and budgets.

A part of the contract ``legend/plan/1`` (`solver.plan`), as a plan carries its question.
"""

import math
from typing import Annotated, Literal

from msgspec import Meta, Struct

MAX_RANK = 1024
# Most times its own local steps that a device may be asked for.
MOST_FILLED = 1_000_000

Objective = Literal["utility", "time", "efficiency", "legend"]
Structure = Literal["shared", "capped", "own"]
RankShape = Literal["free", "rising", "progression"]
CacheChoice = Literal["off", "round", "always", "auto"]
Codec = Literal["none", "float16", "int8"]
Weights = Literal["examples", "equal"]
LeaveOut = Literal["nobody", "unable"]
NonNegative = Annotated[float, Meta(ge=0.0)]


class Base(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable, keyword-only, closed to unknown fields."""


class Budgets(Base, frozen=True, kw_only=True):
    """Limits of a plan; a limit that is null does not hold."""

    round_time_s: Annotated[float | None, Meta(description="longest round of any device")] = (
        None
    )
    mean_wait_s: Annotated[
        float | None,
        Meta(
            description="mean over devices of round time minus own time, of what is left of it "
            "where waits are filled"
        ),
    ] = None
    upload_bytes: Annotated[
        float | None, Meta(description="upload of one device in a round")
    ] = None
    download_bytes: Annotated[
        float | None, Meta(description="download of one device in a round")
    ] = None
    energy_j: Annotated[float | None, Meta(description="energy of one device a round")] = None
    rank_budget: Annotated[
        int | None, Meta(description="sum over layers of the shared ranks")
    ] = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"budget {name} is {value}; expected 0 or more, and finite")


class Question(Base, frozen=True, kw_only=True):
    """The planning problem that was posed."""

    policy: Annotated[str, Meta(description="way to plan, such as 'exact' or 'legend'")]
    objective: Annotated[Objective, Meta(description="what is optimised")] = "utility"
    structure: Annotated[Structure, Meta(description="how ranks may differ")] = "shared"
    weights: Annotated[Weights, Meta(description="weight of a device in the utility")] = (
        "examples"
    )
    rank_choices: Annotated[
        list[Annotated[int, Meta(ge=1)]], Meta(description="ranks a layer may have")
    ]
    rank_shape: Annotated[
        RankShape,
        Meta(
            description="how shared ranks may run over the adapted layers: freely, never "
            "falling towards the output, or rising towards it by a constant step"
        ),
    ] = "free"
    min_depth: Annotated[int, Meta(ge=0, description="fewest adapted layers, k_min")] = 1
    max_depth: Annotated[
        int | None, Meta(description="most adapted layers; null: all of them")
    ] = None
    cache: Annotated[
        CacheChoice,
        Meta(
            description="whether devices keep the outputs of the layers below their first "
            "adapted one: never, filled anew each round, kept for the whole run, or whatever "
            "is fastest within a device's storage"
        ),
    ] = "off"
    cache_rounds: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="rounds a device is expected to take part in: 'auto' keeps a cache for "
            "the whole run only where filling it takes less than it then spares; null: no end"
        ),
    ] = None
    upload_codec: Annotated[
        Codec, Meta(description="how uploads are compressed; 'none' sends the wire's own type")
    ] = "none"
    download_codec: Annotated[
        Codec,
        Meta(description="how downloads are compressed; 'none' sends the wire's own type"),
    ] = "none"
    min_utility: Annotated[
        NonNegative | None,
        Meta(description="least utility, for the objectives 'time' and 'efficiency'"),
    ] = None
    fill_wait: Annotated[
        float,
        Meta(
            ge=1,
            le=MOST_FILLED,
            description="most times its own local steps that a device takes in place of "
            "waiting for the slowest; 1: waits",
        ),
    ] = 1.0
    download: Annotated[
        Literal["own", "stacked"],
        Meta(
            description="what a device receives: an adapter of its own shape, or the adapters "
            "of all who take part, stacked (FLoRA)"
        ),
    ] = "own"
    leave_out: Annotated[
        LeaveOut,
        Meta(
            description="who may be left out by policy 'exact': nobody, or the devices that "
            "cannot train the least configuration within the budgets"
        ),
    ] = "nobody"
    budgets: Budgets
