"""Links that devices share: drawn for a preset (access points, sites, the server's own)."""

import math
import random
from collections import Counter
from collections.abc import Sequence

import msgspec

from profiler.schema import FleetDevice, InputError, Link
from profiler.units import BYTES_PER_S_PER_MBIT

__all__ = ["ABOVE_RATIO", "ACCESS_MBIT_PER_S", "check_tree", "draw_links"]

# Of an access point with this many devices; more devices, more capacity.
ACCESS_MBIT_PER_S = (0.5, 5.0)
DOWNLINK_RATIO = (1.0, 3.0)
# Capacity of a link above, as a share of the sum of those that lead to it.
ABOVE_RATIO = (0.5, 1.0)
SERVER = "server-link"


def draw_links(
    devices: Sequence[FleetDevice], access_points: int, sites: int, seed: int
) -> tuple[list[FleetDevice], list[Link]]:
    """Put devices behind access points, those behind sites, and all behind the server's link.

    Parameters
    ----------
    devices : sequence of FleetDevice
    access_points, sites : int
        How many; without sites the access points lead to the server itself.
    seed : int
        The same seed gives the same links.

    Returns
    -------
    tuple of (list of FleetDevice, list of Link)
        The devices with the access point they are behind; links from the server down.
    """
    if not 1 <= access_points <= len(devices):
        raise InputError(
            f"access points is {access_points}; expected 1 to {len(devices)}, the devices"
        )
    if not 0 <= sites <= access_points:
        raise InputError(f"sites is {sites}; expected 0 to {access_points}, the access points")
    # Not the generator of the devices: they stay as they are without links.
    generator = random.Random(f"links {seed}")
    places = [number % access_points for number in range(len(devices))]
    generator.shuffle(places)
    behind_each = Counter(places)
    points = [
        _access_point(number, behind_each[number], access_points, sites, generator)
        for number in range(access_points)
    ]
    behind = [
        msgspec.structs.replace(device, link=points[place].name)
        for device, place in zip(devices, places, strict=True)
    ]
    if not sites:
        return behind, points
    names = [_name("site", number, sites) for number in range(sites)]
    middle = [
        _above(name, SERVER, [p for p in points if p.parent == name], generator)
        for name in names
    ]
    return behind, [_above(SERVER, "", middle, generator), *middle, *points]


def _access_point(
    number: int, devices: int, count: int, sites: int, generator: random.Random
) -> Link:
    low, high = ACCESS_MBIT_PER_S
    uplink = devices * low * float((high / low) ** generator.random()) * BYTES_PER_S_PER_MBIT
    ratio = _uniform(generator, *DOWNLINK_RATIO)
    return Link(
        name=_name("ap", number, count),
        parent=_name("site", number % sites, sites) if sites else "",
        uplink_bytes_per_s=float(round(uplink)),
        downlink_bytes_per_s=float(round(uplink * ratio)),
    )


def _above(name: str, parent: str, below: list[Link], generator: random.Random) -> Link:
    share = _uniform(generator, *ABOVE_RATIO)
    return Link(
        name=name,
        parent=parent,
        uplink_bytes_per_s=float(round(share * math.fsum(b.uplink_bytes_per_s for b in below))),
        downlink_bytes_per_s=float(
            round(share * math.fsum(b.downlink_bytes_per_s for b in below))
        ),
    )


def _name(kind: str, number: int, count: int) -> str:
    return f"{kind}-{number + 1:0{len(str(count))}d}"


def _uniform(generator: random.Random, low: float, high: float) -> float:
    return low + (high - low) * generator.random()


def check_tree(
    owner: str, devices: Sequence[FleetDevice], links: Sequence[Link], table: str = "links"
) -> None:
    """Refuse devices and links that lead nowhere or in a circle.

    Parameters
    ----------
    owner, table : str
        What the devices and the links were read from, for error messages.
    devices : sequence of FleetDevice
    links : sequence of Link

    Raises
    ------
    InputError
    """
    parents = {link.name: link.parent for link in links}
    known = f"one of {', '.join(parents)}" if parents else "a table of links beside (--links)"
    for device in devices:
        if device.link and device.link not in parents:
            raise InputError(
                f"{owner}: device '{device.name}' is behind link '{device.link}'; expected "
                f"{known}, or nothing"
            )
    for name in parents:
        seen, at = {name}, parents[name]
        while at:
            if at not in parents or at in seen:
                raise InputError(
                    f"{table}: link '{name}': its parents lead to '{at}'; expected another "
                    "link of the table and never back, until one leads to the server (empty)"
                )
            seen.add(at)
            at = parents[at]
