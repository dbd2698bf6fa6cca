"""Model configs: the content of ``config.json``, from a folder or a preset."""

import importlib.resources
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from profiler.schema import InputError, read_bytes, refuse_repeated_keys

__all__ = [
    "DEFAULT_MODEL",
    "Config",
    "ConfigError",
    "config_path",
    "fraction",
    "load_config",
    "naming",
    "preset_names",
    "refuse",
    "share",
    "whole",
]

DEFAULT_MODEL = "roberta-base"

Config = Mapping[str, Any]


class ConfigError(InputError):
    """Content of a config that cannot be used; see `naming`."""


@contextmanager
def naming(model: str) -> Iterator[None]:
    """Name the file of a model in errors about its config.

    Parameters
    ----------
    model : str
        As `load_config` takes it.
    """
    try:
        yield
    except ConfigError as error:
        reason = str(error).removeprefix("config: ")
        raise InputError(f"{config_path(model)}: {reason}") from None


def config_path(model: str) -> Path:
    """Where the config is, unless the model is a preset."""
    path = Path(model)
    return path / "config.json" if path.is_dir() else path


def preset_names() -> list[str]:
    """Names that `load_config` knows without any file."""
    return sorted(_presets())


def load_config(model: str) -> tuple[str, dict[str, Any]]:
    """Find a model's config by preset name or folder.

    Parameters
    ----------
    model : str
        A preset such as ``roberta-base``, a folder that holds ``config.json``, or that file.

    Returns
    -------
    tuple of str and dict
        Name of the model and the content of its config.

    Raises
    ------
    InputError
        If there is neither such a preset nor such a file, or the file is no JSON object.
    """
    presets = _presets()
    if model in presets:
        return model, presets[model]
    path = config_path(model)
    if not path.exists():
        raise InputError(
            f"model '{model}': neither a preset nor a folder with config.json; "
            f"presets: {', '.join(sorted(presets))}"
        )
    return path.absolute().parent.name, _read_object(path)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        data = read_bytes(path)
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON ({error}); expected a model config") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds no JSON object; expected a model config")
    refuse_repeated_keys(data, str(path))
    return value


def _presets() -> dict[str, dict[str, Any]]:
    text = importlib.resources.files("profiler").joinpath("presets.json").read_text("utf-8")
    presets: dict[str, dict[str, Any]] = json.loads(text)
    return presets


def whole(config: Config, *keys: str, default: int | None = None) -> int:
    """First of `keys` the config holds, as a positive whole number; raises `ConfigError`."""
    value = next((config[k] for k in keys if config.get(k) is not None), default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**40:
        seen = "missing" if value is None else repr(value)
        raise ConfigError(f"config: {keys[0]} is {seen}; expected a positive whole number")
    return value


def fraction(config: Config, key: str, default: float) -> float:
    """A probability such as a dropout rate; raises `ConfigError`."""
    value = _number(config, key, default)
    if not 0 <= value < 1:
        raise ConfigError(f"config: {key} is {value!r}; expected a number in [0, 1)")
    return value


def share(config: Config, key: str, default: float) -> float:
    """A part of a whole, or all of it; raises `ConfigError`."""
    value = _number(config, key, default)
    if not 0 < value <= 1:
        raise ConfigError(f"config: {key} is {value!r}; expected a number in (0, 1]")
    return value


def _number(config: Config, key: str, default: float) -> float:
    value = config.get(key, default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise ConfigError(f"config: {key} is {value!r}; expected a number in [0, 1]")
    return float(value)


def refuse(config: Config, key: str, what: str, *, asked: bool = True) -> None:
    """Raise `ConfigError` where a config asks for something that closed forms do not cover.

    It asks by a `key` that is true, or by one that is false where `asked` is.
    """
    if bool(config.get(key, not asked)) is asked:
        raise ConfigError(f"config: {key} asks for {what}, which closed forms do not cover")
