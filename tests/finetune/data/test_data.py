"""Reading, splitting and sharing out the data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from finetune.data.dataset import Examples, load_dataset
from finetune.data.partition import partition
from finetune.options import RunOptions
from profiler.labelled import read_table
from profiler.schema import Training
from solver.plan import InputError
from tests.finetune.arrow import save_to_disk
from tests.finetune.runs import write_reviews

TRAINING = Training(batch_size=4, sequence_length=16)
SIZES = [20] * 8


def examples(count: int = 200, classes: int = 4) -> Examples:
    labels = np.arange(count) % classes
    return Examples(["text"] * count, labels, [f"owner-{i % 23}" for i in range(count)])


def shares_of_labels(parts: list[np.ndarray], labels: np.ndarray) -> np.ndarray:
    return np.array([np.bincount(labels[part], minlength=4) / len(part) for part in parts])


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet", "folder"])
def test_every_format_reads_the_same(tmp_path: Path, suffix: str) -> None:
    csv = write_reviews(tmp_path / "reviews.csv", count=6)
    table, path = read_table(csv), tmp_path / f"again.{suffix}"
    typed = table.assign(label=table["label"].astype(int))
    if suffix == "parquet":
        typed.to_parquet(path)
    elif suffix == "folder":
        save_to_disk(typed, path)
    elif suffix == "jsonl":
        typed.to_json(path, orient="records", lines=True)
    else:
        typed.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    pd.testing.assert_frame_equal(read_table(path), table, check_dtype=False)


def test_the_test_split_is_stratified_seeded_and_apart(tmp_path: Path) -> None:
    path = write_reviews(tmp_path / "reviews.csv", count=100)
    first = load_dataset(path, None, TRAINING, RunOptions())
    again = load_dataset(path, None, TRAINING, RunOptions())
    other = load_dataset(path, None, TRAINING, RunOptions(seed=1))
    assert (len(first.train.texts), len(first.test.texts)) == (80, 20)
    assert np.bincount(first.test.labels).tolist() == [10, 10]
    assert first.test.texts == again.test.texts != other.test.texts
    read = read_table(path)["text"]
    assert sorted([*first.train.texts, *first.test.texts]) == sorted(read)


def test_max_test_cuts_the_test_examples_only(tmp_path: Path) -> None:
    path = write_reviews(tmp_path / "reviews.csv", count=100)
    data = load_dataset(path, None, TRAINING, RunOptions(max_test=5))
    assert (len(data.train.texts), len(data.test.texts)) == (80, 5)


def test_given_test_data_leave_all_data_for_training(tmp_path: Path) -> None:
    path = write_reviews(tmp_path / "reviews.csv", count=40)
    test = write_reviews(tmp_path / "test.csv", count=10)
    data = load_dataset(path, test, TRAINING, RunOptions())
    assert (len(data.train.texts), len(data.test.texts)) == (40, 10)


def test_label_names_keep_integers_and_sort_words(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "x,pos\ny,neg\n" * 5)
    assert load_dataset(path, None, TRAINING, RunOptions()).label_names == ["neg", "pos"]
    path.write_text("text,label\n" + "x,2\ny,0\n" * 5)
    three = Training(batch_size=4, sequence_length=16, labels=3)
    data = load_dataset(path, None, three, RunOptions())
    assert data.label_names == ["0", "1", "2"]
    assert set(data.train.labels) == {0, 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("review,label\nx,0\n", "no column 'text'; it has review, label"),
        ("text,stars\nx,0\n", "no column 'label'"),
        ("text,label\nx,0\n  ,1\n", "'text' is empty in row 2"),
        ("text,label\nx,0\ny,\n", "'label' is empty in row 2"),
        ("text,label\nx,a\ny,b\nz,c\n", "holds 3 labels; the model is profiled for 2"),
        ("text,label\nx,a\ny,a\n", "holds only 'a'; expected 2 or more"),
        ("text,label\nx,a\ny,b\n", "2 examples leave 2 to train and 0 to test"),
        ("text,label\n", "holds no rows"),
        ("", "is no readable .csv table"),
        ('text,label\n"x,0\n', "is no readable .csv table"),
    ],
)
def test_data_that_cannot_be_used_gives_one_clear_line(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "data.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as raised:
        load_dataset(path, None, TRAINING, RunOptions())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.csv", "no such file"), ("data.xlsx", "ends in '.xlsx'; expected .csv")],
)
def test_files_that_cannot_be_read_are_named(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / name)


def test_a_datasets_folder_is_checked(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": ["a", "b", "c"], "label": [0, 1, 0]})
    save_to_disk(table, tmp_path / "whole/train")
    (tmp_path / "whole/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(InputError, match=r"several splits \(train, test\); name one"):
        read_table(tmp_path / "whole")
    assert len(read_table(tmp_path / "whole/train")) == 3
    for name, frame in (("a", table), ("b", table.assign(label="x"))):
        save_to_disk(frame, tmp_path / name)
        found = min((tmp_path / name).glob("*.arrow"))
        found.rename(tmp_path / f"whole/train/{name}.arrow")
    state = tmp_path / "whole/train/state.json"
    for content, message in (
        ('{"_data_files": [{"filename": "../../secret.arrow"}]}', "names no files in this"),
        ('{"_data_files": [{"filename": "state.json"}]}', "is no readable Arrow stream"),
        ('{"_data_files": [{"filename": "none.arrow"}]}', "is no readable Arrow stream"),
        ('{"_data_files": [{"filename": "a.arrow"}, {"filename": "b.arrow"}]}', "as one table"),
        ("[]", "is no JSON object"),
        ("{", "is no JSON"),
    ):
        state.write_text(content)
        with pytest.raises(InputError, match=message) as raised:
            read_table(tmp_path / "whole/train")
        assert "\n" not in str(raised.value)
    state.unlink()
    with pytest.raises(InputError, match=r"folder without state\.json"):
        read_table(tmp_path / "whole/train")


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_files_of_another_kind_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data.{suffix}"
    path.write_text("[1, 2]\n3\n")
    with pytest.raises(InputError, match=f"is no readable .{suffix} table"):
        read_table(path)


@pytest.mark.parametrize("kind", ["iid", "dirichlet", "natural:critic"])
def test_every_example_is_held_exactly_once(kind: str) -> None:
    parts = partition(examples(), SIZES, RunOptions(partition=kind), minimum=4)
    assert sorted(np.concatenate(parts)) == list(range(200))
    assert min(len(part) for part in parts) >= 4


@pytest.mark.parametrize("alpha", [0.01, 0.1])
def test_every_device_gets_the_minimum_however_skewed(alpha: float) -> None:
    parts = partition(examples(), SIZES, RunOptions(alpha=alpha), minimum=16)
    assert min(len(part) for part in parts) >= 16
    scarce = partition(examples(20), SIZES, RunOptions(alpha=alpha), minimum=16)
    assert min(len(part) for part in scarce) == 2


def test_a_smaller_alpha_makes_devices_differ_more() -> None:
    data = examples(2000)
    spread = [
        shares_of_labels(
            partition(data, SIZES, RunOptions(alpha=alpha), minimum=1), data.labels
        ).std()
        for alpha in (0.1, 1.0, 100.0)
    ]
    assert spread[0] > spread[1] > spread[2]


def test_sizes_follow_the_plan() -> None:
    parts = partition(examples(2000), [300, 100], RunOptions(partition="iid"), minimum=1)
    assert [len(part) for part in parts] == [1500, 500]


def test_natural_keeps_an_owners_examples_together() -> None:
    data = examples()
    parts = partition(data, SIZES, RunOptions(partition="natural:critic"), minimum=4)
    owners = [{data.owners[i] for i in part} for part in parts]
    assert sum(len(names) for names in owners) == len(set().union(*owners)) == 23


def test_too_few_examples_or_owners_are_refused() -> None:
    with pytest.raises(InputError, match="7 training examples for 8 devices"):
        partition(examples(7), SIZES, RunOptions(), minimum=1)
    with pytest.raises(InputError, match="finds 23 owners for 30 devices"):
        partition(examples(), [1] * 30, RunOptions(partition="natural:critic"), minimum=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rounds", 0),
        ("alpha", 0.0),
        ("learning_rate", float("nan")),
        ("test_fraction", 1.0),
        ("target_accuracy", 1.5),
        ("partition", "random"),
        ("partition", "natural:"),
        ("partition", "unnatural:critic"),
        ("seed", -1),
    ],
)
def test_options_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')} is"):
        RunOptions(**{name: value})  # type: ignore[arg-type]
