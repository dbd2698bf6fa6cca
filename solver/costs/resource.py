"""What a device costs, as a solver sees it; built by `solver.costs.build`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from solver.costs.caching import Caches
from solver.costs.devices import Devices, Floats, Ints
from solver.costs.payload import Payload, Spread
from solver.links.graph import Links

# Devices handled at once: a few columns of them fit the second-level cache.
BLOCK = 1 << 15
# Relative slack on every limit, so that a plan that meets a budget exactly is not lost to
# rounding; the checker allows ten times as much.
TOLERANCE = 1e-10
# Relative difference of two costs that is rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One limited quantity of every device.

    Parameters
    ----------
    name : str
        What it is called in plans and explanations: 'round time', 'memory' ...
    unit : str
        's', 'bytes' or 'J'.
    by_depth : array, shape (C, L + 1)
        Cost at depth k and rank 0, by class.
    per_rank : array, shape (C, L)
        Cost of one rank, by class and layer from the output.
    scale, offset, wire, limit : array, shape (N,)
        Multiplier of the class's cost, fixed cost, cost per LoRA parameter, and limit.
    spare : array, shape (C, L + 1), or None
        What a cache can save of `by_depth`, by class; None where nobody has one.
    saving : array, shape (N,), or None
        Multiplier of what is saved, from 0 to `scale`; None with `spare`.
    flat : array, shape (N,), or None
        Cost of a rank of any layer, beside its parameters; None where there is none.
    """

    name: str
    unit: str
    by_depth: Floats
    per_rank: Floats
    scale: Floats
    offset: Floats
    wire: Floats
    limit: Floats
    spare: Floats | None = None
    saving: Floats | None = None
    flat: Floats | None = None

    def __getitem__(self, where: slice | Ints) -> Self:
        return replace(
            self,
            scale=self.scale[where],
            offset=self.offset[where],
            wire=self.wire[where],
            limit=self.limit[where],
            saving=None if self.saving is None else self.saving[where],
            flat=None if self.flat is None else self.flat[where],
        )

    def fixed(self, c: Ints, k: int | Ints) -> Floats:
        """Cost at depth k and rank 0 of every device, shape (N,), its offset aside.

        Parameters
        ----------
        c : array of int, shape (N,)
            Class of each device.
        k : int or array of int, shape (N,)
        """
        cold: Floats = self.scale * self.by_depth[c, k]
        if self.spare is None or self.saving is None:
            return cold
        return np.asarray(cold - self.saving * self.spare[c, k])

    def slopes(self, i: int, c: int, sizes: Ints) -> Floats:
        """Cost of a rank of each layer on device i of class c, shape (L,)."""
        flat = 0.0 if self.flat is None else float(self.flat[i])
        return np.asarray(self.scale[i] * self.per_rank[c] + self.wire[i] * sizes + flat)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The resources of a fleet and what it takes to predict a round.

    Parameters
    ----------
    devices : Devices
        N rows.
    sizes : array of int, shape (L,)
        LoRA parameters a rank adds, by layer from the output.
    seconds : Resource
        Round time; its limit is infinite unless budgeted.
    resources : tuple of Resource
        Everything limited by the budgets or by a device's memory.
    memory : tuple of Resource
        The three phases whose largest is the peak.
    upload, download : Payload
    caches : Caches or None
        None where nobody has one.
    stack_bytes : float, array of shape (N,), or None
        What each device downloads beside the head, where adapters are stacked; None where it
        receives an adapter of its own shape.
    power_w, radio_j_per_byte : array, shape (C,)
    links : Links or None
        Links that devices share, if there are any.
    spread : {'none', 'less', 'more'}
        Whether what a rank takes on a wire beside its parameters is counted as it is, or
        spread over them, see `solver.costs.payload`.
    """

    devices: Devices
    sizes: Ints
    seconds: Resource
    memory: tuple[Resource, ...]
    resources: tuple[Resource, ...]
    upload: Payload
    download: Payload
    caches: Caches | None
    stack_bytes: float | Floats | None
    power_w: Floats
    radio_j_per_byte: Floats
    links: Links | None = None
    spread: Spread = "none"

    def blocks(self) -> Iterator[tuple[slice, Self]]:
        """Cut the devices into blocks that stay in cache, as views, in order."""
        if len(self.devices) <= BLOCK:
            yield slice(None), self
            return
        for start in range(0, len(self.devices), BLOCK):
            where = slice(start, start + BLOCK)
            yield (
                where,
                replace(
                    self,
                    devices=self.devices[where],
                    seconds=self.seconds[where],
                    memory=tuple(q[where] for q in self.memory),
                    resources=tuple(q[where] for q in self.resources),
                ),
            )


def grow(resources: Sequence[Resource], first: int) -> bool:
    """Whether no device gets cheaper with depth, from a first depth on.

    With a cache, one layer may take less time than none.
    """
    tables = [q.by_depth for q in resources]
    tables += [q.by_depth - q.spare for q in resources if q.spare is not None]
    if not tables:
        return True
    whole = np.concatenate(tables)
    return not (whole[:, first + 1 :] < whole[:, first:-1] * (1 - ROUNDING)).any()
