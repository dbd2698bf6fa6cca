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

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from solver.devices import Floats, Ints
from solver.resource import ROUNDING, Costs, Resource, grow

# Relative slack on every limit, so that a plan that meets a budget exactly is not lost to
# rounding; the checker allows ten times as much.
TOLERANCE = 1e-10
# Most prefix sums in a table; beyond, LoRA sizes are rounded to a coarser unit.
MOST_UNITS = 1 << 21
# Cells (depth, device) handled at once: they stay in the second-level cache.
CELLS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
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

    def deepest(self, ranks: Ints) -> Ints | None:
        """Largest depth of each device that it can train at shared ranks, shape (N,).

        -1 where there is none; None where `units` is.
        """
        if self.units is None:
            return None
        prefix = np.append(0, np.cumsum(self.steps * ranks))
        depths = np.arange(np.count_nonzero(ranks) + 1)[:, None]
        holds = self.units[: len(depths)] >= prefix[: len(depths), None]
        found: Ints = np.where(holds, depths, -1).max(axis=0)
        return found


def grid(sizes: Ints, max_rank: int, *, optimistic: bool) -> tuple[int, Ints]:
    """Unit of the prefix sums and layer sizes in it.

    The unit is the gcd of the sizes, and nothing is lost. Where that makes more than
    `MOST_UNITS` prefix sums, it is coarser, and the sizes are rounded down (optimistic: no
    feasible choice is lost) or up (every choice is feasible).
    """
    unit = int(np.gcd.reduce(sizes))
    if int(sizes.sum()) * max_rank > MOST_UNITS * unit:
        unit = -(-int(sizes.sum()) * max_rank // MOST_UNITS)
    return unit, sizes // unit if optimistic else -(-sizes // unit)


def exact(costs: Costs, max_rank: int, min_depth: int = 0) -> bool:
    """Whether the conservative and the optimistic capacities are the same.

    From the least depth on, that is: with a cache, one layer may take less time than none.
    """
    unit, _ = grid(costs.sizes, max_rank, optimistic=True)
    return not (costs.sizes % unit).any() and proportional(costs, min_depth)


def proportional(costs: Costs, min_depth: int = 0) -> bool:
    """Whether costs per rank are in proportion to the sizes, and depth never gets cheaper."""
    if any(q.flat is not None for q in costs.resources):
        return False
    if not costs.resources:
        return True
    ratio = _ratios(costs)
    least, most = ratio.min(axis=0), ratio.max(axis=0)
    uneven = (most - least > ROUNDING * most).any()
    return not uneven and grow(costs.resources, min(min_depth, 1))


def capacity(costs: Costs, weights: Floats, max_rank: int, *, optimistic: bool) -> Capacity:
    """Aggregate the devices' capacities.

    Parameters
    ----------
    costs : Costs
    weights : array, shape (N,)
    max_rank : int
        Largest rank choice; bounds the prefix sums.
    optimistic : bool
        Which side of the truth to err on.

    Notes
    -----
    One pass over the devices per depth, O(N L); everything after it is independent of N.
    """
    unit, steps = grid(costs.sizes, max_rank, optimistic=optimistic)
    top = int(steps.sum()) * max_rank
    lines = _lines(costs, unit, optimistic=optimistic)
    held, all_units = np.zeros((len(steps) + 1, top + 2)), None
    for where, units in _pieces(costs, lines, top):
        if len(weights) == units.shape[1]:
            # One count for all depths, each in a row of its own.
            at, all_units = units + np.arange(1, held.size, top + 2)[:, None], units
            spread = np.concatenate([weights] * len(held))
            held += np.bincount(at.ravel(), spread, held.size).reshape(held.shape)
            break
        units += 1
        for row, at_depth in zip(held, units, strict=True):
            row += np.bincount(at_depth, weights[where], top + 2)
    reach = np.ascontiguousarray(held[:, :0:-1].cumsum(axis=1)[:, ::-1])
    # Devices of weight 0 would be missed here; there are none, every device has examples.
    least = (held > 0).argmax(axis=1) - 1
    return Capacity(unit=unit, steps=steps, reach=reach, least=least, units=all_units)


def units_by_depth(costs: Costs, unit: int, top: int, *, optimistic: bool) -> list[Ints]:
    """Capacity of every device in whole units, at most `top`; -1 if none; (N,) by depth."""
    lines = _lines(costs, unit, optimistic=optimistic)
    return list(np.concatenate([units for _, units in _pieces(costs, lines, top)], axis=1))


def units_in_time(costs: Costs, unit: int) -> Floats:
    """How many units fit into the round time alone, in fractions, or more; (L + 1, N)."""
    (line,) = _lines(replace(costs, resources=(costs.seconds,)), unit, optimistic=True)
    return line.room(slice(None), costs.devices.class_index)


def _pieces(costs: Costs, lines: list["_Line"], top: int) -> Iterator[tuple[slice, Ints]]:
    """Capacities by depth and device, shape (L + 1, n), of n devices at a time."""
    devices, depths = len(costs.devices), len(costs.sizes) + 1
    length = max(CELLS // depths, 1)
    for start in range(0, devices, length):
        where = slice(start, start + length)
        c = costs.devices.class_index[where]
        room = np.full((depths, len(c)), float(top))
        # 0 / 0: what costs nothing a rank and fits exactly, which fmin passes over.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for line in lines:
                np.fmin(room, line.room(where, c), out=room)
        np.maximum(np.floor(room, out=room), -1.0, out=room)
        yield where, room.astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """Cost of one resource as a line over the prefix sum, by depth, erring on one side.

    Parameters
    ----------
    fixed, slope : arrays, shapes (L + 1, C) and (1 or L + 1, C)
        By depth and class; the slope for a unit, in one row where it is the same everywhere.
    scale, free, wire : arrays, shape (N,)
        Multiplier of both, what the limit leaves for them, and what a unit adds to the slope.
    saved : array, shape (L + 1, C), or None
        What a cache that spares everything saves of `fixed`. What spares a part of it lies
        between, and so does its cost from the true one.
    saving : array, shape (N,), or None
        Multiplier of `saved`.
    per_unit : array, shape (L + 1, 1), or None
        Ranks in a unit; None with `flat`.
    flat : array, shape (N,), or None
        What a rank adds beside its units.
    alike : bool
        Whether all devices of a class are the same.
    """

    fixed: Floats
    slope: Floats
    scale: Floats
    free: Floats
    wire: Floats
    saved: Floats | None
    saving: Floats | None
    per_unit: Floats | None
    flat: Floats | None
    alike: bool

    @classmethod
    def of(
        cls,
        q: Resource,
        fixed: Floats,
        slope: Floats,
        sizes: Ints,
        unit: int,
        *,
        optimistic: bool,
    ) -> Self:
        saved = per_unit = None
        if q.spare is not None:
            saved = fixed - _fixed((q.by_depth - q.spare).T, optimistic=optimistic)
        if q.flat is not None:
            extreme = np.minimum if optimistic else np.maximum
            ranks = unit / np.concatenate([sizes[:1], sizes])
            per_unit = extreme.accumulate(ranks)[:, None]
        columns = (q.scale, q.offset, q.wire, q.limit, q.saving, q.flat)
        return cls(
            fixed=fixed,
            slope=slope,
            scale=q.scale,
            free=q.limit * (1 + TOLERANCE) - q.offset,
            wire=q.wire * unit,
            saved=saved,
            saving=q.saving,
            per_unit=per_unit,
            flat=q.flat,
            alike=all(column is None or column.strides == (0,) for column in columns),
        )

    def room(self, where: slice, c: Ints) -> Floats:
        """How many units fit, by depth and device, in fractions; below 0 if not even none."""
        if self.alike and len(c):
            saved = self.saved
            return self._fit(self.fixed, self.slope, saved, slice(1)).take(c, axis=1)
        saved = None if self.saved is None else self.saved.take(c, axis=1)
        return self._fit(self.fixed.take(c, axis=1), self.slope.take(c, axis=1), saved, where)

    def _fit(self, fixed: Floats, slope: Floats, saved: Floats | None, where: slice) -> Floats:
        scale = self.scale[where]
        left = self.free[where] - scale * fixed
        if saved is not None and self.saving is not None:
            left += self.saving[where] * saved
        each = scale * slope + self.wire[where]
        if self.flat is not None and self.per_unit is not None:
            each = each + self.flat[where] * self.per_unit
        left /= each
        return left


def _lines(costs: Costs, unit: int, *, optimistic: bool) -> list[_Line]:
    """Lines of all resources: numpy works on their class tables as one, side by side."""
    if not costs.resources:
        return []
    extreme = np.minimum if optimistic else np.maximum
    slopes = extreme.accumulate(_ratios(costs))
    by_depth = np.concatenate([q.by_depth for q in costs.resources]).T
    fixed = _fixed(by_depth, optimistic=optimistic)
    even = (slopes[0] == slopes[-1]).reshape(len(costs.resources), -1).all(axis=1).tolist()
    # Depth 0 has the slope of the first layer.
    slopes = np.concatenate([slopes[:1], slopes]) * unit
    found, classes = [], len(costs.power_w)
    for m, q in enumerate(costs.resources):
        own = slice(m * classes, (m + 1) * classes)
        slope = slopes[:1, own] if even[m] else slopes[:, own]
        found.append(
            _Line.of(q, fixed[:, own], slope, costs.sizes, unit, optimistic=optimistic)
        )
    return found


def _ratios(costs: Costs) -> Floats:
    """Cost of a LoRA parameter by layer, the classes of all resources side by side."""
    return np.concatenate([q.per_rank for q in costs.resources]).T / costs.sizes[:, None]


def _fixed(by_depth: Floats, *, optimistic: bool) -> Floats:
    """Least fixed cost from each depth on, or largest of 1 up to it, shape (L + 1, C).

    Depth 0 earns nothing, so no layer hangs on whether a device could stay there.
    """
    if optimistic:
        return np.asarray(np.minimum.accumulate(by_depth[::-1])[::-1])
    return np.concatenate([by_depth[:1], np.maximum.accumulate(by_depth[1:])])
