"""The plan: who trains which layers at which rank, at what predicted cost, how surely.

Contract ``legend/plan/1``. A plan stands alone: whoever executes or exports it needs
neither the fleet nor the solver. Ranks by layer run from the input to the output, as in
`profiler.schema`; a rank of 0 means the layer is frozen and bare on that device.
"""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from profiler.schema import (
    InputError,
    Lora,
    Model,
    Provenance,
    Training,
    check_writable,
    read,
    read_bytes,
    write,
    write_bytes,
)
from solver.question import (
    MAX_RANK,
    MOST_FILLED,
    Base,
    Budgets,
    CacheChoice,
    Codec,
    NonNegative,
    Objective,
    Question,
    RankShape,
    Structure,
)

__all__ = [
    "MAX_RANK",
    "MOST_FILLED",
    "PLAN_SCHEMA",
    "Budgets",
    "Cache",
    "CacheChoice",
    "Certificate",
    "Codec",
    "Configuration",
    "InputError",
    "Kept",
    "Lora",
    "Model",
    "Objective",
    "Plan",
    "PlannedDevice",
    "PredictedDevice",
    "PredictedLink",
    "PredictedRound",
    "Question",
    "RankShape",
    "Structure",
    "Training",
    "check_writable",
    "read_bytes",
    "read_plan",
    "write",
    "write_bytes",
]

PLAN_SCHEMA = "legend/plan/1"

Cache = Literal["off", "round", "always"]
Status = Literal["optimal", "gap_reached", "feasible", "infeasible", "unknown"]
Rank = Annotated[int, Meta(ge=0, le=MAX_RANK)]


class Configuration(Base, frozen=True, kw_only=True):
    """An adapter shape that one or more devices train."""

    depth: Annotated[int, Meta(ge=0, description="adapted layers, counted from the output")]
    ranks: Annotated[list[Rank], Meta(description="rank by layer; 0 below the depth")]

    def __post_init__(self) -> None:
        bare = len(self.ranks) - self.depth
        if bare < 0 or any(self.ranks[:bare]) or not all(self.ranks[bare:]):
            raise ValueError(
                f"configuration: ranks {self.ranks} do not adapt just the last {self.depth} "
                "layers; expected 0 below the depth and 1 or more above"
            )


class PredictedDevice(Base, frozen=True, kw_only=True):
    """What a round is predicted to cost a device."""

    time_s: Annotated[NonNegative, Meta(description="whole round: compute and network")]
    compute_s: Annotated[NonNegative, Meta(description="local steps")]
    upload_s: Annotated[NonNegative, Meta(description="sending the update")]
    download_s: Annotated[NonNegative, Meta(description="receiving the adapters")]
    wait_s: Annotated[NonNegative, Meta(description="waiting for the slowest device")]
    memory_bytes: Annotated[NonNegative, Meta(description="peak memory of the process")]
    upload_bytes: Annotated[NonNegative, Meta(description="sent")]
    download_bytes: Annotated[NonNegative, Meta(description="received")]
    energy_j: Annotated[NonNegative, Meta(description="energy; 0 if unknown")]
    storage_bytes: Annotated[
        NonNegative, Meta(description="storage of cached layer outputs; 0 without a cache")
    ] = 0.0
    cache_build_s: Annotated[
        NonNegative,
        Meta(
            description="filling a cache that is kept for the whole run, once, before its "
            "first round and not part of time_s; what cache 'round' takes is part of compute_s"
        ),
    ] = 0.0


class PlannedDevice(Base, frozen=True, kw_only=True):
    """A device of the fleet and what it is asked to do."""

    name: Annotated[str, Meta(description="as in the fleet")]
    device_class: Annotated[str, Meta(description="as in the fleet")]
    count: Annotated[int, Meta(ge=1, description="devices alike")] = 1
    configuration: Annotated[
        int | None, Meta(description="index into 'configurations'; null: does not take part")
    ]
    examples: Annotated[int, Meta(ge=1, description="local training examples")]
    local_steps: Annotated[int, Meta(ge=1, description="training steps a round")]
    cache: Annotated[
        Cache, Meta(description="what it does with the outputs of layers it does not adapt")
    ] = "off"
    link: Annotated[str, Meta(description="shared link it is behind; empty: none")] = ""
    predicted: Annotated[
        PredictedDevice | None, Meta(description="null if it does not take part")
    ]
    binding: Annotated[
        str, Meta(description="what stops it from one layer more; empty: not said")
    ] = ""


class PredictedLink(Base, frozen=True, kw_only=True):
    """What a round is predicted to cost a link that devices share."""

    name: Annotated[str, Meta(description="as in the fleet")]
    busy_s: Annotated[
        NonNegative, Meta(description="time it takes to pass all of its devices' bytes")
    ]
    upload_bytes: Annotated[NonNegative, Meta(description="sum over the devices behind it")]
    download_bytes: Annotated[NonNegative, Meta(description="sum over the devices behind it")]


class PredictedRound(Base, frozen=True, kw_only=True):
    """What a round is predicted to cost everybody."""

    utility: Annotated[NonNegative, Meta(description="weighted mean gain of the devices")]
    round_time_s: Annotated[NonNegative, Meta(description="slowest device or shared link")]
    mean_wait_s: Annotated[NonNegative, Meta(description="mean wait over taking part")]
    upload_bytes: Annotated[NonNegative, Meta(description="sum over devices")]
    download_bytes: Annotated[NonNegative, Meta(description="sum over devices")]
    energy_j: Annotated[NonNegative, Meta(description="sum over devices; 0 if unknown")]
    time_error_fraction: Annotated[
        NonNegative, Meta(description="relative uncertainty of compute times, one sigma")
    ] = 0.0


class Certificate(Base, frozen=True, kw_only=True):
    """How good the plan is, provably.

    For the objectives `utility`, `legend` (value: the weighted mean depth, in layers) and
    `efficiency` (utility by round time) no plan of the same question exceeds ``bound``, and
    the gap is ``(bound - value) / bound``. For `time` (value: the round time) none falls below
    it, and the gap is ``(value - bound) / value``. A policy that does not optimise carries the
    bound of the exact solver, so that its gap says what it gives away. All of that is said of
    the plan's own question, to which the seal ties it.
    """

    status: Annotated[Status, Meta(description="what was proven")]
    method: Annotated[str, Meta(description="method that proved it")]
    value: Annotated[float, Meta(description="objective value of this plan")]
    bound: Annotated[float | None, Meta(description="proven bound; null if none")]
    gap_fraction: Annotated[
        float | None,
        Meta(description="relative distance of value and bound; null without a bound"),
    ]
    tolerance_fraction: Annotated[
        NonNegative, Meta(description="rounding allowed when the plan is checked")
    ] = 1e-9
    seal_sha256: Annotated[
        Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None,
        Meta(
            description="SHA-256 of the question and this certificate, which ties them "
            "together; null in plans of versions that wrote none"
        ),
    ] = None


class Kept(Base, frozen=True, kw_only=True):
    """Whether a plan stays with an earlier one, as it was asked to, and why.

    It stays where the earlier plan's ranks, and depths as far as each device still can, lose
    no more than `within_fraction` against the bound of the question as it is now; that loss is
    then the certificate's gap.
    """

    decision: Annotated[
        Literal["kept", "best", "new"],
        Meta(
            description="'kept': the earlier plan's; 'new': that loses too much, or cannot be "
            "kept; 'best': it loses more than is allowed, and nothing better was found"
        ),
    ]
    within_fraction: Annotated[float, Meta(ge=0, le=1, description="loss that was asked for")]
    loss_fraction: Annotated[
        float | None,
        Meta(description="what staying loses against the bound; null if it is not known"),
    ]
    reason: Annotated[str, Meta(description="why, in words")]
    same: Annotated[int, Meta(ge=0, description="devices as in the earlier plan")] = 0
    less: Annotated[
        int, Meta(ge=0, description="devices with fewer layers, or other ranks, than there")
    ] = 0
    added: Annotated[int, Meta(ge=0, description="devices that took no part there")] = 0
    gone: Annotated[int, Meta(ge=0, description="devices that took part only there")] = 0


class Plan(Base, frozen=True, kw_only=True):
    """A plan for a fleet: ``legend/plan/1``."""

    schema: Literal["legend/plan/1"] = "legend/plan/1"
    provenance: Provenance
    model: Model
    training: Training
    lora: Lora
    question: Question
    ranks: Annotated[list[Rank], Meta(description="rank of the server's adapter, by layer")]
    configurations: Annotated[list[Configuration], Meta(description="adapter shapes in use")]
    devices: Annotated[list[PlannedDevice], Meta(min_length=1, description="the devices")]
    links: Annotated[list[PredictedLink], Meta(description="links that devices share")] = []
    predicted: PredictedRound
    certificate: Certificate
    kept: Annotated[
        Kept | UnsetType,
        Meta(description="of an earlier plan; left out where it was not to stay with one"),
    ] = UNSET

    def __post_init__(self) -> None:
        layers = self.model.layers
        shapes = {"ranks": self.ranks}
        shapes |= {
            f"ranks of configuration {i}": c.ranks for i, c in enumerate(self.configurations)
        }
        for owner, ranks in shapes.items():
            if len(ranks) != layers:
                raise ValueError(
                    f"plan: {owner}: {len(ranks)} entries; the model has {layers} layers, so "
                    f"expected {layers}"
                )
        for device in self.devices:
            index = device.configuration
            if index is not None and not 0 <= index < len(self.configurations):
                raise ValueError(
                    f"device '{device.name}': configuration {index} is not in the plan; "
                    f"expected 0 to {len(self.configurations) - 1}"
                )
            if (index is None) != (device.predicted is None):
                raise ValueError(
                    f"device '{device.name}': configuration is {_null(index)}, predicted is "
                    f"{_null(device.predicted)}; expected null of both or of neither"
                )

    def __repr__(self) -> str:
        """The plan in one line; as a document it has thousands."""
        heads = sum(device.count for device in self.devices)
        p, c = self.predicted, self.certificate
        gap = "" if c.gap_fraction is None else f", gap {c.gap_fraction:.2%}"
        return (
            f"<Plan: {heads} devices, {self.model.name}, policy {self.question.policy}, "
            f"{self.question.structure} ranks, utility {p.utility:.5f}, round "
            f"{p.round_time_s:.4g} s, {c.status}{gap}>"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows of it."""
        # By its name, as whoever reads or checks a plan shares nothing with what shows it.
        return str(import_module("solver.notebook").plan_html(self))

    def configuration_of(self, device: PlannedDevice) -> Configuration | None:
        """Adapter shape of a device, or None where it does not take part."""
        index = device.configuration
        return None if index is None else self.configurations[index]


def _null(value: object) -> str:
    return "null" if value is None else "given"


def read_plan(path: Path | str) -> Plan:
    """Read a plan; raises `InputError`."""
    return read(path, Plan, PLAN_SCHEMA, "Make one with 'legend solve'.")
