"""Reading and batching of the text that gains are measured on."""

import json
import sys
from pathlib import Path

import pytest
import torch

from profiler.checkpoint import Checkpoint, open_checkpoint
from profiler.gain.data import IGNORED_LABEL, Source, Text, load_text
from profiler.schema import InputError, Training
from tests.finetune.runs import save_model, write_reviews
from tests.profiler.tiny_models import model_folder

TRAINING = Training(batch_size=4, sequence_length=6)
CAUSAL = Training(batch_size=4, sequence_length=6, task="causal-lm", labels=0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(str(save_model(tmp_path_factory.mktemp("data") / "model", "bert")))


def load(
    path: Path, checkpoint: Checkpoint, training: Training = TRAINING, count: int = 999
) -> Text:
    return load_text(Source(path), checkpoint, training, count=count, seed=0)


def test_tables_of_all_kinds_give_the_same_examples(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    plain = write_reviews(tmp_path / "a.csv")
    expected = load(plain, checkpoint)
    assert len(expected.ids) == 160
    rows = [line.split(",") for line in plain.read_text().splitlines()]
    lines = [json.dumps(dict(zip(rows[0], row, strict=True))) for row in rows[1:]]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert load(tmp_path / "a.jsonl", checkpoint) == expected
    (tmp_path / "a.json").write_text("[" + ",\n".join(lines) + "]")
    assert load(tmp_path / "a.json", checkpoint) == expected
    assert load(write_reviews(tmp_path / "a.tsv", separator="\t"), checkpoint) == expected


def test_without_pyarrow_a_parquet_table_says_what_is_missing(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError) as raised:
        load(tmp_path / "a.parquet", checkpoint)
    assert raised.value.name == "pyarrow"


def test_examples_are_cut_and_drawn_by_the_seed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = write_reviews(tmp_path / "a.csv")
    text = load(path, checkpoint, count=20)
    assert len(text.ids) == 20
    assert max(map(len, text.ids)) <= TRAINING.sequence_length
    assert text == load(path, checkpoint).take(range(20))
    other = load_text(Source(path), checkpoint, TRAINING, count=20, seed=1)
    assert other != text


def test_every_example_comes_once_in_order_of_length(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    text = load(write_reviews(tmp_path / "a.csv"), checkpoint, count=10)
    batches = list(text.ordered(4))
    assert [len(b["labels"]) for b in batches] == [4, 4, 2]
    lengths = torch.cat([b["attention_mask"].sum(1) for b in batches])
    assert lengths.tolist() == sorted(map(len, text.ids))


def test_shuffled_batches_are_full_and_repeatable(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    text = load(write_reviews(tmp_path / "a.csv"), checkpoint, count=10)
    first, again = (list(text.shuffled(4, 6, seed=2)) for _ in range(2))
    assert len(first) == 6
    for a, b in zip(first, again, strict=True):
        assert a["input_ids"].shape[0] == 4
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_causal_text_is_its_own_label_and_needs_no_label_column(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\na good film\nthe music was very warm\n")
    batch = load(path, checkpoint, CAUSAL).batch([0, 1])
    padding = batch["attention_mask"] == 0
    assert (batch["labels"][padding] == IGNORED_LABEL).all()
    assert torch.equal(batch["labels"][~padding], batch["input_ids"][~padding])


def test_labels_by_name_are_counted_in_sorted_order(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\ngood,pos\nbad,neg\n")
    named = load(path, checkpoint)
    path.write_text("text,label\ngood,1\nbad,0\n")
    assert named == load(path, checkpoint)
    assert sorted(named.labels) == [0, 1]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("text,label\n", "holds no rows"),
        ("words,label\na,0\n", "no column 'text'"),
        ("text,label\n ,0\nb,1\n", "'text' is empty in row 1"),
        ("text,label\na,0\nb,1\nc,2\n", "holds 3 labels"),
        ("text,label\na,0\nb,0\n", "holds only '0'; expected 2 or more labels"),
    ],
)
def test_bad_tables_are_refused_in_one_line(
    content: str, line: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        load(path, checkpoint)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_odd_endings_and_no_tokenizer_are_refused(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "absent.csv", checkpoint)
    with pytest.raises(InputError, match=r"ends in '.txt'"):
        load(tmp_path / "a.txt", checkpoint)
    bare = open_checkpoint(model_folder("bert", tmp_path))
    with pytest.raises(InputError, match="holds no tokenizer"):
        load(write_reviews(tmp_path / "a.csv"), bare)
