"""Tables of text: CSV, TSV, JSON, Parquet and folders of the datasets library."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from profiler.files import InputError, blamed, read_bytes, refuse_repeated_keys
from profiler.labelled.arrow_folder import read_folder

__all__ = ["FORMATS", "read_columns", "read_table"]

SEPARATORS = {".csv": ",", ".tsv": "\t"}
JSON = (".jsonl", ".json")
PARQUET = ".parquet"
FORMATS = (
    ".csv, .tsv, .jsonl, .json (one object a line, or a list of them), .parquet or a datasets "
    "folder"
)


def read_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table whose `columns` hold something in every row; others may be there, too.

    Raises
    ------
    InputError
        If the file cannot be read, has no rows or not the columns, or a cell is empty.
    """
    table = read_table(path)
    if table.empty:
        raise InputError(f"{path}: holds no rows; expected one example a row")
    for column in columns:
        if column not in table.columns:
            raise InputError(
                f"{path}: no column '{column}'; it has {', '.join(map(str, table.columns))}. "
                "Name the columns with --text-column and --label-column"
            )
        empty = np.flatnonzero(table[column].str.strip().to_numpy() == "")
        if len(empty):
            raise InputError(
                f"{path}: '{column}' is empty in row {empty[0] + 1} ({len(empty)} such rows); "
                "fill or remove them"
            )
    return table


def read_table(path: Path) -> pd.DataFrame:
    """Read a table, every column as text; raises `InputError`."""
    if path.is_dir():
        return _as_text(read_folder(path))
    suffix = path.suffix.lower()
    if suffix not in (*SEPARATORS, *JSON, PARQUET):
        raise InputError(f"{path}: ends in '{suffix}'; expected {FORMATS}")
    if suffix == PARQUET:
        import pyarrow  # noqa: F401  (so that its absence is named, with a remedy)
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    with blamed(f"{path}: is no readable {suffix} table"):
        return _parse(path, suffix)


def _parse(path: Path, suffix: str) -> pd.DataFrame:
    if suffix in SEPARATORS:
        separator = SEPARATORS[suffix]
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    return _as_text(pd.read_parquet(path) if suffix == PARQUET else _json(path))


def _json(path: Path) -> pd.DataFrame:
    """One object a line, or a list of objects."""
    data = read_bytes(path)
    lines = not data.lstrip().startswith(b"[")
    table: pd.DataFrame = pd.read_json(io.BytesIO(data), lines=lines, dtype=False)
    parts = enumerate(data.splitlines(), 1) if lines else [(0, data)]
    for number, part in parts:
        refuse_repeated_keys(part, f"{path}, line {number}" if number else str(path))
    return table


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    missing = table.isna()
    return table.astype(str).mask(missing, "")
