"""Files of older versions, brought up to date while they are read: one step a version.

A contract is named ``legend/KIND/VERSION``. When a new version changes what a file says, the
step from the version before it is registered here, and every reader takes both::

    MIGRATIONS["legend/plan/1"] = _plan_1_to_2

A step takes the content of a file (parsed JSON) of the version it is registered under, and
returns that of the next, with its ``schema`` field set. Steps are chained, so a file of
version 1 reaches version 3 by two of them.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

__all__ = ["MIGRATIONS", "Step", "bring_up", "is_newer"]

Step = Callable[[dict[str, Any]], dict[str, Any]]

MIGRATIONS: dict[str, Step] = {}
"""Step to the next version, by the schema it starts from.

Every contract is at version 1; `benchmarks.result` registers the older name of its own.
"""


def bring_up(data: bytes, head: str, schema: str) -> bytes | None:
    """Bring a file of schema `head` up to `schema`, step by step.

    Parameters
    ----------
    data : bytes
        JSON object of schema `head`.
    head, schema : str
        What the file is of, and what is wanted.

    Returns
    -------
    bytes or None
        The file as `schema`; None where no chain of steps leads there.

    Raises
    ------
    ValueError
        If a step cannot make sense of the file.
    """
    content: dict[str, Any] = msgspec.json.decode(data)
    for _ in MIGRATIONS:
        if head == schema or head not in MIGRATIONS:
            break
        try:
            content = MIGRATIONS[head](content)
            head = content["schema"]
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None
    return msgspec.json.encode(content) if head == schema else None


def is_newer(head: str, schema: str) -> bool:
    """Whether `head` names a later version of the contract `schema`."""
    seen, known = (re.fullmatch(r"(legend/\w+)/(\d{1,9})", name) for name in (head, schema))
    return bool(seen and known and seen[1] == known[1] and int(seen[2]) > int(known[2]))
