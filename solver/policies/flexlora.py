"""FlexLoRA: rank per device by its resources; aggregation by singular value decomposition.

Bai et al., "Federated Fine-tuning of Large Language Models under Heterogeneous Tasks and
Client Resources", NeurIPS 2024, arXiv 2402.11505. The server forms
``sum_k p_k (alpha / r_k) B_k A_k`` and hands each device the best part of its own rank: an
adapter as large as the one it sent, so planning costs what it costs HetLoRA and the decision
is the same, the largest affordable rank on all layers. The two differ in what the server
makes of the adapters, not in the plan.
"""

from msgspec.structs import replace

from solver.allocation import utility
from solver.outcome import Outcome
from solver.policies.hetlora import largest_affordable
from solver.problem import Problem


def plan(problem: Problem) -> Outcome:
    """All layers; each device takes the largest rank that its resources allow."""
    return Outcome(
        allocation=(allocation := largest_affordable(problem)),
        value=utility(problem, allocation),
        bound=None,
        method="largest affordable rank, for redistribution by SVD",
        question=replace(problem.question, structure="capped"),
    )
