"""Reading and writing JSON files: whole or not at all, and one clear line when it fails.

::

    Exception
    └── InputError    bad input from a person, a file or the network (exit code 2)
"""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from profiler.keys import repeated_key
from profiler.migrations import bring_up, is_newer

T = TypeVar("T", bound=Struct)
# What a decoder raises of bytes that are no JSON, or too deep; `ValidationError` is among them.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class InputError(Exception):
    """Input that cannot be used; the message says what was seen, expected, and to do."""

    exit_code = 2


def read_bytes(path: Path) -> bytes:
    """Read a file, or raise `InputError` with one line that says why it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; expected a file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


@contextmanager
def blamed(what: str, remedy: str = "") -> Iterator[None]:
    """Say what is wrong with somebody's files where a library raises over them.

    Of damaged files libraries raise nearly anything (KeyError, TypeError, RecursionError, kinds
    of their own), so that no list of kinds would hold. A package that is missing is passed on:
    the command line says what adds it.

    Parameters
    ----------
    what : str
        Begins the message: the file, and what cannot be done with it.
    remedy : str
        Ends it, behind what the library said.

    Raises
    ------
    InputError
        Of one line, in place of whatever else was raised.
    """
    try:
        yield
    except (InputError, ImportError):
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:160] or type(error).__name__
        reason = f"no {said}" if isinstance(error, KeyError) else said
        raise InputError(f"{what} ({reason}){remedy}") from None


def read(path: Path | str, kind: type[T], schema: str, remedy: str) -> T:
    """Read and check a JSON file.

    Parameters
    ----------
    path : Path or str
        The file.
    kind : type
        `Profile`, `Fleet` or a plan.
    schema : str
        The contract expected, such as ``legend/fleet/1``.
    remedy : str
        What makes such a file, for the error message.

    Raises
    ------
    InputError
        If the file is missing, not JSON, of another contract or version, or invalid.
    """
    return decode(read_bytes(Path(path)), str(path), kind, schema, remedy)


def decode(data: bytes, name: str, kind: type[T], schema: str, remedy: str) -> T:
    """Check the bytes of a JSON file; see `read`. `name` stands in the error message."""
    head = _schema_of(data, name, remedy)
    content = data if head == schema else _brought_up(data, name, head, schema, remedy)
    try:
        value = msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        # One of the two may be what is wrong.
        refuse_repeated_keys(data, name)
        raise InputError(f"{name}: {error}{_seen(content, str(error))}. {remedy}") from None
    except UNREADABLE as error:
        # In a field that does not say of which schema the file is.
        raise InputError(
            f"{name}: is not JSON ({error}); expected UTF-8 JSON. {remedy}"
        ) from None
    # What is as we write it has no key twice; encoding takes a fraction of a second look.
    if _written(value) != data:
        refuse_repeated_keys(data, name)
    return value


def refuse_repeated_keys(data: bytes, name: str) -> None:
    """Raise `InputError` where JSON has a key twice in one object, of which one is lost.

    Every reader of people's JSON asks this once it has decoded `data`; `name` says whose.
    """
    if twice := repeated_key(data):
        raise InputError(f"{name}: {twice}; keep the one that is meant")


def _brought_up(data: bytes, name: str, head: str, schema: str, remedy: str) -> bytes:
    """The file as the version read here, if it is of an older one."""
    if is_newer(head, schema):
        raise InputError(
            f"{name}: schema is '{head}', newer than '{schema}', the latest that this version "
            "reads. Get a newer one with: pip install --upgrade legend-planner"
        )
    try:
        newer = bring_up(data, head, schema)
    except (ValueError, *UNREADABLE) as error:
        raise InputError(
            f"{name}: schema is '{head}', but its content is not ({error}). {remedy}"
        ) from None
    if newer is None:
        seen = f"schema is '{head}'" if head else "no 'schema' field"
        raise InputError(f"{name}: {seen}; expected '{schema}'. {remedy}")
    return newer


def _seen(data: bytes, message: str) -> str:
    """The value an error message points at with a path such as ``$.model.layers``, if plain."""
    try:
        value: object = msgspec.json.decode(data)
    except UNREADABLE:
        # Such as a number larger than any: the message has said so.
        return ""
    path = re.search(r"at `\$([^`]*)`", message)
    if path is None:
        return ""
    for key, index in re.findall(r"\.(\w+)|\[(\d+)\]", path[1]):
        if key and isinstance(value, dict):
            value = value.get(key)
        elif index and isinstance(value, list):
            value = value[int(index)]
    return f", seen {value!r:.60}" if isinstance(value, str | int | float | None) else ""


class _Head(Struct):
    schema: str = ""


def _schema_of(data: bytes, name: str, remedy: str) -> str:
    if not data.strip():
        raise InputError(f"{name}: is empty. {remedy}")
    try:
        return msgspec.json.decode(data, type=_Head).schema
    except msgspec.ValidationError as error:
        raise InputError(f"{name}: {error}; expected a JSON object with a 'schema'") from None
    except UNREADABLE as error:
        word = next((w for w in (b"NaN", b"Infinity") if w in data), b"").decode()
        why = f"holds {word}, which is not a JSON number" if word else f"is not JSON ({error})"
        raise InputError(f"{name}: {why}; expected UTF-8 JSON. {remedy}") from None


def write(path: Path | str, value: Struct) -> None:
    """Write a file whole or not at all: a reader never sees half of it.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    write_bytes(Path(path), _written(value))


def _written(value: Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically, by a temporary file in the same folder.

    A link stays a link, to a new file; a device or a pipe is written to, not replaced.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(data)
        else:
            _replace(_target(path), data)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose another place"
        ) from None


def check_writable(path: Path, *read: Path | None) -> None:
    """Refuse a place where nothing can be written, before the work whose result goes there.

    Parameters
    ----------
    path : Path
        File to write.
    *read : Path or None
        Files that the same work reads.

    Raises
    ------
    InputError
        If the path is a folder, is in none, may not be written, or is a file that is read.
    """
    reason: str | None = os.strerror(errno.EACCES)
    try:
        if path.is_file() and any(r is not None and _same(path, r) for r in read):
            raise InputError(f"{path}: is read here and would be lost; write to another file")
        if path.is_dir():
            raise InputError(f"{path}: is a folder; expected a file to write")
        if not path.parent.is_dir():
            raise InputError(f"{path}: cannot be written, as there is no folder {path.parent}")
        _refuse_protected(path)
        replaced = path.is_file() or not path.exists()
        allowed = os.access(_target(path).parent if replaced else path, os.W_OK)
    except OSError as error:
        allowed, reason = False, error.strerror
    if not allowed:
        raise InputError(f"{path}: cannot be written ({reason}); choose another place")


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def _target(path: Path) -> Path:
    """Where a path leads; raises `OSError` for links that lead to each other."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return target


def _refuse_protected(path: Path) -> None:
    """Refuse a file that its owner made read-only, which replacing it would pass over."""
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _mode(path: Path) -> int:
    """Who may read a file: whoever could before, or whom the user lets read new files."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _replace(path: Path, data: bytes) -> None:
    temporary = ""
    try:
        _refuse_protected(path)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(_mode(path))
        Path(temporary).replace(path)
    except BaseException:  # a person's Ctrl-C too must leave no half of a file
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise
