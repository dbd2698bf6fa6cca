"""A fleet from a table of devices and, if there are any, measured profiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from profiler.configs import DEFAULT_MODEL
from profiler.derive import derive_profile
from profiler.fleet.links import check_tree
from profiler.fleet.preset import other_modes
from profiler.fleet.rows import ANY_MODE
from profiler.fleet.table import Row, by_label, class_names, devices_of, read_links, read_rows
from profiler.hardware import find_hardware, read_catalogue
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

__all__ = ["TableRequest", "rows_fleet", "table_fleet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRequest:
    """A table of devices and where their costs come from.

    Attributes
    ----------
    path : Path or None
        The table; see `profiler.fleet.table`. None where its rows come from elsewhere.
    profiles : sequence of Profile
        Costs by device class; none means the hardware catalogue.
    profile_paths : sequence of Path
        Their files.
    model, training, targets : str, Training, sequence of str
        For the catalogue: what is trained and how, and the adapted modules.
    local_steps : int
        Training steps a round where the table does not say.
    storage_bytes : int
        Storage for cached layer outputs where the table does not say.
    all_modes : bool
        Whether classes that no device starts in are there too, for traces: those of all
        profiles, or of the other power modes of the catalogue's boards.
    links_path : Path or None
        Table of the links that devices share.
    options : mapping of str to str
        Options the person gave, for the record.
    """

    path: Path | None
    profiles: Sequence[Profile]
    profile_paths: Sequence[Path]
    model: str
    training: Training
    targets: Sequence[str] = ()
    local_steps: int
    storage_bytes: int = 0
    all_modes: bool = False
    links_path: Path | None = None
    options: Mapping[str, str]


def table_fleet(request: TableRequest) -> Fleet:
    """Build a fleet from a CSV file; raises `InputError`."""
    assert request.path is not None
    links = [] if request.links_path is None else read_links(request.links_path)
    table = str(request.links_path)
    return rows_fleet(request, read_rows(request.path), str(request.path), links, table)


def rows_fleet(
    request: TableRequest,
    rows: Sequence[Row],
    owner: str,
    links: Sequence[Link],
    links_owner: str,
) -> Fleet:
    """Build a fleet from the rows of a table.

    Parameters
    ----------
    request : TableRequest
    rows : sequence of mapping
        Cells by column, as text.
    owner : str
        What the table is called in error messages.
    links : sequence of Link
        Links that devices share.
    links_owner : str
        What their table is called.

    Raises
    ------
    InputError
        With one line for every bad cell.
    """
    if request.profiles:
        profiles, classes, known = list(request.profiles), _classes(request.profiles), ""
        _check_alike(profiles, [str(p) for p in request.profile_paths])
    else:
        profiles, classes = _from_catalogue(request, rows)
        known = ", ".join(dict.fromkeys(h.id for h in read_catalogue())) + ANY_MODE
    devices = devices_of(
        rows, owner, classes, request.local_steps, known, request.storage_bytes
    )
    check_tree(owner, devices, links, links_owner)
    used = {d.device_class for d in devices}
    unique = {c.name: c for c in classes.values()}
    first = profiles[0]
    return Fleet(
        provenance=provenance(
            options=dict(request.options),
            inputs=[
                *([request.path] if request.path else []),
                *request.profile_paths,
                *([request.links_path] if request.links_path else []),
            ],
            origins={
                **_origins_by_class(profiles),
                "devices": Origin(kind="catalogue", source=f"listed in {Path(owner).name}"),
            },
        ),
        model=first.model,
        training=first.training,
        lora=first.lora,
        gain=first.gain,
        classes=[c for c in unique.values() if request.all_modes or c.name in used],
        devices=devices,
        links=list(links),
    )


def _classes(profiles: Sequence[Profile]) -> dict[str, DeviceClass]:
    """Classes of measured profiles by what the table may call them."""
    classes = [_class_of(p) for p in profiles]
    _check_distinct(classes)
    return by_label(classes)


def _from_catalogue(
    request: TableRequest, rows: Sequence[Row]
) -> tuple[list[Profile], dict[str, DeviceClass]]:
    """Profiles of the catalogue devices that the table names; unknown names are left out."""
    derive = partial(
        derive_profile,
        request.model or DEFAULT_MODEL,
        mode=None,
        training=request.training,
        targets=request.targets,
    )
    by_name = {}
    for name in class_names(rows):
        try:
            label = find_hardware(name).label
        except InputError:
            continue
        by_name[name] = derive(label)
    if request.all_modes:
        for label in other_modes(
            [p.device.name + "/" + p.device.mode for p in by_name.values()]
        ):
            by_name[label] = derive(label)
    classes = {name: _class_of(profile) for name, profile in by_name.items()}
    return list(by_name.values()), classes


def _class_of(profile: Profile) -> DeviceClass:
    device = profile.device
    return DeviceClass(
        name=f"{device.name}/{device.mode}",
        device=device,
        time=profile.time,
        memory=profile.memory,
    )


def _check_alike(profiles: Sequence[Profile], names: Sequence[str]) -> None:
    """All profiles must be of one model, training and LoRA."""
    for profile, name in zip(profiles[1:], names[1:], strict=False):
        for field in ("model", "training", "lora"):
            if getattr(profile, field) != getattr(profiles[0], field):
                raise InputError(
                    f"{name}: its {field} differs from that of {names[0]}; expected "
                    "profiles of one model and training step"
                )


def _check_distinct(classes: Sequence[DeviceClass]) -> None:
    names = [c.name for c in classes]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"two profiles are of device '{name}'; expected one profile a device and mode"
            )


def _origins_by_class(profiles: Sequence[Profile]) -> dict[str, Origin]:
    return {
        f"{p.device.name}/{p.device.mode}: {field}": origin
        for p in profiles
        for field, origin in p.provenance.origins.items()
    }
