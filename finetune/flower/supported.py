"""What a run on Flower cannot do yet."""

from finetune.aggregate import Settings, aggregation_for
from finetune.options import RunOptions
from solver.plan import InputError, Plan

__all__ = ["check_supported"]


def check_supported(plan: Plan, options: RunOptions) -> None:
    """Refuse what needs the devices in one process with the server; raises `InputError`."""
    if options.replan_every is not None or options.replan_on_drift is not None:
        raise InputError(
            "--replan-every and --replan-on-drift plan for simulated devices only; leave them "
            "out, or leave out --engine flower"
        )
    settings = Settings(options.seed, options.aggregation_trim)
    name, aggregation = aggregation_for(plan, options.aggregation, settings)
    if aggregation.changes_base:
        raise InputError(
            f"aggregation '{name}' changes the base's weights, which devices on Flower are not "
            "sent; use --aggregation hlora, or leave out --engine flower"
        )
