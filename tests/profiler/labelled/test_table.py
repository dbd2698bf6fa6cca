"""Tables of text, whatever file they lie in."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from profiler.labelled import class_names, read_columns, read_table
from profiler.schema import InputError

ROWS = [{"text": "good", "label": 1}, {"text": "bad", "label": None}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,label\ngood,1\nbad,\n"),
        ("a.tsv", "text\tlabel\ngood\t1\nbad\t\n"),
        ("a.jsonl", '{"text": "good", "label": "1"}\n{"text": "bad", "label": null}\n'),
        ("a.json", '[{"text": "good", "label": "1"},\n {"text": "bad", "label": null}]'),
    ],
)
def test_every_cell_is_text(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert read_table(tmp_path / name).to_dict("list") == {
        "text": ["good", "bad"],
        "label": ["1", ""],
    }


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.jsonl",
            '{"text": "x"}\n{"text": "y", "text": "z"}\n',
            "a.jsonl, line 2: key 'text'",
        ),
        (
            "a.json",
            '[{"text": "y", "text": "z"}]',
            r"a.json: key 'text' stands twice in \$\[0\]",
        ),
        ("a.json", '{"text": "y"', "a.json: is no readable .json table"),
        ("a.csv", "text\n", "holds no rows"),
        ("a.csv", "words\nx\n", "no column 'text'; it has words"),
        ("a.csv", "text,label\n ,1\n", "'text' is empty in row 1"),
        ("a.txt", "x", "ends in '.txt'; expected .csv"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=said) as error:
        read_columns(tmp_path / name, ["text"])
    assert "\n" not in str(error.value)


def test_classes_are_whole_numbers_as_they_are_or_names_in_order() -> None:
    assert class_names([pd.Series(["1", " 0"])], 3) == ["0", "1", "2"]
    assert class_names([pd.Series(["pos"]), pd.Series(["neg"])], 2) == ["neg", "pos"]
    with pytest.raises(InputError, match=r"profiled for 2. Profile it with --labels 3"):
        class_names([pd.Series(["a", "b", "c"], name="label")], 2)


def test_it_needs_no_torch() -> None:
    code = "import sys, profiler.labelled; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
