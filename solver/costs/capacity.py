"""How much LoRA a device can carry at a depth.

Where a device's costs per rank are proportional to the layers' LoRA sizes s_j (identical
blocks), device i can train depth k exactly when the prefix sum S_k = sum_{j<=k} s_j r_j
stays within its *capacity*

    h_i(k) = min over resources of (limit_i - fixed_i(k)) / slope_i.

Where they are not proportional, two tables bracket the truth: a conservative one (largest
slope, running maximum of the fixed cost) whose every choice is feasible, and an optimistic
one (smallest slope, least fixed cost from k on) that no feasible choice exceeds. A solver
that gets the same value from both has solved the problem exactly.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from solver.costs.devices import Floats, Ints
from solver.costs.lines import CostLines, ratios
from solver.costs.resource import ROUNDING, Costs, Resource, grow

# Most prefix sums in a table; beyond, LoRA sizes are rounded to a coarser unit.
MOST_UNITS = 1 << 21
# Cells (depth, device) handled at once: they stay in the second-level cache.
CELLS = 1 << 17


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Weight of the devices that can carry a prefix sum, by depth.

    Parameters
    ----------
    unit : int
        LoRA parameters in one unit of the prefix sum, see `grid`.
    steps : array of int, shape (L,)
        Layer sizes in units.
    reach : array, shape (L + 1, S + 1)
        ``reach[k, s]``: total weight of the devices that can train depth k at prefix sum s.
    least : array of int, shape (L + 1,)
        Smallest capacity of any device at depth k, in units; -1 if one cannot train it.
    units : array of int, shape (L + 1, N), or None
        Capacity of each device; None where they are too many to keep them all.
    """

    unit: int
    steps: Ints
    reach: Floats
    least: Ints
    units: Ints | None = None

    @cached_property
    def ends(self) -> Ints:
        """Largest prefix sum that somebody carries, by depth, shape (L + 1,); -1 if none."""
        return np.asarray(np.count_nonzero(self.reach > 0, axis=1) - 1)

    def deepest(self, ranks: Ints) -> Ints | None:
        """Largest depth of each device that it can train at shared ranks, shape (N,).

        -1 where there is none; None where `units` is.
        """
        if self.units is None:
            return None
        depths = np.arange(np.count_nonzero(ranks) + 1)[:, None]
        prefix = np.zeros_like(depths)
        np.cumsum((self.steps * ranks)[: len(depths) - 1], out=prefix[1:, 0])
        holds = self.units[: len(depths)] >= prefix
        found: Ints = np.where(holds, depths, -1).max(axis=0)
        return found


def grid(sizes: Ints, max_rank: int, *, optimistic: bool) -> tuple[int, Ints]:
    """Unit of the prefix sums and layer sizes in it.

    The unit is the gcd of the sizes, and nothing is lost. Where that makes more than
    `MOST_UNITS` prefix sums, it is coarser, and the sizes are rounded down (optimistic: no
    feasible choice is lost) or up (every choice is feasible).
    """
    unit, most = _unit(sizes, max_rank)
    if most > MOST_UNITS * unit:
        unit = -(-most // MOST_UNITS)
    return unit, sizes // unit if optimistic else -(-sizes // unit)


def _unit(sizes: Ints, max_rank: int) -> tuple[int, int]:
    """Unit in which nothing is lost, and the largest prefix sum in parameters."""
    each = sizes.tolist()
    return math.gcd(*each), sum(each) * max_rank


def exact(costs: Costs, max_rank: int, min_depth: int = 0) -> bool:
    """Whether the conservative and the optimistic capacities are the same.

    From the least depth on, that is: with a cache, one layer may take less time than none.
    """
    unit, most = _unit(costs.sizes, max_rank)
    return most <= MOST_UNITS * unit and proportional(costs, min_depth)


def proportional(costs: Costs, min_depth: int = 0) -> bool:
    """Whether costs per rank are in proportion to the sizes, and depth never gets cheaper."""
    if any(q.flat is not None for q in costs.resources):
        return False
    if not costs.resources:
        return True
    ratio = ratios(costs.resources, costs.sizes)
    first = ratio[:, :1]
    # Mostly they are the same to the bit, which is sooner asked.
    even = (ratio == first).all() or (np.abs(ratio - first) <= ROUNDING * first).all()
    return bool(even) and grow(costs.resources, min(min_depth, 1))


def capacity(costs: Costs, weights: Floats, max_rank: int, *, optimistic: bool) -> Capacity:
    """Aggregate the devices' capacities: O(N L), and nothing after it depends on N.

    Parameters
    ----------
    costs : Costs
    weights : array, shape (N,)
    max_rank : int
        Largest rank choice; bounds the prefix sums.
    optimistic : bool
        Which side of the truth to err on.
    """
    unit, steps = grid(costs.sizes, max_rank, optimistic=optimistic)
    top = sum(steps.tolist()) * max_rank
    pieces = _pieces(costs, unit, top, optimistic=optimistic)
    held, units = _held(pieces, weights, (len(steps) + 1, top + 2))
    reach = np.empty((len(held), top + 1))
    held[:, :0:-1].cumsum(axis=1, out=reach[:, ::-1])
    # Devices of weight 0 would be missed here; there are none, every device has examples.
    least = (held > 0).argmax(axis=1) - 1 if units is None else units.min(axis=1)
    return Capacity(unit=unit, steps=steps, reach=reach, least=least, units=units)


def units_by_depth(costs: Costs, unit: int, top: int, *, optimistic: bool) -> list[Ints]:
    """Capacity of every device in whole units, at most `top`; -1 if none; (N,) by depth."""
    pieces = _pieces(costs, unit, top, optimistic=optimistic)
    return list(np.concatenate([units for _, units in pieces], axis=1))


def units_in_time(costs: Costs, unit: int) -> Floats:
    """How many units fit into the round time alone, in fractions, or more; (L + 1, N)."""
    lines = CostLines.of(costs, (costs.seconds,), unit, optimistic=True)
    return lines.room(slice(None), costs.devices.class_index, np.inf)


def _held(
    pieces: Iterator[tuple[slice, Ints]], weights: Floats, shape: tuple[int, int]
) -> tuple[Floats, Ints | None]:
    """Weight of devices by depth and capacity, from -1 on; the capacities if in one piece."""
    (depths, width), held = shape, None
    for where, units in pieces:
        if len(weights) == units.shape[1]:
            # One count for all depths, each in a row of its own.
            at = units + np.arange(1, depths * width, width)[:, None]
            each = np.concatenate([weights] * depths)
            counted = np.asarray(np.bincount(at.ravel(), each, depths * width), dtype=float)
            return counted.reshape(shape), units
        held = np.zeros(shape) if held is None else held
        units += 1
        for row, at_depth in zip(held, units, strict=True):
            row += np.bincount(at_depth, weights[where], width)
    return np.zeros(shape) if held is None else held, None


def _pieces(
    costs: Costs, unit: int, top: int, *, optimistic: bool
) -> Iterator[tuple[slice, Ints]]:
    """Capacities by depth and device, shape (L + 1, n), of n devices at a time."""
    devices, depths = len(costs.devices), len(costs.sizes) + 1
    alike, own = list[Resource](), list[Resource]()
    for q in costs.resources:
        (alike if devices and _alike(q) else own).append(q)
    most, lines = np.full((depths, len(costs.power_w)), float(top)), None
    if alike:
        by_class = CostLines.of(costs, alike, unit, optimistic=optimistic)
        most = by_class.room(slice(1), np.arange(most.shape[1]), top)
    if own:
        lines = CostLines.of(costs, own, unit, optimistic=optimistic)
    length = max(CELLS // (depths * max(len(own), 1)), 1)
    for start in range(0, devices, length):
        where = slice(start, start + length)
        c = costs.devices.class_index[where]
        room = most.take(c, axis=1) if lines is None else lines.room(where, c, top)
        if alike and own:
            np.minimum(room, most.take(c, axis=1), out=room)
        np.maximum(np.floor(room, out=room), -1.0, out=room)
        yield where, room.astype(np.int64)


def _alike(q: Resource) -> bool:
    """Whether all devices of a class are the same."""
    columns = (q.scale, q.offset, q.wire, q.limit, q.saving, q.flat)
    return all(column is None or column.strides == (0,) for column in columns)
