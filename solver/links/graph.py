"""Links that devices share on their way to the server, and how long a round keeps them busy.

All that the devices behind a link send and receive passes it and every link above it, so

    busy_e = sum over devices i behind e of
             count_i (upload_i / uplink_e + download_i / downlink_e)

and a round lasts as long as its slowest device and its busiest link. That is a fluid model
and a necessary condition: it says that the bytes fit, not how transfers that overlap slow
each other down. Bytes are affine in the LoRA parameters a device sends, ``fixed + width P``,
so a link's limit is one on a weighted sum of the devices' parameters. Where a rank has a flat
price besides, plans are made with that spread over its parameters (`solver.links.spread`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from profiler.schema import Fleet, Link
from solver.costs.devices import Devices, Floats, Ints

NO_LINK = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bytes of every device in one direction: ``fixed + width parameters + flat ranks``.

    Parameters
    ----------
    fixed : array, shape (N,)
        Bytes at rank 0.
    width : float
        Bytes per LoRA parameter that the device adapts.
    flat : float
        Bytes per rank of any layer beside them.
    """

    fixed: Floats
    width: float
    flat: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """The shared links of N rows of devices, E of them.

    Parameters
    ----------
    names : tuple of str, length E
    above : array of bool, shape (E, E)
        ``above[a, e]``: what passes link a passes link e.
    parent : array of int, shape (E,)
        -1: the server.
    own : array of int, shape (N,)
        The link a device is behind; -1 where there is none.
    count : array, shape (N,)
    up_s_per_byte, down_s_per_byte : array, shape (E,)
    up, down : Traffic
    """

    names: tuple[str, ...]
    above: npt.NDArray[np.bool_]
    parent: Ints
    own: Ints
    count: Floats
    up_s_per_byte: Floats
    down_s_per_byte: Floats
    up: Traffic
    down: Traffic

    @classmethod
    def of(cls, fleet: Fleet, devices: Devices, up: Traffic, down: Traffic) -> Self | None:
        """The fleet's links, or None where no device is behind one."""
        if not fleet.links:
            return None
        index = {link.name: e for e, link in enumerate(fleet.links)}
        behind = {d.name: index[d.link] for d in fleet.devices if d.link}
        own = np.array([behind.get(name, NO_LINK) for name in devices.names], dtype=np.int64)
        if (own == NO_LINK).all():
            return None
        return cls(
            names=tuple(index),
            above=_above(fleet.links),
            parent=np.array([index.get(link.parent, NO_LINK) for link in fleet.links]),
            own=own,
            count=devices.count.astype(np.float64),
            up_s_per_byte=np.array([1 / link.uplink_bytes_per_s for link in fleet.links]),
            down_s_per_byte=np.array([1 / link.downlink_bytes_per_s for link in fleet.links]),
            up=up,
            down=down,
        )

    def through(self, each: Floats) -> Floats:
        """Sum of a figure of the devices behind every link, shape (E,)."""
        linked = self.own != NO_LINK
        own = np.bincount(self.own[linked], each[linked], minlength=len(self.names))
        return np.asarray(np.dot(own, self.above))

    def bytes_through(
        self, parameters: Floats, part: npt.NDArray[np.bool_], ranks: Floats | float = 0.0
    ) -> tuple[Floats, Floats]:
        """Upload and download of every link, both (E,), for devices that take part.

        The ranks of each device, summed over layers, matter only where they have a price.
        """
        counted = self.count * part
        up, down = (
            self.through(counted * (way.fixed + way.width * parameters + way.flat * ranks))
            for way in (self.up, self.down)
        )
        return up, down

    def busy_s(
        self, parameters: Floats, part: npt.NDArray[np.bool_], ranks: Floats | float = 0.0
    ) -> Floats:
        """How long every link is busy in a round, shape (E,)."""
        up, down = self.bytes_through(parameters, part, ranks)
        return up * self.up_s_per_byte + down * self.down_s_per_byte

    @property
    def bare_s(self) -> Floats:
        """Busy time if everybody takes part at rank 0, shape (E,)."""
        return self.busy_s(np.zeros(len(self.own)), np.ones(len(self.own), dtype=np.bool_))

    @property
    def s_per_parameter(self) -> Floats:
        """Busy time of one LoRA parameter, shape (E,)."""
        return self.up.width * self.up_s_per_byte + self.down.width * self.down_s_per_byte

    @property
    def s_per_rank(self) -> Floats:
        """Busy time of a rank of any layer beside its parameters, shape (E,)."""
        return self.up.flat * self.up_s_per_byte + self.down.flat * self.down_s_per_byte

    @property
    def flat(self) -> bool:
        """Whether a rank has a price beside its parameters."""
        return self.up.flat > 0 or self.down.flat > 0

    def added_s(self, i: int, parameters: float, ranks: float) -> Floats:
        """How much longer row i of devices keeps every link busy with so much more, (E,)."""
        if self.own[i] == NO_LINK:
            return np.zeros(len(self.names))
        each = parameters * self.s_per_parameter + ranks * self.s_per_rank
        return np.asarray(self.count[i] * self.above[self.own[i]] * each)

    def toll(self, prices: Floats) -> Floats:
        """What a LoRA parameter of each row of devices costs at prices per second, (N,)."""
        by_link = np.append(np.dot(self.above, prices * self.s_per_parameter), 0.0)
        return np.asarray(self.count * by_link[self.own])


def _above(links: Sequence[Link]) -> npt.NDArray[np.bool_]:
    """Which links lie on the way from each link to the server, itself among them."""
    # Here, not above: a fleet without links starts without it.
    import networkx as nx

    tree: nx.DiGraph[str] = nx.DiGraph()
    tree.add_nodes_from(link.name for link in links)
    tree.add_edges_from((link.name, link.parent) for link in links if link.parent)
    index = {link.name: e for e, link in enumerate(links)}
    above = np.eye(len(links), dtype=np.bool_)
    for name in tree:
        above[index[name], [index[other] for other in nx.descendants(tree, name)]] = True
    return above


def that_may_bind(links: Links, most: Floats, least: Floats, limit_s: float) -> Ints:
    """Links whose limit does not follow from that of others, as indices.

    Parameters
    ----------
    links : Links
    most, least : array, shape (N,)
        Parameters of a device at its largest plan and at its smallest.
    limit_s : float
        Longest busy time.

    Notes
    -----
    From the devices up: what can come through a link is no more than what comes through the
    links below it and from its own devices at their largest plans; where that fits, the link
    never binds. Then from the server down, among those left: what a link above lets through,
    less the least that its other devices send, may already fit.
    """
    slope = np.maximum(links.s_per_parameter, 1e-300)
    room = (limit_s - links.bare_s) / slope
    arriving = _own_sum(links, most)
    least_through = links.through(links.count * least)
    depth = links.above.sum(axis=1)
    binds = np.zeros(len(room), dtype=np.bool_)
    for e in np.argsort(-depth, kind="stable"):
        binds[e] = arriving[e] > room[e]
        if links.parent[e] != NO_LINK:
            arriving[links.parent[e]] += min(arriving[e], room[e])
    for e in np.argsort(depth, kind="stable"):
        over = np.flatnonzero(links.above[e] & binds)
        left = room[over] - (least_through[over] - least_through[e])
        if binds[e] and (left[over != e] <= room[e]).any():
            binds[e] = False
    return np.flatnonzero(binds)


def _own_sum(links: Links, each: Floats) -> Floats:
    """Counted sum over the devices directly behind every link, shape (E,)."""
    linked = links.own != NO_LINK
    return np.bincount(
        links.own[linked], (links.count * each)[linked], minlength=len(links.names)
    ).astype(np.float64)
