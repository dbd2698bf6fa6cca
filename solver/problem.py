"""A planning problem: a fleet, budgets, and what is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from msgspec.structs import asdict
from msgspec.structs import replace as replace_fields

from profiler.schema import Fleet, Gain, InputError, LimitTable, limited
from solver.costs.build import Costs, build_costs
from solver.costs.devices import Devices, Floats, Ints
from solver.costs.payload import Spread
from solver.posing import budgets_of, question_of
from solver.question import (
    CacheChoice,
    Codec,
    LeaveOut,
    Objective,
    Question,
    RankShape,
    Structure,
    Weights,
)
from solver.show.question import question_text
from solver.wording import spoken

DEFAULT_RANKS = tuple(range(1, 65))


# Compared and hashed by identity: arrays have neither one answer nor one hash.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """What a planner asks; build one with `Problem.of`.

    Layers are counted from the output in every array: index 0 is the last layer.

    Parameters
    ----------
    fleet : Fleet
    question : Question
        Policy, objective, structure, rank choices, budgets.
    costs : Costs
    gains : array, shape (L, R)
        Gain of layer j from the output at the m-th rank choice.
    weights : array, shape (N,)
        Weight of a device (times its count) in the utility; sums to 1.
    """

    fleet: Fleet
    question: Question
    costs: Costs
    gains: Floats
    weights: Floats

    def __repr__(self) -> str:
        """What is asked of whom, in one line."""
        heads, asked = int(self.costs.devices.count.sum()), question_text(self.question)
        return f"<Problem: {heads} devices, {self.fleet.model.name}, {asked}>"

    @classmethod
    @spoken
    def of(
        cls,
        fleet: Fleet,
        *,
        policy: str = "exact",
        objective: Objective = "utility",
        structure: Structure = "shared",
        weights: Weights = "examples",
        ranks: Sequence[int] = DEFAULT_RANKS,
        rank_shape: RankShape = "free",
        min_depth: int = 1,
        max_depth: int | None = None,
        cache: CacheChoice = "off",
        cache_rounds: int | None = None,
        upload_codec: Codec = "none",
        download_codec: Codec = "none",
        min_utility: float | None = None,
        fill_wait: float = 1.0,
        leave_out: LeaveOut = "nobody",
        round_time_s: float | None = None,
        mean_wait_s: float | None = None,
        upload_bytes: float | None = None,
        download_bytes: float | None = None,
        energy_j: float | None = None,
        rank_budget: int | None = None,
        devices: Devices | None = None,
    ) -> Self:
        """Pose a problem.

        Parameters
        ----------
        fleet : Fleet
        policy : str
            Way to plan; see `solver.policies`.
        objective : {'utility', 'time', 'efficiency', 'legend'}
        structure : {'shared', 'capped', 'own'}
            One rank per layer for all devices, the same up to a cap per device, or ranks of
            its own for every device.
        weights : {'examples', 'equal'}
            What a device counts for in the utility.
        ranks : sequence of int
            Ranks a layer may have, 1 or more.
        rank_shape : {'free', 'rising', 'progression'}
            How shared ranks may run over the adapted layers: freely, never falling towards
            the output, or rising towards it by a constant step.
        min_depth, max_depth : int
            Fewest (k_min) and most layers a device adapts; None: all of them.
        cache : {'off', 'round', 'always', 'auto'}
            What devices keep of the outputs of layers they do not adapt, as far as their
            storage goes: nothing, a cache filled anew each round, one for the whole run, or
            whichever is fastest. See `solver.costs.caching`.
        cache_rounds : int, optional
            Rounds a device is expected to take part in, over which filling a cache for the
            whole run must pay off to be chosen by 'auto'; None means a run without end.
        upload_codec, download_codec : {'none', 'float16', 'int8'}
            How uploads and downloads are compressed; see `solver.costs.payload`.
        min_utility : float, optional
            Least utility, for the objectives 'time' and 'efficiency'.
        fill_wait : float
            Most times its local steps that a device takes in place of waiting; 1 waits. See
            `solver.fill`.
        leave_out : {'nobody', 'unable'}
            Whether devices that cannot train the least configuration make the problem
            infeasible, or are left out.
        round_time_s, mean_wait_s, upload_bytes, download_bytes, energy_j, rank_budget
            Budgets; None means no limit.
        devices : Devices, optional
            Replaces the fleet's devices, for fleets too large for a list.

        Raises
        ------
        InputError
            If an option is none of its choices, no number, out of range, or does not go
            together with another.
        """
        if not isinstance(fleet, Fleet):
            raise InputError(f"fleet is {fleet!r:.60}; expected a Fleet, as read_fleet gives")
        budgets = {
            "round_time_s": round_time_s,
            "mean_wait_s": mean_wait_s,
            "upload_bytes": upload_bytes,
            "download_bytes": download_bytes,
            "energy_j": energy_j,
            "rank_budget": rank_budget,
        }
        question = question_of(
            fleet.model.layers,
            ranks,
            budgets,
            policy=policy,
            objective=objective,
            structure=structure,
            weights=weights,
            rank_shape=rank_shape,
            min_depth=min_depth,
            max_depth=max_depth,
            cache=cache,
            cache_rounds=cache_rounds,
            upload_codec=upload_codec,
            download_codec=download_codec,
            min_utility=min_utility,
            fill_wait=fill_wait,
            leave_out=leave_out,
        )
        costs = build_costs(fleet, question, devices)
        counted = costs.devices.count.astype(np.float64)
        if question.weights == "examples":
            counted *= costs.devices.examples
        return cls(
            fleet=fleet,
            question=question,
            costs=costs,
            gains=gain_table(fleet.gain, question.rank_choices),
            weights=counted / counted.sum(),
        )

    @spoken
    def under(self, **budgets: float | int | None) -> Self:
        """Return the same problem with some budgets changed.

        Parameters
        ----------
        budgets
            Named as in `Problem.of`; None means no limit.

        Raises
        ------
        InputError
            If one is no limit.
        """
        changed = budgets_of({**asdict(self.question.budgets), **budgets})
        return self.asking(replace_fields(self.question, budgets=changed))

    @spoken
    def with_limits(self, limits: LimitTable) -> Self:
        """Return the same problem of a fleet whose devices have limits of their own.

        Its `fleet` is then the one to check and to run the plan with.

        Parameters
        ----------
        limits : pandas.DataFrame or mapping
            One row a device, by its name, with columns upload_mb, download_mb, energy_j and
            time_s, or some of them; what is missing stays as it is.

        Raises
        ------
        InputError
            If a device or column is not known, a limit is no number of 0 or more, or the
            problem's devices are not those of its fleet.
        """
        fleet = limited(self.fleet, limits)
        devices = Devices.of(fleet)
        if devices.names != self.costs.devices.names:
            raise InputError(
                "the problem's devices are columns of their own; give these their limits "
                "(solver.costs.devices.Devices)"
            )
        costs = replace(self.costs, devices=devices)
        return replace(self, fleet=fleet, costs=costs).under()

    def asking(self, question: Question, stack_bytes: float | Floats | None = None) -> Self:
        """Return the same problem with another question.

        Parameters
        ----------
        question : Question
            With the same rank choices and weights.
        stack_bytes : float or array of shape (N,), optional
            Download of each device beside the head, where adapters are stacked; see `Costs`.
        """
        if stack_bytes is None:
            stack_bytes = self.costs.stack_bytes
        costs = build_costs(
            self.fleet, question, self.costs.devices, stack_bytes, self.costs.spread
        )
        return replace(self, question=question, costs=costs)

    def spreading(self, spread: Spread) -> Self:
        """Return the same problem with traffic in proportion to the layers' sizes.

        Parameters
        ----------
        spread : {'less', 'more'}
            No plan then sends more, or less, than it does; see `solver.costs.payload`.
        """
        return replace(self, costs=replace(self.costs, spread=spread)).under()

    @property
    def layers(self) -> int:
        """Number of transformer layers, L."""
        return len(self.costs.sizes)

    @property
    def ranks(self) -> Ints:
        """Rank choices, ascending, shape (R,)."""
        return np.array(self.question.rank_choices, dtype=np.int64)


def gain_table(gain: Gain, choices: Sequence[int]) -> Floats:
    """Gain by layer from the output and rank choice, shape (L, R).

    Linear between the listed ranks, from 0 at rank 0, flat above the last.
    """
    columns = [0, *gain.ranks]
    rows = [np.interp(choices, columns, [0.0, *row]) for row in reversed(gain.by_layer)]
    return np.array(rows)
