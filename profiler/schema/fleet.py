"""Devices that fine-tune one model together, and the links they share: ``legend/fleet/1``."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from msgspec import UNSET, Meta

from profiler.files import read
from profiler.schema.base import Base, Count, Positive, finite
from profiler.schema.limits import Download, Energy, Time, Upload, check_limits
from profiler.schema.model import Gain, Lora, Model, Training, check_model
from profiler.schema.origins import Provenance
from profiler.schema.profile import Costs

FLEET_SCHEMA = "legend/fleet/1"


class DeviceClass(Costs, frozen=True, kw_only=True):
    """The costs that all devices of a class share, and limits of those that have no own."""

    name: Annotated[str, Meta(description="class name, unique in the fleet", min_length=1)]
    upload_limit_bytes: Upload = UNSET
    download_limit_bytes: Download = UNSET
    energy_limit_j: Energy = UNSET
    time_limit_s: Time = UNSET

    def __post_init__(self) -> None:
        check_limits(f"class '{self.name}'", self)


class FleetDevice(Base, frozen=True, kw_only=True):
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
    upload_limit_bytes: Upload = UNSET
    download_limit_bytes: Download = UNSET
    energy_limit_j: Energy = UNSET
    time_limit_s: Time = UNSET

    def __post_init__(self) -> None:
        check_limits(f"device '{self.name}'", self)
        finite(self.name, latency_s=self.latency_s, time_scale=self.time_scale)
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


class Link(Base, frozen=True, kw_only=True):
    """A link that several devices share on their way to the server.

    Links form a tree: each leads to its parent, the topmost to the server. All that the
    devices behind a link send and receive passes it, and every link above it.
    """

    name: Annotated[str, Meta(description="unique among the links", min_length=1)]
    parent: Annotated[str, Meta(description="link it leads to; empty: the server")] = ""
    uplink_bytes_per_s: Annotated[Positive, Meta(description="shared upload capacity")]
    downlink_bytes_per_s: Annotated[Positive, Meta(description="shared download capacity")]

    def __post_init__(self) -> None:
        finite(
            f"link '{self.name}'",
            uplink_bytes_per_s=self.uplink_bytes_per_s,
            downlink_bytes_per_s=self.downlink_bytes_per_s,
        )


class Fleet(Base, frozen=True, kw_only=True):
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
        check_model("fleet", self.model, self.lora, self.gain)
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

    def __repr__(self) -> str:
        """The fleet in one line; as a document it has thousands."""
        heads = sum(device.count for device in self.devices)
        return (
            f"<Fleet: {heads} devices of {len(self.classes)} classes, {self.model.name}, "
            f"{self.model.layers} layers>"
        )


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


def read_fleet(path: Path | str) -> Fleet:
    """Read a fleet; raises `InputError`."""
    return read(path, Fleet, FLEET_SCHEMA, "Make one with 'legend fleet'.")
