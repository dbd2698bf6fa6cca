"""What made a file: version, day, host, inputs, and where its figures come from."""

import datetime
import hashlib
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from profiler.files import InputError
from profiler.schema.base import Base

VERSION = "0.1.0"

Kind = Literal["measured", "derived", "catalogue"]


class Origin(Base, frozen=True, kw_only=True):
    """Where a figure comes from."""

    kind: Annotated[Kind, Meta(description="how the figure came about")]
    source: Annotated[str, Meta(description="method, data sheet, paper or file it rests on")]


class InputFile(Base, frozen=True, kw_only=True):
    """A file that went into this one."""

    name: Annotated[str, Meta(description="file name, without its folder")]
    sha256: Annotated[str, Meta(description="SHA-256 of its bytes", pattern="^[0-9a-f]{64}$")]


class Provenance(Base, frozen=True, kw_only=True):
    """What made a file.

    The date has the resolution of a day (and follows ``SOURCE_DATE_EPOCH``), so that the
    same inputs and seed give the same bytes.
    """

    version: Annotated[str, Meta(description="version of legend that wrote the file")]
    created: Annotated[str, Meta(description="UTC date, YYYY-MM-DD")]
    host: Annotated[str, Meta(description="operating system and processor it ran on")]
    seed: Annotated[int, Meta(description="seed of every random choice")] = 0
    options: Annotated[dict[str, str], Meta(description="options given, by name")] = {}
    inputs: Annotated[list[InputFile], Meta(description="files read")] = []
    origins: Annotated[
        dict[str, Origin], Meta(description="origin of the figures, by field name")
    ] = {}

    def same_what_if(self, other: "Provenance") -> bool:
        """Whether two files are of one fleet, changed alike by ``--set``."""
        change = self.options.get("set", "")
        return change != "" and (change, self.inputs) == (
            other.options.get("set"),
            other.inputs,
        )


def provenance(
    *,
    seed: int = 0,
    options: dict[str, str] | None = None,
    inputs: Sequence[Path] = (),
    origins: dict[str, Origin] | None = None,
) -> Provenance:
    """Describe this machine, version and day for a file about to be written.

    Parameters
    ----------
    seed : int
        Seed of every random choice in the file.
    options : dict of str to str, optional
        Options the person gave.
    inputs : sequence of Path
        Files read; their SHA-256 is recorded, but for pipes.
    origins : dict of str to Origin, optional
        Where the figures come from, by field name.
    """
    return Provenance(
        version=VERSION,
        created=_today().isoformat(),
        host=f"{platform.system()} {platform.machine()}",
        seed=seed,
        options=options or {},
        inputs=[
            InputFile(name=p.name, sha256=hashlib.sha256(p.read_bytes()).hexdigest())
            for p in inputs
            # A pipe has been read, and nothing is left of it to digest.
            if p.is_file()
        ],
        origins=origins or {},
    )


def _today() -> datetime.date:
    """Return the day, or that of ``SOURCE_DATE_EPOCH`` where one is set."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch:
        return datetime.datetime.now(datetime.UTC).date()
    try:
        return datetime.datetime.fromtimestamp(int(epoch), datetime.UTC).date()
    except (ValueError, OverflowError, OSError):
        raise InputError(
            f"SOURCE_DATE_EPOCH is '{epoch}'; expected whole seconds since 1970, or none"
        ) from None
