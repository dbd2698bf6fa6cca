"""The profiler writes three files, and this module is their contract.

``legend/profile/1`` is what one device costs, ``legend/fleet/1`` is many devices, and
``legend/trace/1`` is how those change from round to round or from second to second. A field
that is not here is refused, every number is checked where it is built, and the published
JSON Schemas are generated from these types. The plan (`solver.plan`) builds on them.

Arrays by layer have length L and run from the input to the output (index 0 is the layer
next to the embeddings), as models count. Arrays by depth have length L + 1; index k is the
cost when the last k layers are adapted.
"""

import datetime
import hashlib
import math
import os
import platform
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from profiler.files import InputError, check_writable, read, read_bytes, write, write_bytes

__all__ = [
    "FLEET_SCHEMA",
    "PROFILE_SCHEMA",
    "TRACE_SCHEMA",
    "VERSION",
    "DepthCost",
    "Device",
    "DeviceClass",
    "DeviceTrace",
    "Fleet",
    "FleetDevice",
    "Gain",
    "InputError",
    "InputFile",
    "Link",
    "Lora",
    "Memory",
    "Model",
    "Origin",
    "Profile",
    "Provenance",
    "StepTime",
    "Target",
    "Trace",
    "Training",
    "check_writable",
    "provenance",
    "read",
    "read_bytes",
    "read_fleet",
    "read_profile",
    "read_trace",
    "write",
    "write_bytes",
]

VERSION = "0.1.0"
PROFILE_SCHEMA = "legend/profile/1"
FLEET_SCHEMA = "legend/fleet/1"
TRACE_SCHEMA = "legend/trace/1"

# As far as a float counts exactly.
Count = Annotated[int, Meta(ge=1, le=2**53)]
NonNegative = Annotated[float, Meta(ge=0.0)]
Positive = Annotated[float, Meta(gt=0.0)]
Kind = Literal["measured", "derived", "catalogue"]


def _finite(owner: str, **values: float | Sequence[float] | None) -> None:
    """Refuse NaN and infinities, which no unit check would catch."""
    for name, value in values.items():
        numbers = value if isinstance(value, list | tuple) else (value,)
        for number in numbers:
            if isinstance(number, float) and not math.isfinite(number):
                raise ValueError(f"{owner}: {name} holds {number}; expected finite numbers")


def _length(owner: str, expected: int, **arrays: Sequence[object]) -> None:
    for name, array in arrays.items():
        if len(array) != expected:
            raise ValueError(f"{owner}: {name} has {len(array)} entries; expected {expected}")


class _Base(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable, keyword-only, closed to unknown fields."""


class Origin(_Base, frozen=True, kw_only=True):
    """Where a figure comes from."""

    kind: Annotated[Kind, Meta(description="how the figure came about")]
    source: Annotated[str, Meta(description="method, data sheet, paper or file it rests on")]


class InputFile(_Base, frozen=True, kw_only=True):
    """A file that went into this one."""

    name: Annotated[str, Meta(description="file name, without its folder")]
    sha256: Annotated[str, Meta(description="SHA-256 of its bytes", pattern="^[0-9a-f]{64}$")]


class Provenance(_Base, frozen=True, kw_only=True):
    """What made a file.

    The date has the resolution of a day (and follows ``SOURCE_DATE_EPOCH``), so that the
    same inputs and seed give the same bytes.
    """

    version: Annotated[str, Meta(description="version of legend that wrote the file")]
    created: Annotated[str, Meta(description="UTC date, YYYY-MM-DD")]
    host: Annotated[str, Meta(description="operating system and processor it ran on")]
    seed: Annotated[int, Meta(description="seed of every random choice")] = 0
    options: Annotated[dict[str, str], Meta(description="options given, by name")] = {}
    inputs: Annotated[list[InputFile], Meta(description="files read")] = []
    origins: Annotated[
        dict[str, Origin], Meta(description="origin of the figures, by field name")
    ] = {}


class Target(_Base, frozen=True, kw_only=True):
    """A linear module of every layer that LoRA adapts."""

    name: Annotated[str, Meta(description="module name below the layer", min_length=1)]
    in_features: Annotated[Count, Meta(description="input width")]
    out_features: Annotated[Count, Meta(description="output width")]


class Model(_Base, frozen=True, kw_only=True):
    """The language model, as far as planning and export need it."""

    name: Annotated[str, Meta(description="hub id or folder name")]
    config_sha256: Annotated[str, Meta(description="SHA-256 of the canonical model config")]
    family: Annotated[str, Meta(description="Hugging Face model_type, such as 'roberta'")]
    layers: Annotated[Count, Meta(description="number of transformer layers, L")]
    hidden_size: Annotated[Count, Meta(description="width of the residual stream")]
    parameters: Annotated[Count, Meta(description="parameters of the frozen base")]
    head_parameters: Annotated[
        int, Meta(ge=0, description="parameters of the trained task head")
    ]
    head_modules: Annotated[
        list[str], Meta(description="modules of the trained task head, outside the base model")
    ] = []
    layers_path: Annotated[
        str, Meta(description="module path of the layer list below the base model")
    ]
    targets: Annotated[list[Target], Meta(min_length=1, description="adapted modules")]

    def module_name(self, layer: int, target: str) -> str:
        """Full name of a target below the base model; `layer` counts from 0 at the input."""
        return f"{self.layers_path}.{layer}.{target}"


class Training(_Base, frozen=True, kw_only=True):
    """The training step that the costs are for."""

    batch_size: Annotated[Count, Meta(description="examples a step")]
    sequence_length: Annotated[Count, Meta(description="tokens an example, padded")]
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], Meta(description="compute type")
    ] = "float32"
    optimizer: Annotated[Literal["adamw", "sgd"], Meta(description="optimizer")] = "adamw"
    attention: Annotated[
        Literal["sdpa", "eager"], Meta(description="attention implementation")
    ] = "sdpa"
    dropout: Annotated[bool, Meta(description="dropout active while training")] = True
    gradient_checkpointing: Annotated[
        bool, Meta(description="activations recomputed in the backward pass")
    ] = False
    task: Annotated[
        Literal["classification", "causal-lm"], Meta(description="what the head does")
    ] = "classification"
    labels: Annotated[int, Meta(ge=0, description="classes; 0 for causal-lm")] = 2


class Lora(_Base, frozen=True, kw_only=True):
    """What adapters of this model weigh.

    ``alpha = scaling * rank`` on every layer, so that the LoRA scale alpha / rank stays the
    same however ranks differ.
    """

    parameters_per_rank: Annotated[
        list[Count], Meta(description="LoRA parameters one rank adds, by layer")
    ]
    bytes_per_parameter: Annotated[
        Positive, Meta(description="bytes a parameter takes on the wire")
    ] = 4.0
    scaling: Annotated[Positive, Meta(description="alpha / rank")] = 2.0

    def peft_fields(self, model: Model, ranks: Sequence[int]) -> dict[str, object]:
        """Fields of a ``peft.LoraConfig`` that builds adapters of just these ranks.

        PEFT takes the first pattern that ends a module's name, gives a module it targets but
        finds in no pattern the default rank, and scales by alpha / rank: so every adapted
        module is named in full, in all three fields, and ``r`` is the largest rank.

        Parameters
        ----------
        model : Model
            Names the modules.
        ranks : sequence of int, shape (L,)
            Rank by layer, input first; a layer of rank 0 is not targeted.

        Returns
        -------
        dict
            ``r``, ``lora_alpha``, ``target_modules``, ``rank_pattern`` and ``alpha_pattern``.
        """
        rank_of = {
            model.module_name(layer, target.name): rank
            for layer, rank in enumerate(ranks)
            for target in model.targets
            if rank > 0
        }
        return {
            "r": max(ranks),
            "lora_alpha": self.scaling * max(ranks),
            "target_modules": list(rank_of),
            "rank_pattern": rank_of,
            "alpha_pattern": {name: self.scaling * rank for name, rank in rank_of.items()},
        }


class Gain(_Base, frozen=True, kw_only=True):
    """What adapting a layer at a rank is worth.

    ``by_layer[l][m]`` is the gain of adding layer l at rank ``ranks[m]`` when every layer
    above it is adapted already: marginal along the nested chain of depths, because gains
    of single layers do not add up. Nondecreasing in the rank; linear between the listed
    ranks, 0 at rank 0 and flat above the last.
    """

    method: Annotated[str, Meta(description="how it was found", min_length=1)]
    ranks: Annotated[list[Count], Meta(min_length=1, description="ranks of the columns")]
    by_layer: Annotated[
        list[list[NonNegative]],
        Meta(description="gain by layer (input first) and rank, arbitrary unit"),
    ]

    def __post_init__(self) -> None:
        if any(a >= b for a, b in pairwise(self.ranks)):
            raise ValueError(f"gain: ranks {self.ranks} must rise strictly")
        for index, row in enumerate(self.by_layer):
            _length("gain", len(self.ranks), **{f"by_layer[{index}]": row})
            _finite("gain", **{f"by_layer[{index}]": row})
            if any(a > b for a, b in pairwise(row)):
                raise ValueError(f"gain: by_layer[{index}] falls with the rank")


class Device(_Base, frozen=True, kw_only=True):
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


class StepTime(_Base, frozen=True, kw_only=True):
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
        _finite(
            "time",
            embedding_s=self.embedding_s,
            forward_s=self.forward_s,
            head_s=self.head_s,
            backward_s=self.backward_s,
            lora_s_per_rank=self.lora_s_per_rank,
            error_fraction=self.error_fraction,
        )


class DepthCost(_Base, frozen=True, kw_only=True):
    """A cost ``by_depth[k] + sum over the last k layers of per_rank[l] * r[l]``."""

    by_depth: Annotated[list[NonNegative], Meta(description="cost at depth k = 0..L")]
    per_rank: Annotated[list[NonNegative], Meta(description="cost of one rank, by layer")]

    def __post_init__(self) -> None:
        _finite("cost", by_depth=self.by_depth, per_rank=self.per_rank)
        _length("cost", len(self.by_depth) - 1, per_rank=self.per_rank)


class Memory(_Base, frozen=True, kw_only=True):
    """Peak memory of training: the largest phase on top of weights and framework."""

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
        _finite(
            "memory",
            weights_bytes=self.weights_bytes,
            framework_bytes=self.framework_bytes,
            activation_bytes=self.activation_bytes,
        )


class _Costs(_Base, frozen=True, kw_only=True):
    """What one device class costs."""

    device: Device
    time: StepTime
    memory: Memory

    def check_layers(self, owner: str, layers: int) -> None:
        """Raise ValueError unless every array fits a model of `layers` layers."""
        time, memory = self.time, self.memory
        _length(
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


class Profile(_Costs, frozen=True, kw_only=True):
    """Costs of one (model, training setup) on one device: ``legend/profile/1``."""

    schema: Literal["legend/profile/1"] = "legend/profile/1"
    provenance: Provenance
    model: Model
    training: Training
    lora: Lora
    gain: Gain

    def __post_init__(self) -> None:
        self.check_layers("profile", self.model.layers)
        _check_model("profile", self.model, self.lora, self.gain)


class DeviceClass(_Costs, frozen=True, kw_only=True):
    """The costs that all devices of a class share."""

    name: Annotated[str, Meta(description="class name, unique in the fleet", min_length=1)]


class FleetDevice(_Base, frozen=True, kw_only=True):
    """A device, or `count` devices alike."""

    name: Annotated[str, Meta(description="unique in the fleet", min_length=1)]
    device_class: Annotated[str, Meta(description="name of its class")]
    count: Annotated[Count, Meta(description="how many there are, all alike")] = 1
    uplink_bytes_per_s: Annotated[float, Meta(description="upload speed")]
    downlink_bytes_per_s: Annotated[float, Meta(description="download speed")]
    latency_s: Annotated[float, Meta(description="fixed network time a round")] = 0.0
    examples: Annotated[Count, Meta(description="local training examples")] = 1
    local_steps: Annotated[Count, Meta(description="training steps a round")] = 1
    memory_bytes: Annotated[int, Meta(description="memory it may use; 0: no limit")] = 0
    storage_bytes: Annotated[
        int, Meta(ge=0, description="storage for cached layer outputs; 0: none, so no cache")
    ] = 0
    link: Annotated[
        str, Meta(description="shared link it is behind, such as an access point; empty: none")
    ] = ""
    time_scale: Annotated[
        float, Meta(description="observed over profiled compute time, 1 until observed")
    ] = 1.0

    def __post_init__(self) -> None:
        _finite(self.name, latency_s=self.latency_s, time_scale=self.time_scale)
        for field in ("uplink_bytes_per_s", "downlink_bytes_per_s", "time_scale"):
            value = getattr(self, field)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"device '{self.name}': {field} is {value}; expected above 0")
        for field in ("latency_s", "memory_bytes"):
            if getattr(self, field) < 0:
                raise ValueError(
                    f"device '{self.name}': {field} is {getattr(self, field)}; "
                    "expected 0 or more"
                )


class Link(_Base, frozen=True, kw_only=True):
    """A link that several devices share on their way to the server.

    Links form a tree: each leads to its parent, the topmost to the server. All that the
    devices behind a link send and receive passes it, and every link above it.
    """

    name: Annotated[str, Meta(description="unique among the links", min_length=1)]
    parent: Annotated[str, Meta(description="link it leads to; empty: the server")] = ""
    uplink_bytes_per_s: Annotated[Positive, Meta(description="shared upload capacity")]
    downlink_bytes_per_s: Annotated[Positive, Meta(description="shared download capacity")]

    def __post_init__(self) -> None:
        _finite(
            f"link '{self.name}'",
            uplink_bytes_per_s=self.uplink_bytes_per_s,
            downlink_bytes_per_s=self.downlink_bytes_per_s,
        )


class Fleet(_Base, frozen=True, kw_only=True):
    """Devices that fine-tune one model together: ``legend/fleet/1``."""

    schema: Literal["legend/fleet/1"] = "legend/fleet/1"
    provenance: Provenance
    model: Model
    training: Training
    lora: Lora
    gain: Gain
    classes: Annotated[list[DeviceClass], Meta(min_length=1, description="device classes")]
    devices: Annotated[list[FleetDevice], Meta(min_length=1, description="the devices")]
    links: Annotated[list[Link], Meta(description="links that devices share")] = []

    def __post_init__(self) -> None:
        _check_links(self.links)
        linked = {"", *(link.name for link in self.links)}
        _check_model("fleet", self.model, self.lora, self.gain)
        names = [c.name for c in self.classes]
        if len(set(names)) < len(names):
            raise ValueError("fleet: class names repeat; expected unique names")
        for device_class in self.classes:
            device_class.check_layers(f"class '{device_class.name}'", self.model.layers)
        known, seen = set(names), set[str]()
        for device in self.devices:
            if device.device_class not in known:
                raise ValueError(
                    f"device '{device.name}': class '{device.device_class}' is not in the "
                    f"fleet; expected one of {', '.join(names)}"
                )
            if device.name in seen:
                raise ValueError(f"device '{device.name}' appears twice; expected unique names")
            if device.link not in linked:
                raise ValueError(
                    f"device '{device.name}': link '{device.link}' is not in the fleet; "
                    "expected the name of one of its links, or nothing"
                )
            seen.add(device.name)


class DeviceTrace(_Base, frozen=True, kw_only=True):
    """What changes about one device, row by row of its trace.

    A list that is empty says that the fleet file holds all along.
    """

    name: Annotated[str, Meta(description="name of the device in the fleet", min_length=1)]
    uplink_bytes_per_s: Annotated[list[Positive], Meta(description="upload speed, by row")] = []
    downlink_bytes_per_s: Annotated[
        list[Positive], Meta(description="download speed, by row")
    ] = []
    device_class: Annotated[
        list[str], Meta(description="class of the fleet, such as a power mode, by row")
    ] = []
    available: Annotated[list[bool], Meta(description="whether it takes part, by row")] = []

    def check_rows(self, rows: int) -> None:
        """Raise ValueError unless every list that is not empty has so many entries."""
        for field in DeviceTrace.__struct_fields__[1:]:
            values = getattr(self, field)
            if values:
                owner = f"device '{self.name}'"
                _length(owner, rows, **{field: values})
                _finite(owner, **{field: values})


class Trace(_Base, frozen=True, kw_only=True):
    """How the devices of a fleet change: ``legend/trace/1``.

    Every figure is a step function. Row m holds from edge m on, until just before edge
    m + 1, so M rows have M + 1 edges. Edges are rounds or seconds, never both.
    """

    schema: Literal["legend/trace/1"] = "legend/trace/1"
    provenance: Provenance
    edge_rounds: Annotated[
        list[Annotated[int, Meta(ge=0)]],
        Meta(description="rounds, counted from 0, at which rows begin, and the last one's end"),
    ] = []
    edge_s: Annotated[
        list[NonNegative],
        Meta(description="seconds since the start at which rows begin, and the last one's end"),
    ] = []
    devices: Annotated[
        list[DeviceTrace],
        Meta(description="devices that change; all others stay as in the fleet"),
    ]

    def __post_init__(self) -> None:
        if bool(self.edge_rounds) == bool(self.edge_s):
            raise ValueError("trace: expected either edge_rounds or edge_s")
        _finite("trace", edge_s=self.edge_s)
        if len(self.edges) < 2 or self.edges[0] != 0:
            raise ValueError("trace: edges must begin at 0 and be two or more")
        if any(a >= b for a, b in pairwise(self.edges)):
            raise ValueError("trace: edges must rise strictly")
        seen = set[str]()
        for device in self.devices:
            device.check_rows(len(self.edges) - 1)
            if device.name in seen:
                raise ValueError(f"trace: device '{device.name}' appears twice")
            seen.add(device.name)

    @property
    def unit(self) -> Literal["rounds", "s"]:
        """What the edges count."""
        return "rounds" if self.edge_rounds else "s"

    @property
    def edges(self) -> Sequence[float]:
        """Edges in their unit, shape (M + 1,)."""
        return self.edge_rounds or self.edge_s


def _check_links(links: Sequence[Link]) -> None:
    """Refuse links that are no tree towards the server."""
    parents = {link.name: link.parent for link in links}
    if len(parents) < len(links):
        raise ValueError("fleet: link names repeat; expected unique names")
    for name in parents:
        seen, at = {name}, parents[name]
        while at:
            if at not in parents:
                raise ValueError(
                    f"link '{name}': parent '{at}' is not in the fleet; expected the name of a "
                    "link, or nothing for the server"
                )
            if at in seen:
                raise ValueError(f"link '{name}': its parents lead back to '{at}'")
            seen.add(at)
            at = parents[at]


def _check_model(owner: str, model: Model, lora: Lora, gain: Gain) -> None:
    _length(
        owner,
        model.layers,
        parameters_per_rank=lora.parameters_per_rank,
        by_layer=gain.by_layer,
    )


def provenance(
    *,
    seed: int = 0,
    options: dict[str, str] | None = None,
    inputs: Sequence[Path] = (),
    origins: dict[str, Origin] | None = None,
) -> Provenance:
    """Describe this machine, version and day for a file about to be written.

    Parameters
    ----------
    seed : int
        Seed of every random choice in the file.
    options : dict of str to str, optional
        Options the person gave.
    inputs : sequence of Path
        Files read; their SHA-256 is recorded.
    origins : dict of str to Origin, optional
        Where the figures come from, by field name.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = (
        datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
        if epoch.isdecimal()
        else datetime.datetime.now(datetime.UTC)
    )
    return Provenance(
        version=VERSION,
        created=now.date().isoformat(),
        host=f"{platform.system()} {platform.machine()}",
        seed=seed,
        options=options or {},
        inputs=[
            InputFile(name=p.name, sha256=hashlib.sha256(p.read_bytes()).hexdigest())
            for p in inputs
        ],
        origins=origins or {},
    )


def read_profile(path: Path) -> Profile:
    """Read a profile; raises `InputError`."""
    return read(path, Profile, PROFILE_SCHEMA, "Make one with 'legend profile'.")


def read_fleet(path: Path) -> Fleet:
    """Read a fleet; raises `InputError`."""
    return read(path, Fleet, FLEET_SCHEMA, "Make one with 'legend fleet'.")


def read_trace(path: Path) -> Trace:
    """Read a trace; raises `InputError`."""
    return read(path, Trace, TRACE_SCHEMA, "Make one with 'legend fleet --trace'.")
