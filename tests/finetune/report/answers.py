"""Answers of `legend frontier` and `legend compare` for the plans of `tests.finetune.plans`."""

import json
from pathlib import Path

FRONTIER: list[dict[str, object]] = [
    {
        "round_time_s": 20.0 + 5 * i,
        "utility": 0.5 + 0.06 * i,
        "gap_fraction": 0.0,
        "mean_depth": 3.0 + i,
        "mean_wait_s": 2.0 * i,
    }
    for i in range(5)
]


def policy(name: str, utility: float, structure: str = "shared") -> dict[str, object]:
    cost = {
        "utility": utility,
        "round_time_s": 30.0,
        "mean_wait_s": 3.0,
        "upload_bytes": 2e7,
        "download_bytes": 2e7,
        "energy_j": 0.0,
        "time_error_fraction": 0.3,
    }
    question = {"policy": name.split(",")[0], "structure": structure, "min_depth": 1}
    return {
        "policy": name,
        "gap_fraction": 1 - utility,
        "reason": "",
        "predicted": cost,
        "question": question,
    }


POLICIES: list[dict[str, object]] = [
    policy("exact, shared ranks", 0.62),
    policy("exact, own ranks", 0.7, "own"),
    {
        **policy("hralora", 0.6),
        "gap_fraction": None,
        "reason": "heeds no budgets, so no gap is shown",
    },
    {
        "policy": "fedlora",
        "gap_fraction": None,
        "reason": "infeasible: tx2 needs 3 GB of memory and has 2 GB",
        "predicted": None,
        "question": None,
    },
]


def write_answers(folder: Path) -> tuple[Path, Path]:
    frontier, compare = folder / "frontier.json", folder / "compare.json"
    frontier.write_text(json.dumps(FRONTIER), encoding="utf-8")
    compare.write_text(json.dumps(POLICIES), encoding="utf-8")
    return frontier, compare
