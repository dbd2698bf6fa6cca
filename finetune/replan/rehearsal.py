"""What a rehearsal came to: how long its rounds took beside what the plan promised."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from msgspec import Struct

from finetune.replan.rehearse import Rehearsed
from solver.plan import Plan

__all__ = ["Rehearsal", "RehearsedRound", "promised_s"]

# Rounds that are longer by rounding alone keep the promise.
ROUNDING = 1e-9


class RehearsedRound(Struct, frozen=True, kw_only=True):
    """One round: what it took, who was left out of it, and the number of the plan in force."""

    time_s: float
    mean_wait_s: float
    upload_bytes: float
    download_bytes: float
    late: list[str]
    plan: int


class Rehearsal(Struct, frozen=True, kw_only=True):
    """A plan played under a fleet's conditions.

    Parameters
    ----------
    plan, policy : str
        File of the plan, and what made it.
    utility : float
        That the plan predicts.
    promised_s : float
        See `promised_s`.
    median_s, ninety_s, longest_s : float
        Round times: half and nine tenths of the rounds take no longer.
    over_fraction : float
        Share of the rounds that are longer than promised.
    mean_wait_s : float
        Over the rounds.
    total_s, upload_bytes, download_bytes : float
        All rounds, all devices.
    left_out : int
        How often a device was too late for a deadline.
    new_plans : int
        Plans adopted on the way.
    rounds : list of RehearsedRound
    """

    plan: str
    policy: str
    utility: float
    promised_s: float
    median_s: float
    ninety_s: float
    longest_s: float
    over_fraction: float
    mean_wait_s: float
    total_s: float
    upload_bytes: float
    download_bytes: float
    left_out: int
    new_plans: int
    rounds: list[RehearsedRound]

    @classmethod
    def of(cls, name: str, plan: Plan, played: Sequence[Rehearsed]) -> Self:
        """Sum up the rounds played, at least one, from the plan in a file of this name."""
        promise_s = promised_s(plan)
        times_s = np.array([each.cost.time_s for each in played])
        # Times that were seen, not means of two.
        median_s, ninety_s, longest_s = np.quantile(
            times_s, [0.5, 0.9, 1.0], method="inverted_cdf"
        ).tolist()
        return cls(
            plan=name,
            policy=plan.question.policy,
            utility=plan.predicted.utility,
            promised_s=promise_s,
            median_s=median_s,
            ninety_s=ninety_s,
            longest_s=longest_s,
            over_fraction=float((times_s > promise_s * (1 + ROUNDING)).mean()),
            mean_wait_s=float(np.mean([each.cost.mean_wait_s for each in played])),
            total_s=float(times_s.sum()),
            upload_bytes=sum(each.cost.upload_bytes for each in played),
            download_bytes=sum(each.cost.download_bytes for each in played),
            left_out=sum(len(each.late) for each in played),
            new_plans=played[-1].number,
            rounds=[
                RehearsedRound(**each.cost._asdict(), late=each.late, plan=each.number)
                for each in played
            ],
        )


def promised_s(plan: Plan) -> float:
    """Longest round that a plan speaks of: its budget, or else what it predicts."""
    budget_s = plan.question.budgets.round_time_s
    return plan.predicted.round_time_s if budget_s is None else budget_s
