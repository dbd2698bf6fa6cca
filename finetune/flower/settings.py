"""A run's settings as Flower's run configuration: flat, and each key can be overridden.

What is not set is the empty text, because Flower overrides only keys that are there.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, structs

from finetune.options import RunOptions
from solver.plan import InputError

__all__ = ["Settings", "from_config", "to_config", "toml"]

Value = str | int | float | bool


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """What a ServerApp needs to know beside `RunOptions`.

    Parameters
    ----------
    plan : str
        Plan file; a relative path is in the app's folder.
    model, data, test_data : str
        As for ``legend run``, on the server's machine.
    fleet, trace : str
        What the virtual clock charges by, as for ``legend run``.
    out : str
        Folder of the run.
    resume : bool
        Go on with the run in the folder.
    data_is : {"test", "all"}
        Whether `data` are the server's test examples, the devices having their own, or all
        examples, of which the devices have been given shares.
    wait_s : float
        Longest wait for the devices to connect.
    deadline_slack : float
        See `finetune.flower.engine.Deadline`.
    """

    plan: str = "plan.json"
    model: str = ""
    data: str = ""
    test_data: str = ""
    fleet: str = ""
    trace: str = ""
    out: str = ""
    resume: bool = False
    data_is: Literal["test", "all"] = "test"
    wait_s: float = 300.0
    deadline_slack: float = 1.5

    def __post_init__(self) -> None:
        for name in ("wait_s", "deadline_slack"):
            if not 0 <= getattr(self, name) < float("inf"):
                flag = name.replace("_", "-")
                raise InputError(
                    f"--{flag} is {getattr(self, name)}; expected 0 or more, and finite"
                )


def to_config(settings: Settings, options: RunOptions) -> dict[str, Value]:
    """Flatten both, with dashes in the names."""
    fields = {**structs.asdict(settings), **structs.asdict(options)}
    return {name.replace("_", "-"): "" if v is None else v for name, v in fields.items()}


def toml(value: Value) -> str:
    """Write a value as TOML.

    JSON's text is nearly TOML's, but for characters that JSON may write as surrogates; and what
    Flower reads from a command line ends a text at its first quotation mark, escaped or not.
    """
    if not isinstance(value, str):
        return json.dumps(value)
    plain = [c.isprintable() and c not in '"\\' for c in value]
    inner = [c if p else f"\\U{ord(c):08x}" for c, p in zip(value, plain, strict=True)]
    return f'"{"".join(inner)}"'


def from_config(config: Mapping[str, object], folder: Path) -> tuple[Settings, RunOptions]:
    """Read both back; raises `InputError` for a missing or wrong value.

    `folder` is the app's, where a relative path of the plan starts.
    """
    own = {name.replace("_", "-") for name in Settings.__struct_fields__}
    given = {k: v for k, v in config.items() if k in own}
    for name in ("model", "data", "out"):
        if not given.get(name):
            raise InputError(
                f"the run configuration lacks '{name}'; give it with flwr run --run-config "
                f"'{name}=\"PATH\"', or in pyproject.toml"
            )
    rest = {k.replace("-", "_"): v for k, v in config.items() if k not in own and v != ""}
    try:
        settings = msgspec.convert(given, Settings, strict=False)
        options = msgspec.convert(rest, RunOptions, strict=False)
    except msgspec.ValidationError as error:
        raise InputError(f"the run configuration: {error}; correct it") from None
    return structs.replace(settings, plan=str(folder / settings.plan)), options
