"""Tables of devices in other formats than CSV, as the cells a CSV would have.

Parquet
    A file that ends in ``.parquet``: the columns of `profiler.fleet.table`; a null is an empty
    cell. Needs pyarrow.

Flower node configurations
    A file that ends in ``.json``: a list with an entry for each SuperNode, which is what its
    ``flower-supernode --node-config`` says, as that string or as an object::

        ["name='tx2-01' class='jetson-tx2' uplink-mbit-per-s=1.5 downlink-mbit-per-s=3",
         {"node-id": "nx-01", "device": "jetson-xavier-nx", "uplink-mbit-per-s": 8,
          "downlink-mbit-per-s": 16, "examples": 800, "partition-id": 1}]

    Keys are the columns of `profiler.fleet.table`, with dashes as Flower writes them or with
    underscores; ``node-id`` stands for ``name`` and ``device`` or ``device-class`` for
    ``class``. Flower's own ``partition-id`` and ``num-partitions`` are passed over, any other
    key is refused.

Rows are counted as in a CSV: the first entry is row 2.
"""

import re
import tomllib
from pathlib import Path

import msgspec

from profiler.files import InputError, read_bytes, refuse_repeated_keys

__all__ = ["flower_table", "parquet_table"]

ALIASES = {"node_id": "name", "device": "class", "device_class": "class"}
PASSED_OVER = ("partition_id", "num_partitions")
# KEY=VALUE, where a value in quotes may hold spaces; as `flower-supernode` takes it.
ENTRY = re.compile(r"""\s*,?\s*([\w-]+)\s*=\s*('[^']*'|"[^"]*"|[^\s,'"]+)""")


def parquet_table(path: Path) -> list[list[str]]:
    """Header and rows of a Parquet file, as text; raises `InputError`."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(read_bytes(path)))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path}: is not a Parquet file ({reason})") from None
    columns = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
    return [list(table.column_names), *(list(row) for row in zip(*columns, strict=True))]


def flower_table(path: Path) -> list[list[str]]:
    """Header and rows of a list of Flower node configurations; raises `InputError`."""
    try:
        data = read_bytes(path)
        nodes = msgspec.json.decode(data, type=list[dict[str, object] | str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"{path}: {error}; expected a JSON list of node configurations"
        ) from None
    refuse_repeated_keys(data, str(path))
    rows = [_columns(path, line, node) for line, node in enumerate(nodes, start=2)]
    header = list(dict.fromkeys(name for row in rows for name in row))
    return [header, *([row.get(name, "") for name in header] for row in rows)]


def _columns(path: Path, line: int, node: dict[str, object] | str) -> dict[str, str]:
    """Cells of a node by column."""
    given = _parse(path, line, node) if isinstance(node, str) else node
    cells: dict[str, str] = {}
    for key, value in given.items():
        plain = key.replace("-", "_")
        name = ALIASES.get(plain, plain)
        if name in cells:
            raise InputError(f"{path}, row {line}: '{name}' is said twice, again as '{key}'")
        if name not in PASSED_OVER:
            cells[name] = _cell(value)
    return cells


def _parse(path: Path, line: int, text: str) -> dict[str, object]:
    """Read ``KEY=VALUE KEY=VALUE``, each value as TOML."""
    found: dict[str, object] = {}
    at = 0
    while text[at:].strip():
        match = ENTRY.match(text, at)
        try:
            if match is None:
                raise ValueError(f"cannot be read from '{text[at:].strip():.40}' on")
            value = tomllib.loads(f"value = {match[2]}")["value"]
        except ValueError as error:
            raise InputError(
                f"{path}, row {line}: {error}; expected KEY=VALUE, text in quotes"
            ) from None
        found[match[1]] = value
        at = match.end()
    return found


def _cell(value: object) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)
