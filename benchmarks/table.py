"""Results as tables for people: in the terminal and in ``benchmarks/README.md``."""

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.grids import render_grids, target_text
from benchmarks.pictures.catalogue import PICTURES, picture_path
from benchmarks.registry import NAMES, RESULTS, find, result_path
from benchmarks.result import Figure, Result, read_result
from benchmarks.verdicts import render_verdicts, title
from benchmarks.words import number, quantity
from profiler.schema import InputError, read_bytes, write_bytes

__all__ = ["HEADERS", "cells", "render", "update_readme"]

README = Path(__file__).resolve().parent / "README.md"
VERDICTS = ("<!-- verdicts: python -m benchmarks table -->", "<!-- end of verdicts -->")
TABLES = ("<!-- results: python -m benchmarks table -->", "<!-- end of results -->")
HEADERS = ("figure", "setting", "median", "lowest", "highest", "target", "met")


def cells(one: Figure) -> list[str]:
    """One figure as the columns `HEADERS`."""
    target = target_text(one)
    met = {None: "", True: "yes", False: "**no**"}[one.met]
    spread = [number(one.lowest), number(one.highest)] if len(one.values) > 1 else ["", ""]
    return [one.name, one.setting, quantity(one.median, one.unit), *spread, target, met]


def render(results: Sequence[Result], folder: Path = RESULTS) -> str:
    """All results as Markdown, with the pictures that lie in a folder."""
    return "\n".join(_section(result, folder) for result in results)


def _pictures(case: str, folder: Path) -> list[str]:
    """Pictures of a case, by a path from the page."""
    paths = {p: picture_path(p, folder) for p in PICTURES if p.case == case}
    return [
        f"![{picture.alt}]({folder.name}/{path.relative_to(folder).as_posix()})\n"
        for picture, path in paths.items()
        if path.is_file()
    ]


def _section(result: Result, folder: Path) -> str:
    case = find(result.case)
    shown = [one for one in result.figures if re.fullmatch(case.front, one.name)]
    lines = [
        f"### {title(result)}",
        "",
        case.summary,
        "",
        *_pictures(result.case, folder),
        *render_grids(shown),
        "",
        *_folded(result, list(dict.fromkeys(o.name for o in result.figures if o not in shown))),
        "",
    ]
    return "\n".join(lines)


def _folded(result: Result, left: Sequence[str]) -> list[str]:
    """Protocol, notes and provenance, which a reader opens."""
    machine = result.machine
    told = [result.protocol, *(f"{note[:1].upper()}{note[1:]}." for note in result.notes)]
    if left:
        told.append(f"Also in the result file: {', '.join(left)}.")
    told.append(
        f"Took {result.seconds:.0f} s; commit {machine.commit}; {machine.cores} cores of "
        f"{machine.processor}, load {machine.load_before:g} before and "
        f"{machine.load_after:g} after."
    )
    return [
        f"<details><summary><code>{result.command}</code>, {result.provenance.created}, "
        f"{_seeds(result.seeds)}: how it was measured</summary>",
        "",
        " ".join(told),
        "",
        "</details>",
    ]


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def latest(folder: Path = RESULTS) -> list[Result]:
    """Results on file in the order of the registry; the full form where there is one."""
    found = []
    for name in NAMES:
        paths = [result_path(name, quick=quick, folder=folder) for quick in (False, True)]
        found += [read_result(path) for path in paths if path.is_file()][:1]
    return found


def update_readme(readme: Path = README, folder: Path = RESULTS) -> Path:
    """Replace what lies between the marks of the page; raises `InputError`."""
    text, results = read_bytes(readme).decode(), latest(folder)
    for marks, content in (
        (VERDICTS, render_verdicts(results, NAMES) + "\n"),
        (TABLES, render(results, folder)),
    ):
        text = _replaced(text, marks, content, readme)
    write_bytes(readme, text.encode())
    return readme


def _replaced(text: str, marks: tuple[str, str], content: str, page: Path) -> str:
    head, begin, rest = text.partition(marks[0])
    _, end, tail = rest.partition(marks[1])
    if not (begin and end):
        raise InputError(f"{page}: expected the marks '{marks[0]}' and '{marks[1]}'")
    return f"{head}{begin}\n\n{content}\n{end}{tail}"
