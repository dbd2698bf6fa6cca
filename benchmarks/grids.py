"""Figures of a case as compact tables: settings down, figures across, targets above."""

import re
from collections.abc import Sequence

from benchmarks.result import Figure
from benchmarks.words import number, quantity

__all__ = ["render_grids", "target_text"]

# Tables of more columns are turned where they have fewer rows.
WIDE = 8


def render_grids(figures: Sequence[Figure]) -> list[str]:
    """Tables as lines of Markdown; figures of settings that share none stand in a list."""
    shared = _in_common([one.setting for one in figures])
    lines, alone = [f"All: {shared}.", ""] if shared else [], []
    for block in _blocks(figures):
        if len({one.setting for one in block}) == 1:
            alone += block
            continue
        lines += [*_grid(block, shared), ""]
    return [*lines, *_list(alone, shared)] if alone else lines[:-1]


def target_text(one: Figure) -> str:
    """What a figure is held against, such as '≤ 5'; empty without a target."""
    if one.target is None:
        return ""
    sign = {"low": "≤", "high": "≥"}[one.better]
    return f"{sign} {number(one.target)}" + (" at worst" if one.judged == "worst" else "")


def _in_common(settings: Sequence[str]) -> str:
    """Last words, behind a comma or semicolon, in which all of several settings end."""
    different = set(settings)
    ends = {re.split(r"[,;] ", setting)[-1] for setting in different}
    whole = ends & different
    return ends.pop() if len(different) > 1 and len(ends) == 1 and not whole else ""


def _blocks(figures: Sequence[Figure]) -> list[list[Figure]]:
    """Figures whose settings have half of their names or more in common, in their order."""
    blocks: list[tuple[set[str], list[Figure]]] = []
    for setting in dict.fromkeys(one.setting for one in figures):
        found = [one for one in figures if one.setting == setting]
        names = {one.name for one in found}
        near = [b for b in blocks if 2 * len(b[0] & names) >= max(len(b[0]), len(names))]
        if near:
            near[0][0].update(names)
            near[0][1].extend(found)
        else:
            blocks.append((names, found))
    return [block for _, block in blocks]


def _grid(block: list[Figure], shared: str) -> list[str]:
    names = _ordered([one.name for one in block])
    settings = list(dict.fromkeys(one.setting for one in block))
    by_place = {(one.setting, one.name): one for one in block}
    columns = {name: [one for one in block if one.name == name] for name in names}
    shown = {name: len({target_text(one) for one in columns[name]}) > 1 for name in names}
    cells = [
        [
            _short(setting, shared),
            *(
                _cell(by_place[setting, n], shown[n]) if (setting, n) in by_place else ""
                for n in names
            ),
        ]
        for setting in settings
    ]
    heads = ["setting", *(_head(columns[name], shown[name]) for name in names)]
    if len(names) > WIDE and len(settings) < len(names):
        heads, cells = _turned(heads, cells)
    return [_row(heads), "|" + "---|" * len(heads), *map(_row, cells)]


def _ordered(names: Sequence[str]) -> list[str]:
    """Each name once; those that differ in numbers alone, such as levels, side by side."""
    stems = list(dict.fromkeys(re.sub(r"\d+", "", name) for name in names))
    return sorted(dict.fromkeys(names), key=lambda n: stems.index(re.sub(r"\d+", "", n)))


def _turned(heads: list[str], cells: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Figures down and settings across, where there are many of the former."""
    first, *rest = zip(heads, *cells, strict=True)
    return list(first), [list(row) for row in rest]


def _list(figures: list[Figure], shared: str) -> list[str]:
    rows = [
        [one.name, _short(one.setting, shared), _cell(one, target=False, unit=True),
         target_text(one)]
        for one in figures
    ]  # fmt: skip
    return [_row(["figure", "of", "median", "target"]), "|---|---|---|---|", *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _short(setting: str, shared: str) -> str:
    return re.split(r"[,;] (?=[^,;]*$)", setting)[0] if shared else setting


def _head(column: list[Figure], shown: bool) -> str:
    first = column[0]
    unit = "" if first.unit in ("1", *first.name.split()) else f", {first.unit}"
    target = target_text(first)
    return f"{first.name}{unit}" + (f" ({target})" if target and not shown else "")


def _cell(one: Figure, target: bool, *, unit: bool = False) -> str:
    """Median, spread over the repetitions, and whether and what it misses."""
    text = quantity(one.median, one.unit) if unit else number(one.median)
    if len(one.values) > 1 and one.lowest != one.highest:
        text += f" ({number(one.lowest)} to {number(one.highest)})"
    if target and one.target is not None:
        text += f", {target_text(one)}"
    return text if one.met in (None, True) else f"{text} **missed**"
