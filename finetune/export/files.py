"""Files of an export, and how they reach a folder without harming what is there."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from solver.plan import InputError, write_bytes

__all__ = ["Export", "json_bytes", "make_folder", "write_export", "yaml_bytes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What an export writes.

    Attributes
    ----------
    files : dict of str to bytes
        Content by path below the output folder, with forward slashes.
    notes : list of str
        What a person should know, one line each.
    losses : list of str
        What the plan says and the other tool cannot, one line each; nobody writes such an
        export unless it was asked for.
    """

    files: dict[str, bytes]
    notes: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)


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
        make_folder(path.parent)
        write_bytes(path, data)
    return list(targets)


def _refuse_other_content(path: Path, data: bytes, folder: Path) -> None:
    try:
        same = not path.is_symlink() and path.read_bytes() == data
    except FileNotFoundError:
        return
    except PermissionError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); choose another place"
        ) from None
    except OSError:
        same = False
    if not same:
        raise InputError(
            f"{path}: is there already with other content; expected an empty folder or the "
            f"same export. Choose another folder or remove {folder}"
        )


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; raises `InputError` where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be made a folder ({error.strerror}); choose another place"
        ) from None


def yaml_bytes(value: Mapping[str, object], comment: str) -> bytes:
    """Encode nested mappings and lists as YAML in blocks, scalars as in JSON, after a comment.

    JSON scalars are YAML scalars, so no library is needed where a plan is exported.
    """
    head = [f"# {line}" for line in comment.splitlines()]
    return ("\n".join([*head, *_block(value, "")]) + "\n").encode()


def _block(value: object, indent: str) -> Iterator[str]:
    items = value.items() if isinstance(value, Mapping) else [(None, v) for v in list(value)]  # type: ignore[call-overload]
    for key, item in items:
        start = f"{indent}- " if key is None else f"{indent}{_key(key)}: "
        if isinstance(item, Mapping | list) and item:
            yield start.rstrip()
            yield from _block(item, indent + "  ")
        else:
            yield start + msgspec.json.encode(item).decode()


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z_][\w.]*", key) else msgspec.json.encode(key).decode()


def json_bytes(value: object) -> bytes:
    """Encode as indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
