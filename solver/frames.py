"""Plans as pandas frames, for people who go on in a notebook."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from solver.plan import Plan

if TYPE_CHECKING:
    import pandas as pd

    from solver.compare import Row

__all__ = ["compare_frame", "plan_frame", "ranks_frame", "round_frame"]


def plan_frame(plan: Plan) -> "pd.DataFrame":
    """One row a device, by name: what it is asked to do, what that costs, what binds.

    Figures of a device that does not take part are missing. Units are in the names.
    """
    import pandas as pd

    rows = []
    for device in plan.devices:
        shape = plan.configuration_of(device)
        row: dict[str, Any] = {
            "name": device.name,
            "device_class": device.device_class,
            "count": device.count,
            "link": device.link,
            "local_steps": device.local_steps,
            "depth": 0 if shape is None else shape.depth,
            "ranks": () if shape is None else tuple(shape.ranks),
            "taking_part": shape is not None,
            "cache": device.cache,
            "binding": device.binding,
        }
        rows.append(row | ({} if device.predicted is None else asdict(device.predicted)))
    return pd.DataFrame(rows).set_index("name")


def ranks_frame(plan: Plan) -> "pd.DataFrame":
    """Rank by layer, input first (columns 1 to L), of the server and each configuration."""
    import pandas as pd

    rows = {"server": plan.ranks}
    rows |= {str(i): c.ranks for i, c in enumerate(plan.configurations)}
    columns = range(1, plan.model.layers + 1)
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(columns))


def round_frame(plans: Plan | Mapping[str, Plan]) -> "pd.DataFrame":
    """One row a plan: what a round costs everybody, and the certificate.

    Parameters
    ----------
    plans : Plan or mapping of str to Plan
        Several are told apart by their keys, one by its policy.
    """
    import pandas as pd

    named = {plans.question.policy: plans} if isinstance(plans, Plan) else plans
    rows = {
        name: {
            **asdict(plan.predicted),
            "status": plan.certificate.status,
            "value": plan.certificate.value,
            "bound": plan.certificate.bound,
            "gap_fraction": plan.certificate.gap_fraction,
        }
        for name, plan in named.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def compare_frame(rows: "Iterable[Row]") -> "pd.DataFrame":
    """One row a policy of `compare_policies`: the gap, the round, or why there is no plan.

    Figures of a policy without a plan are missing. Units are in the names.
    """
    import pandas as pd

    found = {
        row.policy: {
            "gap_fraction": row.gap_fraction,
            **({} if row.plan is None else asdict(row.plan.predicted)),
            "memory_bytes": row.memory_bytes,
            "left_out": row.left_out,
            "reason": row.reason,
        }
        for row in rows
    }
    columns = [
        "utility", "gap_fraction", "round_time_s", "mean_wait_s", "upload_bytes",
        "download_bytes", "energy_j", "memory_bytes", "left_out", "time_error_fraction",
        "reason",
    ]  # fmt: skip
    return pd.DataFrame.from_dict(found, orient="index").reindex(columns=columns)
