"""PEFT's own rules: which modules a LoRA configuration adapts, at which rank and scale."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from profiler.schema import InputError

__all__ = ["CONFIG", "Config", "listed", "matches", "rank_of", "scale_of"]

CONFIG = "adapter_config.json"
LONGEST_PATTERN = 1000


class Config(Struct, kw_only=True):
    """What of ``adapter_config.json`` says who is adapted, and how strongly."""

    peft_type: str = ""
    task_type: str | None = None
    r: int = 8
    lora_alpha: float = 8
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    rank_pattern: dict[str, int] | None = None
    alpha_pattern: dict[str, float] | None = None
    use_rslora: bool = False
    bias: str = "none"
    modules_to_save: list[str] | None = None


def matches(path: Path, wanted: list[str] | str, full: Sequence[str]) -> bool:
    """Whether PEFT would take a module, under any of the names it may have."""
    if isinstance(wanted, list):
        return listed(wanted, full)
    try:
        expression = re.compile(wanted if len(wanted) <= LONGEST_PATTERN else "(")
    except re.error:
        raise InputError(f"{path}: '{wanted:.60}' is no regular expression to use") from None
    return any(expression.fullmatch(name) for name in full)


def listed(wanted: Sequence[str], full: Sequence[str]) -> bool:
    """Whether a module, under any of its names, is one of those listed, or ends so."""
    return any(n == w or n.endswith(f".{w}") for n in full for w in wanted)


def rank_of(patterns: Mapping[str, int] | None, full: Sequence[str], default: int) -> int:
    """Rank of a module: that of the first pattern that ends one of its names."""
    return int(_first(patterns, full, default))


def _first(
    patterns: Mapping[str, int] | Mapping[str, float] | None,
    full: Sequence[str],
    default: float,
) -> float:
    for key, value in (patterns or {}).items():
        try:
            expression = re.compile(rf"(.*\.)?({key})$" if len(key) <= LONGEST_PATTERN else "(")
        except re.error:
            raise InputError(
                f"{CONFIG}: pattern '{key:.60}' is no regular expression"
            ) from None
        if any(expression.match(name) for name in full):
            return value
    return default


def scale_of(config: Config, full: Sequence[str], rank: int) -> float:
    """LoRA scale of a module: alpha / rank, or alpha / sqrt(rank) in rsLoRA."""
    if rank < 1:
        raise InputError(f"{CONFIG}: rank of '{full[0]}' is {rank}; expected 1 or more")
    alpha = _first(config.alpha_pattern, full, config.lora_alpha)
    return alpha / math.sqrt(rank) if config.use_rslora else alpha / rank
