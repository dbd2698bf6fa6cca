"""What type hints hold."""

import typing
from collections.abc import Iterator


def leaves(hint: object) -> Iterator[object]:
    """The types a field may hold, looking into lists and unions but not into mappings."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (dict, typing.Literal) or not arguments:
        yield hint
        return
    for argument in arguments:
        yield from leaves(argument)
