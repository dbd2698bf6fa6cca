"""Results as tables for people: in the terminal and in ``benchmarks/README.md``."""

from pathlib import Path

from benchmarks.registry import NAMES, RESULTS, find, result_path
from benchmarks.result import Figure, Result, read_result
from profiler.schema import InputError, read_bytes, write_bytes

__all__ = ["HEADERS", "cells", "render", "update_readme"]

README = Path(__file__).resolve().parent / "README.md"
BEGIN = "<!-- results: python -m benchmarks table -->"
END = "<!-- end of results -->"
HEADERS = ("figure", "setting", "median", "lowest", "highest", "target", "met")


def cells(one: Figure) -> list[str]:
    """One figure as the columns `HEADERS`."""
    sign = {"low": "≤", "high": "≥"}[one.better]
    target = "" if one.target is None else f"{sign} {number(one.target)}"
    if target and one.judged == "worst":
        target += " at worst"
    met = {None: "", True: "yes", False: "**no**"}[one.met]
    unit = "" if one.unit == "1" else f" {one.unit}"
    spread = [number(one.lowest), number(one.highest)] if len(one.values) > 1 else ["", ""]
    return [one.name, one.setting, number(one.median) + unit, *spread, target, met]


def number(value: float) -> str:
    """Three significant digits, without an exponent where one is not needed."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        digits = f"{value:.3g}"
        return f"{value:.0f}" if "e" in digits else digits
    return f"{value:.2e}"


def render(results: list[Result]) -> str:
    """All results as Markdown."""
    return "\n".join(_section(result) for result in results)


def _section(result: Result) -> str:
    machine = result.machine
    notes = "".join(f"\n{note}\n" for note in result.notes)
    lines = [
        f"### {result.case}{' (quick)' if result.quick else ''}",
        "",
        find(result.case).summary,
        "",
        "| " + " | ".join(HEADERS) + " |",
        "|" + "---|" * len(HEADERS),
        *("| " + " | ".join(cells(one)) + " |" for one in result.figures),
        notes,
        f"`{result.command}`, {result.provenance.created}, {result.seeds} seeds, "
        f"{result.seconds:.0f} s; commit {machine.commit}; {machine.cores} cores of "
        f"{machine.processor}, load {machine.load_before:g} before and {machine.load_after:g} "
        "after.",
        "",
        f"Protocol: {result.protocol}",
        "",
    ]
    return "\n".join(lines)


def latest(folder: Path = RESULTS) -> list[Result]:
    """Results on file in the order of the registry; the full form where there is one."""
    found = []
    for name in NAMES:
        paths = [result_path(name, quick=quick, folder=folder) for quick in (False, True)]
        found += [read_result(path) for path in paths if path.is_file()][:1]
    return found


def update_readme(readme: Path = README, folder: Path = RESULTS) -> Path:
    """Replace the results between the two marks of the page; raises `InputError`."""
    text = read_bytes(readme).decode()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise InputError(f"{readme}: expected the marks '{BEGIN}' and '{END}'")
    write_bytes(readme, f"{head}{BEGIN}\n\n{render(latest(folder))}\n{END}{tail}".encode())
    return readme
