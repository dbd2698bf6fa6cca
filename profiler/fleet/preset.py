"""Fleets: presets of catalogue devices, seeded and deterministic.

A fleet's costs come from closed forms, or from a profile measured elsewhere
(`profiler.fleet.rescaled`).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from profiler.configs import DEFAULT_MODEL, config_path, load_config
from profiler.derive import (
    DEFAULT_TRAINING,
    derive_costs,
    derive_profile,
    setting_for,
)
from profiler.fleet.devices import (
    DOWNLINK_RATIO,
    STORAGE_BYTES,
    UPLINK_MBIT_PER_S,
    draw_devices,
)
from profiler.fleet.links import ABOVE_RATIO, ACCESS_MBIT_PER_S, draw_links
from profiler.fleet.rescaled import rescaled_classes
from profiler.hardware import Hardware, find_hardware, read_catalogue
from profiler.schema import (
    DeviceClass,
    Fleet,
    InputError,
    Link,
    Origin,
    Profile,
    Training,
    provenance,
)

__all__ = ["PRESETS", "FleetRequest", "other_modes", "preset_fleet"]

# Counts by device and power mode. The split of 80 devices into 30, 40 and 10 is what we
# believe LEGEND's testbed to be (arXiv 2412.20004); the modes in equal parts are our choice.
PRESETS: dict[str, dict[str, int]] = {
    "paper-80": {
        "jetson-tx2/maxn": 10,
        "jetson-tx2/maxp": 10,
        "jetson-tx2/maxq": 10,
        "jetson-xavier-nx/20w": 10,
        "jetson-xavier-nx/15w": 10,
        "jetson-xavier-nx/10w": 10,
        "jetson-xavier-nx/10w-desktop": 10,
        "jetson-agx-xavier/maxn": 3,
        "jetson-agx-xavier/30w": 3,
        "jetson-agx-xavier/15w": 2,
        "jetson-agx-xavier/10w": 2,
    }
}

MOST_DEVICES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRequest:
    """What a preset is asked for.

    Attributes
    ----------
    preset : str
        One of `PRESETS`.
    seed : int
        Seed of bandwidths, latencies, examples and memory.
    devices : int
        Devices; 0 for as many as the preset has. Others keep its proportions.
    local_steps : int
        Training steps of a device in a round.
    storage_bytes : int
        Storage of each device for cached layer outputs.
    model : str
        Preset name or folder; empty for the default, or for the profile's own.
    training, targets : Training, sequence of str
        The training step and the adapted modules, where no profile says them.
    profile : Profile or None
        A measured profile to take model, memory and the shape of the time from.
    profile_path : Path or None
        Its file.
    all_modes : bool
        Whether classes of the boards' other power modes are there too, for traces.
    access_points, sites : int
        Links that devices share, see `profiler.fleet.links`; 0 for none.
    options : mapping of str to str
        Options the person gave, for the record.
    """

    preset: str = "paper-80"
    seed: int = 0
    devices: int = 0
    local_steps: int = 10
    storage_bytes: int = STORAGE_BYTES
    model: str = ""
    training: Training = DEFAULT_TRAINING
    targets: Sequence[str] = ()
    profile: Profile | None = None
    profile_path: Path | None = None
    all_modes: bool = False
    access_points: int = 0
    sites: int = 0
    options: Mapping[str, str]


def preset_fleet(request: FleetRequest) -> Fleet:
    """Build the fleet of a preset; raises `InputError`.

    The same request gives the same fleet, byte for byte.
    """
    groups = _groups(request)
    if request.all_modes:
        groups |= dict.fromkeys(other_modes(groups), 0)
    hardware = [find_hardware(label) for label in groups]
    if request.profile is None:
        first = derive_profile(
            request.model or DEFAULT_MODEL,
            hardware[0].label,
            None,
            request.training,
            targets=request.targets,
        )
        classes = _derived_classes(request, hardware)
        origins, source = dict(first.provenance.origins), first
    else:
        classes, origins = rescaled_classes(request.profile, request.model, hardware)
        source = request.profile
    devices = draw_devices(
        hardware,
        list(groups.values()),
        request.seed,
        request.local_steps,
        request.storage_bytes,
    )
    links: list[Link] = []
    if request.access_points or request.sites:
        devices, links = draw_links(devices, request.access_points, request.sites, request.seed)
    return Fleet(
        provenance=provenance(
            seed=request.seed,
            options=dict(request.options),
            inputs=_inputs(request),
            origins={**origins, **_own_origins(request, hardware)},
        ),
        model=source.model,
        training=source.training,
        lora=source.lora,
        gain=source.gain,
        classes=classes,
        devices=devices,
        links=links,
    )


def _groups(request: FleetRequest) -> dict[str, int]:
    """Devices by class: the preset's counts, scaled by largest remainders."""
    preset = PRESETS.get(request.preset)
    if preset is None:
        raise InputError(
            f"fleet preset '{request.preset}' is unknown; known: {', '.join(PRESETS)}"
        )
    total = sum(preset.values())
    wanted = request.devices or total
    if not 1 <= wanted <= MOST_DEVICES:
        raise InputError(f"devices is {wanted}; expected 1 to {MOST_DEVICES}")
    shares = {label: wanted * count / total for label, count in preset.items()}
    counts = {label: math.floor(share) for label, share in shares.items()}
    by_remainder = sorted(shares, key=lambda label: counts[label] - shares[label])
    for label in by_remainder[: wanted - sum(counts.values())]:
        counts[label] += 1
    return {label: count for label, count in counts.items() if count}


def other_modes(labels: Collection[str]) -> list[str]:
    """Labels of all further power modes of the boards that `labels` names."""
    boards = {find_hardware(label).id for label in labels}
    known = {find_hardware(label).label for label in labels}
    return [h.label for h in read_catalogue() if h.id in boards and h.label not in known]


def _derived_classes(request: FleetRequest, hardware: Sequence[Hardware]) -> list[DeviceClass]:
    _, config = load_config(request.model or DEFAULT_MODEL)
    classes = []
    for device in hardware:
        setting = setting_for(config, request.training, device, request.targets)
        time, memory = derive_costs(setting, device)
        classes.append(
            DeviceClass(name=device.label, device=device.device(), time=time, memory=memory)
        )
    return classes


def _inputs(request: FleetRequest) -> list[Path]:
    found = [request.profile_path] if request.profile_path else []
    if request.model:
        path = config_path(request.model)
        found += [path] if path.is_file() else []
    return found


def _own_origins(request: FleetRequest, hardware: Sequence[Hardware]) -> dict[str, Origin]:
    by_device = {h.id: h.sources for h in hardware}
    listed = " | ".join(f"{name}: {sources}" for name, sources in by_device.items())
    low, high = UPLINK_MBIT_PER_S
    linked = {}
    if request.access_points:
        least, most = ACCESS_MBIT_PER_S
        linked["links"] = Origin(
            kind="derived",
            source=f"generated: access points with {least:g} to {most:g} Mb/s a device, "
            f"log-uniform; links above with {ABOVE_RATIO[0]:g} to {ABOVE_RATIO[1]:g} of what "
            "leads to them; assumptions",
        )
    return linked | {
        "device": Origin(kind="catalogue", source=listed),
        "devices": Origin(
            kind="derived",
            source=f"generated for preset {request.preset}: uplink log-uniform over {low:g} to "
            f"{high:g} Mb/s, downlink {DOWNLINK_RATIO[0]:g} to {DOWNLINK_RATIO[1]:g} times as "
            "fast, examples log-uniform, latency and memory uniform, storage for cached layer "
            f"outputs {request.storage_bytes / 1e9:g} GB; assumptions",
        ),
    }
