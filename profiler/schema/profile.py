"""What one device costs: ``legend/profile/1``."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from profiler.files import read
from profiler.schema.base import Base, NonNegative, finite, length
from profiler.schema.model import Gain, Lora, Model, Training, check_model
from profiler.schema.origins import Provenance

PROFILE_SCHEMA = "legend/profile/1"


class Device(Base, frozen=True, kw_only=True):
    """The machine that a profile holds for."""

    name: Annotated[str, Meta(description="catalogue id or host name", min_length=1)]
    mode: Annotated[str, Meta(description="power mode or clock setting")] = "default"
    processor: Annotated[Literal["cpu", "cuda"], Meta(description="what computes")] = "cpu"
    threads: Annotated[int, Meta(ge=0, description="CPU threads used; 0 if not CPU")] = 0
    memory_bytes: Annotated[int, Meta(ge=0, description="memory of the device; 0 unknown")] = 0
    power_w: Annotated[NonNegative, Meta(description="draw under load; 0 unknown")] = 0.0
    radio_j_per_byte: Annotated[
        NonNegative, Meta(description="radio energy a byte; 0 unknown")
    ] = 0.0


class StepTime(Base, frozen=True, kw_only=True):
    """Seconds of one training step.

    A step at depth k with ranks r takes ``embedding_s + sum(forward_s) + head_s`` plus, over
    the last k layers, ``backward_s[l] + lora_s_per_rank[l] * r[l]``. ``backward_s[l]`` is the
    *marginal* time of lowering the bottom adapted layer to l (at rank 0), so the cheaper
    backward of the bottom layer and the jump from depth 0 to 1 need no special case.
    """

    embedding_s: Annotated[NonNegative, Meta(description="embeddings, forward")]
    forward_s: Annotated[list[NonNegative], Meta(description="bare forward, by layer")]
    head_s: Annotated[
        NonNegative, Meta(description="task head (both ways), loss and optimizer call")
    ]
    backward_s: Annotated[
        list[NonNegative], Meta(description="marginal backward of depth, by layer")
    ]
    lora_s_per_rank: Annotated[
        list[NonNegative], Meta(description="what one rank adds to a step, by layer")
    ]
    error_fraction: Annotated[
        NonNegative, Meta(description="relative uncertainty of a step's time, one sigma")
    ] = 0.0

    def __post_init__(self) -> None:
        finite(
            "time",
            embedding_s=self.embedding_s,
            forward_s=self.forward_s,
            head_s=self.head_s,
            backward_s=self.backward_s,
            lora_s_per_rank=self.lora_s_per_rank,
            error_fraction=self.error_fraction,
        )


class DepthCost(Base, frozen=True, kw_only=True):
    """A cost ``by_depth[k] + sum over the last k layers of per_rank[l] * r[l]``."""

    by_depth: Annotated[list[NonNegative], Meta(description="cost at depth k = 0..L")]
    per_rank: Annotated[list[NonNegative], Meta(description="cost of one rank, by layer")]

    def __post_init__(self) -> None:
        finite("cost", by_depth=self.by_depth, per_rank=self.per_rank)
        length("cost", len(self.by_depth) - 1, per_rank=self.per_rank)


class Memory(Base, frozen=True, kw_only=True):
    """Peak memory of training: the largest phase on top of weights and framework.

    At depth k with ranks r that is ``weights_bytes + framework_bytes`` and the largest of
    the three phases. Each has its activations in it: ``activation_bytes`` is for reading.
    """

    weights_bytes: Annotated[NonNegative, Meta(description="frozen base, resident")]
    framework_bytes: Annotated[
        NonNegative, Meta(description="process and libraries before the model")
    ]
    activation_bytes: Annotated[
        list[NonNegative], Meta(description="marginal saved activations of depth, by layer")
    ]
    forward_bytes: Annotated[DepthCost, Meta(description="peak of the forward pass")]
    backward_bytes: Annotated[DepthCost, Meta(description="peak of the backward pass")]
    optimizer_bytes: Annotated[DepthCost, Meta(description="peak of the optimizer step")]
    error_fraction: Annotated[
        NonNegative, Meta(description="relative uncertainty of the peak, one sigma")
    ] = 0.0

    def __post_init__(self) -> None:
        finite(
            "memory",
            weights_bytes=self.weights_bytes,
            framework_bytes=self.framework_bytes,
            activation_bytes=self.activation_bytes,
        )


class Costs(Base, frozen=True, kw_only=True):
    """What one device class costs."""

    device: Device
    time: StepTime
    memory: Memory

    def check_layers(self, owner: str, layers: int) -> None:
        """Raise ValueError unless every array fits a model of `layers` layers."""
        time, memory = self.time, self.memory
        length(
            owner,
            layers,
            forward_s=time.forward_s,
            backward_s=time.backward_s,
            lora_s_per_rank=time.lora_s_per_rank,
            activation_bytes=memory.activation_bytes,
            forward_bytes=memory.forward_bytes.per_rank,
            backward_bytes=memory.backward_bytes.per_rank,
            optimizer_bytes=memory.optimizer_bytes.per_rank,
        )


class Profile(Costs, frozen=True, kw_only=True):
    """Costs of one (model, training setup) on one device: ``legend/profile/1``."""

    schema: Literal["legend/profile/1"] = "legend/profile/1"
    provenance: Provenance
    model: Model
    training: Training
    lora: Lora
    gain: Gain

    def __post_init__(self) -> None:
        self.check_layers("profile", self.model.layers)
        check_model("profile", self.model, self.lora, self.gain)


def read_profile(path: Path | str) -> Profile:
    """Read a profile; raises `InputError`."""
    return read(path, Profile, PROFILE_SCHEMA, "Make one with 'legend profile'.")
