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
from dataclasses import dataclass
from typing import Self

import numpy as np

from solver.costs import Costs, Resource
from solver.devices import Floats, Ints

# Relative slack on every limit, so that a plan that meets a budget exactly is not lost to
# rounding; the checker allows ten times as much.
TOLERANCE = 1e-10
# Most prefix sums in a table; beyond, LoRA sizes are rounded to a coarser unit.
MOST_UNITS = 1 << 21


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
    """

    unit: int
    steps: Ints
    reach: Floats
    least: Ints


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
    low, high = (grid(costs.sizes, max_rank, optimistic=side)[1] for side in (True, False))
    return np.array_equal(low, high) and proportional(costs, min_depth)


def proportional(costs: Costs, min_depth: int = 0) -> bool:
    """Whether costs per rank are in proportion to the sizes, and depth never gets cheaper."""
    first = min(min_depth, 1)
    return all(
        q.flat is None
        and np.array_equal(low.fixed[:, first:], high.fixed[:, first:])
        and np.allclose(low.ratio, high.ratio, rtol=1e-12, atol=0)
        and np.allclose(low.saved[:, first:], high.saved[:, first:], rtol=1e-12, atol=0)
        for q, low, high in (
            (
                q,
                _Table.of(q, costs.sizes, optimistic=True),
                _Table.of(q, costs.sizes, optimistic=False),
            )
            for q in costs.resources
        )
    )


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
    tables = [_Table.of(q, costs.sizes, optimistic=optimistic) for q in costs.resources]
    held = np.zeros((len(steps) + 1, top + 2))
    for where, block in costs.blocks():
        for k, units in enumerate(_units(block, tables, unit, top)):
            held[k] += np.bincount(units + 1, weights=weights[where], minlength=top + 2)
    reach = held[:, :0:-1].cumsum(axis=1)[:, ::-1]
    # Devices of weight 0 would be missed here; there are none, every device has examples.
    least = (held > 0).argmax(axis=1) - 1
    return Capacity(unit=unit, steps=steps, reach=reach, least=least)


def units_by_depth(costs: Costs, unit: int, top: int, *, optimistic: bool) -> list[Ints]:
    """Capacity of every device in whole units, at most `top`; -1 if none; (N,) by depth."""
    tables = [_Table.of(q, costs.sizes, optimistic=optimistic) for q in costs.resources]
    blocks = [list(_units(block, tables, unit, top)) for _, block in costs.blocks()]
    return [np.concatenate(each) for each in zip(*blocks, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Costs of a resource by depth, erring on one side, shapes (C, L + 1) or (L + 1,).

    Parameters
    ----------
    fixed, saved : array, shape (C, L + 1)
        Fixed cost without a cache, and what a cache that spares everything saves of it. What
        spares a part of it lies between, and so does its cost from the true one.
    ratio : array, shape (C, L + 1)
        Slope per LoRA parameter.
    flat : array, shape (L + 1,)
        Ranks per LoRA parameter.
    """

    fixed: Floats
    saved: Floats
    ratio: Floats
    flat: Floats

    @classmethod
    def of(cls, q: Resource, sizes: Ints, *, optimistic: bool) -> Self:
        """Err on one side."""
        ratio = np.concatenate([q.per_rank[:, :1] / sizes[0], q.per_rank / sizes], axis=1)
        flat = 1 / np.concatenate([sizes[:1], sizes])
        extreme = np.minimum if optimistic else np.maximum
        fixed = _fixed(q.by_depth, optimistic=optimistic)
        saved = np.zeros_like(fixed)
        if q.spare is not None:
            saved = fixed - _fixed(q.by_depth - q.spare, optimistic=optimistic)
        return cls(
            fixed=fixed,
            saved=saved,
            ratio=extreme.accumulate(ratio, axis=1),
            flat=extreme.accumulate(flat),
        )


def _fixed(by_depth: Floats, *, optimistic: bool) -> Floats:
    """Least fixed cost from each depth on, or largest of 1 up to it.

    Depth 0 earns nothing, so no layer hangs on whether a device could stay there.
    """
    if optimistic:
        return np.asarray(np.minimum.accumulate(by_depth[:, ::-1], axis=1)[:, ::-1])
    below, deeper = by_depth[:, :1], by_depth[:, 1:]
    return np.concatenate([below, np.maximum.accumulate(deeper, axis=1)], axis=1)


def _units(costs: Costs, tables: list[_Table], unit: int, top: int) -> Iterator[Ints]:
    """Capacities of one block of devices, depth by depth."""
    c = costs.devices.class_index
    free = [q.limit * (1 + TOLERANCE) - q.offset for q in costs.resources]
    for k in range(len(costs.sizes) + 1):
        room = np.full(len(c), float(top))
        for q, table, most in zip(costs.resources, tables, free, strict=True):
            left = most - q.scale * table.fixed[:, k].take(c)
            if q.saving is not None:
                left += q.saving * table.saved[:, k].take(c)
            slope = q.scale * table.ratio[:, k].take(c) + q.wire
            if q.flat is not None:
                slope += q.flat * table.flat[k]
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                left /= slope * unit
            # 0 / 0: what costs nothing a rank and fits exactly, which fmin passes over.
            np.fmin(room, left, out=room)
        yield np.floor(room, out=room).clip(-1, top).astype(np.int64)
