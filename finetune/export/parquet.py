"""A plan as ``devices.parquet``: the same table, typed and small, for large fleets."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from finetune.export.files import Export
from finetune.export.table import FIGURES, devices_table
from solver.plan import Plan

__all__ = ["render"]


def render(plan: Plan) -> Export:
    """Write the devices table as Parquet, with the model and schema named in its metadata."""
    frame = devices_table(plan).astype(dict.fromkeys(FIGURES, "float64"))
    table = pa.Table.from_pandas(frame, preserve_index=False)
    named = {"legend.schema": plan.schema, "legend.model": plan.model.name}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **named})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return Export(files={"devices.parquet": buffer.getvalue()})
