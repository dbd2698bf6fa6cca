"""Data sets as ``datasets.Dataset.save_to_disk`` leaves them: a folder of Arrow streams.

``state.json`` names the files in their order; a ``DatasetDict`` has a folder of that kind for
each split. Only pyarrow is needed to read them.
"""

import json
from pathlib import Path

import pandas as pd

from profiler.files import InputError, blamed, read_bytes, refuse_repeated_keys

__all__ = ["data_files", "read_folder"]

STATE = "state.json"
SPLITS = "dataset_dict.json"


def data_files(path: Path) -> list[Path]:
    """Files that hold the data at `path`: itself, or the Arrow files of a folder.

    Raises
    ------
    InputError
        If it is a folder of another kind.
    """
    if not path.is_dir():
        return [path]
    if (path / SPLITS).is_file():
        splits = _json(path / SPLITS).get("splits")
        listed = ", ".join(map(str, splits)) if isinstance(splits, list) else "none"
        raise InputError(
            f"{path}: holds several splits ({listed}); name one, such as --data "
            f"{path / 'train'} --test-data {path / 'test'}"
        )
    if not (path / STATE).is_file():
        raise InputError(
            f"{path}: is a folder without {STATE}; expected one that datasets' save_to_disk "
            "wrote, or a file"
        )
    entries = _json(path / STATE).get("_data_files")
    names = [
        str(entry.get("filename")) if isinstance(entry, dict) else ""
        for entry in (entries if isinstance(entries, list) else [])
    ]
    if not names or any(name != Path(name).name or not name for name in names):
        raise InputError(f"{path / STATE}: names no files in this folder; save the data again")
    return [path / name for name in names]


def read_folder(path: Path) -> pd.DataFrame:
    """Read all rows; raises `InputError`."""
    import pyarrow as pa
    import pyarrow.ipc

    tables = []
    for file in data_files(path):
        is_none = blamed(f"{file}: is no readable Arrow stream")
        with is_none, pa.memory_map(str(file)) as source:
            tables.append(pa.ipc.open_stream(source).read_all())
    with blamed(f"{path}: its files cannot be read as one table", "; save the data again"):
        table: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return table


def _json(path: Path) -> dict[str, object]:
    try:
        data = read_bytes(path)
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON ({error}); save the data again") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: is no JSON object; save the data again")
    refuse_repeated_keys(data, str(path))
    return found
