"""Costs as lines over the prefix sum, by which `solver.costs.capacity` divides what is left.

Where costs per rank are not proportional to the layers' sizes, the lines err on the side asked
for: the smallest slope and the least fixed cost from a depth on, or the largest of both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE, Costs, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLines:
    """Costs of Q resources as lines over the prefix sum, by depth, erring on one side.

    Parameters
    ----------
    resources : sequence of Resource
    unit : int
        LoRA parameters in one unit of the prefix sum.
    fixed, slope : arrays, shapes (Q, L + 1, C) and (Q, 1 or L + 1, C)
        By depth and class; the slope for a unit, in one row where it is the same everywhere.
    saved : array, shape (Q, L + 1, C), or None
        What a cache that spares everything saves of `fixed`. What spares a part of it lies
        between, and so does its cost from the true one.
    per_unit : array, shape (L + 1, 1), or None
        Ranks in a unit; None where no rank costs anything beside its units.
    """

    resources: Sequence[Resource]
    unit: int
    fixed: Floats
    slope: Floats
    saved: Floats | None
    per_unit: Floats | None

    @classmethod
    def of(
        cls, costs: Costs, resources: Sequence[Resource], unit: int, *, optimistic: bool
    ) -> Self:
        """Lines of some resources, at most the true costs if optimistic, at least if not."""
        extreme = np.minimum if optimistic else np.maximum
        slopes = ratios(resources, costs.sizes)
        if (slopes == slopes[:, :1]).all():
            slopes = slopes[:, :1]
        else:
            # Depth 0 has the slope of the first layer.
            slopes = extreme.accumulate(slopes, axis=1)
            slopes = np.concatenate([slopes[:, :1], slopes], axis=1)
        by_depth = np.concatenate([q.by_depth for q in resources])
        fixed, saved, per_unit = _fixed(by_depth, optimistic=optimistic), None, None
        if any(q.spare is not None for q in resources):
            spare = [q.by_depth * 0 if q.spare is None else q.spare for q in resources]
            saved = fixed - _fixed(by_depth - np.concatenate(spare), optimistic=optimistic)
        if any(q.flat is not None for q in resources):
            ranks = unit / np.concatenate([costs.sizes[:1], costs.sizes])
            per_unit = extreme.accumulate(ranks)[:, None]
        by_class = (len(resources), len(costs.power_w), -1)
        return cls(
            resources=resources,
            unit=unit,
            fixed=fixed.reshape(by_class).transpose(0, 2, 1),
            slope=(slopes * unit).reshape(by_class).transpose(0, 2, 1),
            saved=None if saved is None else saved.reshape(by_class).transpose(0, 2, 1),
            per_unit=per_unit,
        )

    def room(self, where: slice, c: Ints, top: float) -> Floats:
        """How many units fit all resources, in fractions and at most `top`, shape (L + 1, n).

        Below 0 if not even none fits. Of n devices, of classes `c`.
        """
        resources = self.resources
        scale = _column([q.scale[where] for q in resources])
        each = scale * self.slope.take(c, axis=2)
        each += _column([q.wire[where] for q in resources]) * self.unit
        if self.per_unit is not None:
            flat = [0 * q.scale if q.flat is None else q.flat for q in resources]
            each = each + _column([q[where] for q in flat]) * self.per_unit
        free = _column([q.limit[where] for q in resources]) * (1 + TOLERANCE)
        free -= _column([q.offset[where] for q in resources])
        room = self.fixed.take(c, axis=2)
        room *= scale
        np.subtract(free, room, out=room)
        if self.saved is not None:
            saving = [0 * q.scale if q.saving is None else q.saving for q in resources]
            room += _column([q[where] for q in saving]) * self.saved.take(c, axis=2)
        # What costs nothing a rank and fits exactly is 0 / 0, which fmin passes over.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            room /= each
        least: Floats = np.fmin.reduce(room, axis=0, initial=top)
        return least


def _column(values: list[Floats]) -> Floats:
    """A column of each resource, shape (Q, 1, n)."""
    return np.concatenate(values).reshape(len(values), 1, -1)


def ratios(resources: Sequence[Resource], sizes: Ints) -> Floats:
    """Cost of a LoRA parameter by layer, of the classes of all resources, shape (Q * C, L)."""
    return np.concatenate([q.per_rank for q in resources]) / sizes


def _fixed(by_depth: Floats, *, optimistic: bool) -> Floats:
    """Least fixed cost from each depth on, or largest of 1 up to it, shape (Q * C, L + 1).

    Depth 0 earns nothing, so no layer hangs on whether a device could stay there.
    """
    if optimistic:
        return np.asarray(np.minimum.accumulate(by_depth[:, ::-1], axis=1)[:, ::-1])
    first, others = by_depth[:, :1], by_depth[:, 1:]
    return np.concatenate([first, np.maximum.accumulate(others, axis=1)], axis=1)
