"""What may be asked of a fleet: every option of `Problem.of` checked, and its question made.

Whoever plans from Python has no command line that refuses a misspelt choice, and numbers that
come out of numpy or pandas. A question holds Python's own numbers, as its file does.
"""

from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, get_args

from profiler.schema import InputError
from solver.question import (
    MAX_RANK,
    MOST_FILLED,
    Budgets,
    CacheChoice,
    Codec,
    LeaveOut,
    Objective,
    Question,
    RankShape,
    Structure,
    Weights,
)

__all__ = ["budgets_of", "question_of"]

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "objective": get_args(Objective),
    "structure": get_args(Structure),
    "weights": get_args(Weights),
    "rank_shape": get_args(RankShape),
    "cache": get_args(CacheChoice),
    "upload_codec": get_args(Codec),
    "download_codec": get_args(Codec),
    "leave_out": get_args(LeaveOut),
}


def question_of(
    layers: int, ranks: object, budgets: Mapping[str, object], **asked: Any
) -> Question:
    """Make the question of a problem.

    Parameters
    ----------
    layers : int
        Of the model.
    ranks : iterable of int
        Ranks that a layer may have.
    budgets : mapping
        Limits by the field's name; None means no limit.
    asked
        The other fields of `Question`.

    Raises
    ------
    InputError
        If an option is not one of its choices, no number, out of range, or does not go
        together with another.
    """
    for name, choices in _CHOICES.items():
        if asked[name] not in choices:
            raise InputError(
                f"--{name.replace('_', '-')} is {asked[name]!r}; expected one of "
                f"{', '.join(choices)}"
            )
    asked |= {
        "rank_choices": _rank_choices(ranks),
        "min_depth": _whole("--min-depth", asked["min_depth"]),
        "max_depth": _unless_none(_whole, "--max-depth", asked["max_depth"]),
        "cache_rounds": _unless_none(_whole, "--cache-rounds", asked["cache_rounds"]),
        "min_utility": _unless_none(_number, "--min-utility", asked["min_utility"]),
        "fill_wait": _number("--fill-wait", asked["fill_wait"]),
    }
    _refuse_depths(layers, asked["min_depth"], asked["max_depth"])
    _refuse_values(asked)
    _refuse_pairs(asked)
    return Question(**asked, budgets=budgets_of(budgets))


def budgets_of(budgets: Mapping[str, object]) -> Budgets:
    """Limits as a plan holds them; raises `InputError` for one that is no limit."""
    limits: dict[str, Any] = {
        name: _unless_none(
            _whole if name == "rank_budget" else _number, f"budget {name}", value
        )
        for name, value in budgets.items()
    }
    try:
        return Budgets(**limits)
    except OverflowError:
        raise InputError("budget rank_budget is too large; leave it out for no limit") from None
    except ValueError as error:
        raise InputError(str(error)) from None


def _rank_choices(ranks: object) -> list[int]:
    expected = f"expected whole numbers from 1 to {MAX_RANK}"
    if not isinstance(ranks, Iterable) or isinstance(ranks, str):
        raise InputError(f"the ranks are {ranks!r}; {expected}, as in [4, 8, 16]")
    choices = sorted({_whole("a rank", rank) for rank in ranks})
    if not choices or choices[0] < 1 or choices[-1] > MAX_RANK:
        seen = f"run from {choices[0]} to {choices[-1]}" if choices else "are none"
        raise InputError(f"the ranks {seen}; {expected}")
    return choices


def _refuse_depths(layers: int, least: int, most: int | None) -> None:
    if not 0 <= least <= layers:
        raise InputError(
            f"--min-depth is {least}; the model has {layers} layers, so expected 0 to {layers}"
        )
    if most is not None and not least <= most <= layers:
        raise InputError(
            f"--max-depth is {most}; the least depth is {least} and the model has "
            f"{layers} layers, so expected {least} to {layers}"
        )


def _refuse_values(asked: Mapping[str, Any]) -> None:
    rounds, floor, fill = asked["cache_rounds"], asked["min_utility"], asked["fill_wait"]
    if rounds is not None and rounds < 1:
        raise InputError(f"--cache-rounds is {rounds}; expected 1 or more")
    if floor is not None and not 0 <= floor < float("inf"):
        raise InputError(f"--min-utility is {floor}; expected 0 or more, and finite")
    if not 1 <= fill <= MOST_FILLED:
        raise InputError(f"--fill-wait is {fill}; expected 1 to {MOST_FILLED:,}")


def _refuse_pairs(asked: Mapping[str, Any]) -> None:
    """Refuse options that do not go together."""
    cache, shape = asked["cache"], asked["rank_shape"]
    if shape != "free" and asked["structure"] != "shared":
        raise InputError(
            f"--rank-shape {shape} is for shared ranks; use --structure shared or "
            "--rank-shape free"
        )
    if asked["cache_rounds"] is not None and cache != "auto":
        raise InputError(
            f"--cache-rounds means nothing to --cache {cache}; use --cache auto, or leave it "
            "out"
        )
    if asked["fill_wait"] > 1 and cache in ("round", "auto"):
        raise InputError(
            f"--fill-wait and --cache {cache} do not go together, as more steps fill another "
            "cache; use --cache always or off"
        )


def _unless_none(
    read: Callable[[str, object], float], words: str, value: object
) -> float | None:
    return None if value is None else read(words, value)


def _whole(words: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{words} is {value!r}; expected a whole number")
    return int(value)


def _number(words: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{words} is {value!r}; expected a number")
    return float(value)
