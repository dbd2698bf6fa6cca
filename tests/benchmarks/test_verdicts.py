"""What holds and what does not: what is missed stands first, with its reason."""

from msgspec.structs import replace

from benchmarks.registry import find, run
from benchmarks.result import Figure, Result, figure
from benchmarks.table import latest
from benchmarks.verdicts import render_verdicts


def judged(*figures: Figure) -> Result:
    result = run(find("frontier"), quick=True, seeds=1)
    return replace(result, quick=True, figures=list(figures))


def test_missed_targets_come_first_with_their_reason() -> None:
    held = judged(figure("wall", [1.0], "s", target=5.0))
    missed = replace(
        judged(
            figure("wall", [1.0, 3.0, 2.0], "s", setting="small", target=5.0),
            figure("wall", [6.0, 9.0, 7.0], "s", setting="large", target=5.0),
            figure("gap", [0.1, 0.5], "1", target=0.2, judged="worst"),
            figure("speedup", [4.0], "1", setting="here", target=3.0, better="high"),
            figure("untold", [4.0], "s"),
        ),
        case="mean-wait",
    )
    text = render_verdicts([held, missed], ["frontier", "mean-wait", "replan"])
    assert text.splitlines() == [
        "**2 of 4 targets are met.**",
        "",
        "Without a result on file: replan.",
        "",
        "**[mean-wait (quick)](#mean-wait-quick)**: 1 of 3 met. " + find("mean-wait").shortfall,
        "",
        "- wall ≤ 5 s: 7 s (large); met: 2 s (small)",
        "- gap ≤ 0.2 at worst: 0.5",
        "",
        "All targets are met (how many there are) in [frontier (quick)](#frontier-quick) (1).",
    ]


def test_missed_ones_are_named_and_many_met_ones_summed_up() -> None:
    values = [1.0, 2.0, 3.0, 7.0, 8.0, 9.0]
    text = render_verdicts(
        [judged(*(figure("x", [v], "MB", setting=f"at {v:g}", target=5.0) for v in values))]
    )
    assert (
        "x ≤ 5 MB: 7 MB (at 7); 8 MB (at 8); 9 MB (at 9); met: 1 to 3 MB in 3 settings" in text
    )


def test_without_targets_there_is_nothing_to_list() -> None:
    assert render_verdicts([]) == "**0 of 0 targets are met.**"


def test_every_case_that_misses_a_target_says_why() -> None:
    for result in latest():
        missed = [one.name for one in result.figures if one.met is False]
        assert bool(missed) == bool(find(result.case).shortfall), result.case
