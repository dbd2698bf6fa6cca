"""The site's own part: which model, which examples, how a step is taken. Change it freely.

As it stands it reads two environment variables of the site: ``LEGEND_MODEL``, a Hugging Face
folder with a tokenizer, and ``LEGEND_DATA``, a CSV file with the columns ``text`` and, for a
classifier, ``label`` (0, 1 ...).
"""

import csv
import json
import os
from pathlib import Path

import torch
import transformers

LEARNING_RATE = 2e-4
SETTINGS = json.loads((Path(__file__).resolve().parent / "training.json").read_text())
CLASSIFIES = SETTINGS["task"] == "classification"


def load_model() -> torch.nn.Module:
    """Load the base model with its task head."""
    kind = transformers.AutoModelForCausalLM
    options = {}
    if CLASSIFIES:
        kind = transformers.AutoModelForSequenceClassification
        options = {"num_labels": SETTINGS["labels"]}
    model: torch.nn.Module = kind.from_pretrained(
        os.environ["LEGEND_MODEL"],
        local_files_only=True,
        use_safetensors=True,
        pad_token_id=_tokenizer().pad_token_id,
        **options,
    )
    return model


def train(model: torch.nn.Module, steps: int, batch_size: int) -> None:
    """Take so many steps on batches drawn from the site's examples."""
    texts, labels = _examples()
    tokenizer = _tokenizer()
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE)
    model.train()
    for _ in range(steps):
        drawn = torch.randint(len(texts), (batch_size,)).tolist()
        batch = tokenizer(
            [texts[i] for i in drawn],
            padding=True,
            truncation=True,
            max_length=SETTINGS["sequence_length"],
            return_tensors="pt",
        )
        batch.pop("token_type_ids", None)
        # Padding is not to be learnt.
        words = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        target = torch.tensor([labels[i] for i in drawn]) if CLASSIFIES else words
        optimizer.zero_grad()
        model(**batch, labels=target).loss.backward()
        optimizer.step()


def _tokenizer() -> transformers.PreTrainedTokenizerBase:
    """Tokenizer that can pad; GPT-2's and Llama's have no token for it, but one that ends."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(os.environ["LEGEND_MODEL"])
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer


def _examples() -> tuple[list[str], list[int]]:
    with open(os.environ["LEGEND_DATA"], encoding="utf-8", newline="") as file:  # noqa: PTH123
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [int(row.get("label") or 0) for row in rows]
