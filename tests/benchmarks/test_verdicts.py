"""What holds and what does not, in one line a target."""

from msgspec.structs import replace

from benchmarks.registry import find, run
from benchmarks.result import Figure, Result, figure
from benchmarks.verdicts import render_verdicts


def judged(*figures: Figure) -> Result:
    result = run(find("frontier"), quick=True, seeds=1)
    return replace(result, quick=True, figures=list(figures))


def test_every_target_is_one_line_and_missed_ones_come_first() -> None:
    text = render_verdicts(
        [
            judged(
                figure("wall", [1.0, 3.0, 2.0], "s", setting="small", target=5.0),
                figure("wall", [6.0, 9.0, 7.0], "s", setting="large", target=5.0),
                figure("gap", [0.1, 0.5], "1", target=0.2, judged="worst"),
                figure("speedup", [4.0], "1", setting="here", target=3.0, better="high"),
                figure("untold", [4.0], "s"),
            )
        ],
        ["frontier", "replan"],
    )
    lines = [line for line in text.splitlines() if line.startswith("| [")]
    name = "[frontier (quick)](#frontier-quick)"
    assert lines == [
        f"| {name} | wall ≤ 5 s | missed in 1 of 2: 7 s (large); met: 2 s (small) |",
        f"| {name} | gap ≤ 0.2 at worst | 0.5 |",
        f"| {name} | speedup ≥ 3 | 4 (here) |",
    ]
    assert text.startswith(
        "3 targets: **2 missed**, 1 met. Without a result on file: replan.\n\n| **missed** |"
    )


def test_missed_ones_are_named_and_many_met_ones_summed_up() -> None:
    values = [1.0, 2.0, 3.0, 7.0, 8.0, 9.0]
    text = render_verdicts(
        [judged(*(figure("x", [v], "MB", setting=f"at {v:g}", target=5.0) for v in values))]
    )
    said = (
        "missed in 3 of 6: 7 MB (at 7); 8 MB (at 8); 9 MB (at 9); met: 1 to 3 MB in 3 settings"
    )
    assert said in text


def test_without_targets_there_is_no_table() -> None:
    assert render_verdicts([]).strip() == "0 targets: **0 missed**, 0 met."
