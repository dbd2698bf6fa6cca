"""A folder without a tokenizer is refused: transformers makes one up that knows no word."""

from pathlib import Path

import pytest

from finetune.data.tokens import load_tokeniser
from profiler.schema import Training
from solver.plan import InputError

TRAINING = Training(batch_size=2, sequence_length=8)


def test_a_folder_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="holds no tokenizer"):
        load_tokeniser(tmp_path, TRAINING)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json"):
        load_tokeniser(tmp_path, TRAINING)
