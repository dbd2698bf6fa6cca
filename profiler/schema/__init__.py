"""The profiler writes three files, and this package is their contract.

``legend/profile/1`` is what one device costs, ``legend/fleet/1`` is many devices, and
``legend/trace/1`` is how those change from round to round or from second to second. A field
that is not here is refused, every number is checked where it is built, and the published
JSON Schemas are generated from these types. The plan (`solver.plan`) builds on them.

Arrays by layer have length L and run from the input to the output (index 0 is the layer
next to the embeddings), as models count. Arrays by depth have length L + 1; index k is the
cost when the last k layers are adapted.
"""

from profiler.files import (
    InputError,
    blamed,
    check_writable,
    read,
    read_bytes,
    refuse_repeated_keys,
    write,
    write_bytes,
)
from profiler.schema.changes import changed
from profiler.schema.fleet import (
    FLEET_SCHEMA,
    DeviceClass,
    Fleet,
    FleetDevice,
    Link,
    read_fleet,
)
from profiler.schema.limit_table import LimitTable, limited
from profiler.schema.limits import LIMIT_COLUMNS, LIMITS, limit_of
from profiler.schema.model import Gain, Lora, Model, Target, Training
from profiler.schema.origins import VERSION, InputFile, Origin, Provenance, provenance
from profiler.schema.profile import (
    PROFILE_SCHEMA,
    DepthCost,
    Device,
    Memory,
    Profile,
    StepTime,
    read_profile,
)
from profiler.schema.trace import TRACE_SCHEMA, DeviceTrace, Trace, read_trace

__all__ = [
    "FLEET_SCHEMA",
    "LIMITS",
    "LIMIT_COLUMNS",
    "PROFILE_SCHEMA",
    "TRACE_SCHEMA",
    "VERSION",
    "DepthCost",
    "Device",
    "DeviceClass",
    "DeviceTrace",
    "Fleet",
    "FleetDevice",
    "Gain",
    "InputError",
    "InputFile",
    "LimitTable",
    "Link",
    "Lora",
    "Memory",
    "Model",
    "Origin",
    "Profile",
    "Provenance",
    "StepTime",
    "Target",
    "Trace",
    "Training",
    "blamed",
    "changed",
    "check_writable",
    "limit_of",
    "limited",
    "provenance",
    "read",
    "read_bytes",
    "read_fleet",
    "read_profile",
    "read_trace",
    "refuse_repeated_keys",
    "write",
    "write_bytes",
]
