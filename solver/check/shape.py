"""Whether a plan is for this fleet, all of it, and of the structure that it names."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from profiler.schema import Fleet
from solver.check.finding import Check, verdict
from solver.plan import Plan

__all__ = ["shape_checks"]

# Characters of a field that is not as in the fleet.
_SHOWN = 60
COPIED = ("device_class", "count", "examples", "link")


def shape_checks(plan: Plan, fleet: Fleet) -> list[Check]:
    """Check identity, membership and ranks; needs no costs."""
    return [
        *_identity(plan, fleet),
        _membership(plan, fleet),
        *(_copied(plan, fleet, field) for field in COPIED),
        _local_steps(plan, fleet),
        _taking_part(plan),
        _rank_choices(plan),
        _depths(plan),
        _rank_shape(plan),
        _left_out(plan),
        _structure(plan),
    ]


def _identity(plan: Plan, fleet: Fleet) -> list[Check]:
    """Model, training and LoRA are the fleet's own, field by field."""
    return [
        verdict(part, list(_differing(getattr(plan, part), getattr(fleet, part))))
        for part in ("model", "training", "lora")
    ]


def _differing(ours: Struct, theirs: Struct) -> Iterator[tuple[str, str, str]]:
    """Fields that are not alike, as `verdict` takes them."""
    for field in theirs.__struct_fields__:
        seen, expected = getattr(ours, field), getattr(theirs, field)
        if seen != expected:
            yield field, _short(seen), _short(expected)


def _short(value: object) -> str:
    return textwrap.shorten(str(value), _SHOWN)


def _membership(plan: Plan, fleet: Fleet) -> Check:
    """Every device of the fleet is in the plan exactly once, and no other."""
    planned = Counter(d.name for d in plan.devices)
    known = {d.name for d in fleet.devices}
    repeated = [name for name, times in planned.items() if times > 1]
    faults = {
        "missing": known - planned.keys(),
        "unknown": planned.keys() - known,
        "repeated": repeated,
    }
    told = [f"{word}: {_some(names)}" for word, names in faults.items() if names]
    return Check(
        name="devices",
        ok=not told,
        seen=float(len(plan.devices)),
        expected=float(len(fleet.devices)),
        detail="; ".join(told),
    )


def _copied(plan: Plan, fleet: Fleet, field: str) -> Check:
    """Check a field that the plan repeats from the fleet."""
    truth = {d.name: getattr(d, field) for d in fleet.devices}
    pairs = [
        (d.name, getattr(d, field), truth[d.name]) for d in plan.devices if d.name in truth
    ]
    wrong = [pair for pair in pairs if pair[1] != pair[2]]
    return verdict(f"devices.{field}", wrong)


def _local_steps(plan: Plan, fleet: Fleet) -> Check:
    """Check that devices take their own steps, or as many more as may fill their wait."""
    own = {d.name: d.local_steps for d in fleet.devices}
    wrong = []
    for device in plan.devices:
        least = own.get(device.name, device.local_steps)
        most = least if device.configuration is None else int(plan.question.fill_wait * least)
        if not least <= device.local_steps <= most:
            wrong.append((device.name, device.local_steps, f"{least} to {most}"))
    return verdict("devices.local_steps", wrong)


def _taking_part(plan: Plan) -> Check:
    active = sum(d.configuration is not None for d in plan.devices)
    return Check(
        name="devices.configuration",
        ok=active > 0,
        seen=float(active),
        expected="1 or more",
        detail="devices that take part",
    )


def _rank_choices(plan: Plan) -> Check:
    """Every rank above 0 is one of the choices, in the server's adapter too."""
    choices = set(plan.question.rank_choices)
    shapes = [("the server", plan.ranks)]
    shapes += [(f"configuration {i}", c.ranks) for i, c in enumerate(plan.configurations)]
    wrong = [
        (owner, _some(sorted(odd)), _some(sorted(choices)))
        for owner, ranks in shapes
        if (odd := {r for r in ranks if r > 0} - choices)
    ]
    return verdict("configurations.ranks", wrong)


def _depths(plan: Plan) -> Check:
    least, most = plan.question.min_depth, plan.question.max_depth
    most = plan.model.layers if most is None else most
    wrong = [
        (f"configuration {i}", c.depth, f"{least} to {most}")
        for i, c in enumerate(plan.configurations)
        if not least <= c.depth <= most
    ]
    return verdict("configurations.depth", wrong)


def _rank_shape(plan: Plan) -> Check:
    """How the server's ranks may run from the first adapted layer to the output."""
    ranks = [rank for rank in plan.ranks if rank > 0]
    steps = [after - before for before, after in pairwise(ranks)]
    holds = {
        "free": True,
        "rising": all(step >= 0 for step in steps),
        "progression": all(step == steps[0] >= 0 for step in steps),
    }[plan.question.rank_shape]
    return Check(
        name="question.rank_shape",
        ok=holds,
        seen=str(ranks),
        expected=plan.question.rank_shape,
    )


def _left_out(plan: Plan) -> Check:
    """Policy 'exact' leaves nobody out, unless its question allows it."""
    asked = plan.question
    everybody = asked.policy == "exact" and asked.leave_out == "nobody"
    wrong = [
        (d.name, "left out", "takes part")
        for d in plan.devices
        if everybody and d.configuration is None
    ]
    return verdict("question.leave_out", wrong)


def _structure(plan: Plan) -> Check:
    """How the ranks of a configuration may differ from the server's adapter.

    `shared`: not at all; `capped`: cut off at one cap; `own`: freely below the server's.
    """
    structure = plan.question.structure
    wrong = []
    for index, configuration in enumerate(plan.configurations):
        ranks = configuration.ranks
        cap = max(ranks) if structure == "capped" else max(plan.ranks)
        allowed = [
            min(server, cap) if rank > 0 else 0
            for server, rank in zip(plan.ranks, ranks, strict=True)
        ]
        fits = _below(ranks, allowed) if structure == "own" else ranks == allowed
        if not fits:
            wrong.append((f"configuration {index}", str(ranks), str(allowed)))
    return verdict(f"configurations.{structure}", wrong)


def _below(ranks: Sequence[int], server: Sequence[int]) -> bool:
    return all(r <= s for r, s in zip(ranks, server, strict=True))


def _some(names: Iterable[object], most: int = 5) -> str:
    listed = sorted(names, key=str) if not isinstance(names, list) else names
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(str(n) for n in listed[:most]) + more
