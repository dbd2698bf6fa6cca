"""Files of an export, and how they reach a folder without harming what is there."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from solver.plan import InputError, write_bytes

__all__ = ["Export", "json_bytes", "write_export"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What an export writes.

    Attributes
    ----------
    files : dict of str to bytes
        Content by path below the output folder, with forward slashes.
    notes : list of str
        What a person should know, one line each.
    """

    files: dict[str, bytes]
    notes: list[str] = field(default_factory=list)


def write_export(export: Export, folder: Path) -> list[Path]:
    """Write an export; a file that is there with other content is never replaced.

    Parameters
    ----------
    export : Export
    folder : Path
        Made where it is missing.

    Returns
    -------
    list of Path
        The files, in the order of the export. Writing the same export again is no error.

    Raises
    ------
    InputError
        If a file of other content is in the way, or the folder cannot be written. Nothing
        has been written in the first case.
    """
    targets = {folder / name: data for name, data in export.files.items()}
    for path, data in targets.items():
        _refuse_other_content(path, data, folder)
    for path, data in targets.items():
        _make_folder(path.parent)
        write_bytes(path, data)
    return list(targets)


def _refuse_other_content(path: Path, data: bytes, folder: Path) -> None:
    try:
        same = not path.is_symlink() and path.read_bytes() == data
    except FileNotFoundError:
        return
    except OSError:
        same = False
    if not same:
        raise InputError(
            f"{path}: is there already with other content; expected an empty folder or the "
            f"same export. Choose another folder or remove {folder}"
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be made a folder ({error.strerror}); choose another place"
        ) from None


def json_bytes(value: object) -> bytes:
    """Encode as indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
