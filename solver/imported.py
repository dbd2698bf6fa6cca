"""A plan made elsewhere, as an ordinary plan: who trains which ranks is given, not chosen.

Its costs are predicted, its limits kept and its gap to the exact bound shown like those of any
policy. The policy's name is ``import``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace as replace_fields

from profiler.schema import Fleet, InputError, read_bytes, refuse_repeated_keys
from solver.allocation import LEFT_OUT, Allocation, fits, server_ranks, utility
from solver.costs.devices import Ints
from solver.errors import Infeasible
from solver.explain.binding import shortfalls
from solver.explain.infeasible import describe, heads
from solver.from_peft import CONFIG, Adapter, read_adapter
from solver.outcome import Outcome
from solver.problem import Problem
from solver.shapes import keeps_shape
from solver.wait.limit import keeps_wait

__all__ = ["Import", "able", "allocated", "plan_import", "read_import"]

INDEX = "devices.json"


class _Device(Struct):
    folder: str | None
    configuration: int | None = 0


class _Index(Struct):
    devices: dict[str, _Device]


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """Who trains what.

    Attributes
    ----------
    ranks : sequence of list of int or None
        Rank by layer, input first, of each device of the fleet; None takes no part.
    notes : list of str
    """

    ranks: Sequence[list[int] | None]
    notes: list[str]


def read_import(folder: Path, fleet: Fleet, *, convert: bool = False) -> Import:
    """Read an adapter for everybody, or one a device.

    Parameters
    ----------
    folder : Path
        An adapter, which every device trains; or a folder with ``devices.json``, which names
        the folder of each device's adapter, as ``legend export --to peft`` writes it.
    fleet : Fleet
    convert : bool
        See `solver.from_peft.read_adapter`.

    Raises
    ------
    InputError
        If a plan cannot express it.
    """
    if (folder / CONFIG).exists() or not (folder / INDEX).exists():
        adapter = read_adapter(folder, fleet, convert=convert)
        return Import(ranks=[adapter.ranks] * len(fleet.devices), notes=adapter.notes)
    index = _read_index(folder / INDEX)
    names = {d.folder for d in index.values() if d.folder is not None}
    adapters = {
        name: read_adapter(_inside(folder, name), fleet, convert=convert)
        for name in sorted(names)
    }
    if missing := [d.name for d in fleet.devices if d.name not in index]:
        raise InputError(
            f"{folder / INDEX}: says nothing of device '{missing[0]}' ({len(missing)} in all); "
            "expected every device of the fleet"
        )
    ranks = [_ranks(index[d.name], adapters, fleet.model.layers) for d in fleet.devices]
    return Import(
        ranks=ranks, notes=list(dict.fromkeys(n for a in adapters.values() for n in a.notes))
    )


def _read_index(path: Path) -> dict[str, _Device]:
    try:
        data = read_bytes(path)
        devices = msgspec.json.decode(data, type=_Index).devices
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: {error}; expected who trains which folder") from None
    refuse_repeated_keys(data, str(path))
    return devices


def _inside(folder: Path, name: str) -> Path:
    if Path(name).name != name or name in (".", ".."):
        raise InputError(f"{folder / INDEX}: '{name}' is no folder beside it")
    return folder / name


def _ranks(device: _Device, adapters: Mapping[str, Adapter], layers: int) -> list[int] | None:
    if device.folder is not None:
        return adapters[device.folder].ranks
    return None if device.configuration is None else [0] * layers


def plan_import(problem: Problem, given: Import, *, leave_out: bool = False) -> Outcome:
    """Give every device what was given.

    Parameters
    ----------
    problem : Problem
        Its rank choices must hold all ranks that are given.
    given : Import
    leave_out : bool
        Whether devices that cannot carry theirs are left out, rather than refused.

    Raises
    ------
    Infeasible
        If a device cannot carry its adapter, or a budget on all of them does not hold.
    """
    allocation = allocated(problem, given)
    carry = able(problem, allocation)
    if not carry.all():
        if not leave_out or not (carry & allocation.taking_part).any():
            raise _unable(problem, allocation, carry)
        allocation = replace(allocation, depth=np.where(carry, allocation.depth, LEFT_OUT))
    _check_together(problem, allocation)
    _check_depth(problem, allocation)
    _check_shape(problem, allocation)
    one = len(allocation.rows) == 1
    shape = "shared" if one else "own"
    least = int(allocation.depth[allocation.taking_part].min())
    question = replace_fields(
        problem.question,
        structure=shape,
        min_depth=min(problem.question.min_depth, least),
    )
    return Outcome(
        allocation=allocation,
        value=utility(problem, allocation),
        bound=None,
        method="given",
        question=question,
    )


def allocated(problem: Problem, given: Import) -> Allocation:
    """One row of ranks if all devices agree on the layers they share, else one a shape."""
    layers = problem.layers
    shapes: Ints = np.array([r if r is not None else [0] * layers for r in given.ranks])[
        :, ::-1
    ]
    depth = (shapes > 0).sum(axis=1)
    server = shapes.max(axis=0)
    agree = bool(((shapes == server) | (shapes == 0)).all())
    distinct, row = np.unique(shapes, axis=0, return_inverse=True)
    out = np.array([r is None for r in given.ranks])
    if out.all():
        raise InputError("no device takes part; expected an adapter for one or more")
    return Allocation(
        rows=server[None, :] if agree else distinct,
        row=np.zeros(len(shapes), dtype=np.int64) if agree else row.reshape(-1),
        depth=np.where(out, LEFT_OUT, depth),
    )


def able(problem: Problem, allocation: Allocation) -> npt.NDArray[np.bool_]:
    """Whether a device keeps its own limits at what it was given, or takes no part anyway."""
    carry = ~allocation.taking_part
    for k in np.unique(allocation.depth[allocation.taking_part]).tolist():
        at = allocation.depth == k
        carry[at] = fits(problem.costs, allocation.rows, allocation.row, k)[at]
    return carry


def _unable(
    problem: Problem, allocation: Allocation, able: npt.NDArray[np.bool_]
) -> Infeasible:
    """Every device that cannot carry its adapter, and what it lacks."""
    found = [
        short
        for row in np.unique(allocation.row[~able]).tolist()
        for k in np.unique(allocation.depth[~able & (allocation.row == row)]).tolist()
        for short in shortfalls(
            problem,
            allocation.rows[row],
            k,
            ~able & (allocation.row == row) & (allocation.depth == k),
        )
    ]
    found.sort(key=lambda s: s.limit / s.need)
    repair = "Loosen that limit, or add --leave-out unable."
    others = heads(problem, {s.device for s in found} - {found[0].device})
    more = f"; {others} more cannot carry theirs" if others else ""
    return Infeasible(
        reason=f"with the adapter given, {describe(found[0])}{more}. {repair}",
        shortfalls=found,
        repair=repair,
    )


def _check_depth(problem: Problem, allocation: Allocation) -> None:
    """A least depth that was asked for; the usual one, 1, lets a head be trained alone."""
    asked = problem.question.min_depth
    short = allocation.taking_part & (allocation.depth < asked)
    if asked > 1 and short.any():
        first = int(np.flatnonzero(short)[0])
        repair = "Lower --min-depth."
        raise Infeasible(
            reason=f"the adapter given to {problem.costs.devices.names[first]} has "
            f"{allocation.depth[first]} layers and the least depth is {asked}. {repair}",
            repair=repair,
        )


def _check_shape(problem: Problem, allocation: Allocation) -> None:
    """A shape of the server's ranks that was asked for."""
    shape, ranks = problem.question.rank_shape, server_ranks(allocation)
    if not keeps_shape(shape, ranks[ranks > 0]):
        repair = "Drop --rank-shape."
        given = ", ".join(map(str, ranks[ranks > 0][::-1].tolist()))
        raise Infeasible(
            reason=f"the ranks given are {given} and the shape asked for is '{shape}'. "
            f"{repair}",
            repair=repair,
        )


def _check_together(problem: Problem, allocation: Allocation) -> None:
    """Budgets on all devices together."""
    budgets, spent = problem.question.budgets, int(server_ranks(allocation).sum())
    if budgets.rank_budget is not None and spent > budgets.rank_budget:
        repair = f"Raise --rank-budget to {spent}."
        raise Infeasible(
            reason=f"the ranks given sum to {spent}, and the budget is "
            f"{budgets.rank_budget}. {repair}",
            repair=repair,
        )
    if not keeps_wait(problem, allocation):
        repair = "Raise --mean-wait, or drop it."
        raise Infeasible(
            reason=f"with the adapters given, the mean wait passes "
            f"{budgets.mean_wait_s} s. {repair}",
            repair=repair,
        )
