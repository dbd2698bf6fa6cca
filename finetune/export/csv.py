"""A plan as ``devices.csv``: UTF-8, a header, one row a device, empty where missing."""

from finetune.export.files import Export
from finetune.export.table import devices_table
from solver.plan import Plan

__all__ = ["render"]


def render(plan: Plan) -> Export:
    """Write the devices table as CSV; floats keep every digit."""
    text = devices_table(plan).to_csv(index=False, lineterminator="\n")
    return Export(files={"devices.csv": text.encode()})
