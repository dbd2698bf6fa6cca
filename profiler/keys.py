"""Keys that stand twice in one JSON object, of which decoders silently keep the last."""

import json
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["repeated_key"]

Pairs = list[tuple[str, object]]


class _Twice(NamedTuple):
    """Stands in a tree for an object with a repeated key."""

    key: str


class _Found(Exception):
    """An object has a key twice; which one is looked up in a second pass."""


def repeated_key(data: bytes) -> str | None:
    """Say which key stands twice and where, or None.

    Parameters
    ----------
    data : bytes
        JSON that a decoder has already accepted; what is none has no keys.

    Returns
    -------
    str or None
        Such as ``key 'seed' stands twice in $.devices[3]``, for an error message.
    """
    try:
        # Keeps no tree: a fleet may have a million devices.
        json.loads(data, object_pairs_hook=_refuse)
    except _Found:
        path, key = next(_walk(json.loads(data, object_pairs_hook=_mark), "$"))
        return f"key '{key}' stands twice in {path}"
    except (ValueError, RecursionError):
        pass
    return None


def _refuse(pairs: Pairs) -> None:
    if len(pairs) != len(dict(pairs)):
        raise _Found


def _mark(pairs: Pairs) -> object:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    keys = [key for key, _ in pairs]
    return _Twice(next(key for key in keys if keys.count(key) > 1))


def _walk(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Where keys stand twice, and which, in the order of the file."""
    if isinstance(value, _Twice):
        yield path, value.key
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _walk(part, f"{path}.{key}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _walk(part, f"{path}[{index}]")
