"""Profiles from a config alone: how fast, how small, and without what."""

import importlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from benchmarks.child import in_child, peak_rss_bytes
from benchmarks.machine import ROOT
from benchmarks.models import write_config
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure
from profiler.schema import InputError

LARGE, MEDIUM = "llama-3-70b", "llama-2-7b"
TARGET_DERIVE_S, TARGET_FAKE_S, TARGET_FAKE_GB = 1.0, 10.0, 0.5
# What a bare install lacks.
BLOCKED = ("torch", "transformers", "peft", "safetensors", "psutil", "matplotlib", "jinja2")

PROTOCOL = f"""
Every value is a fresh process. 'legend profile --derive' is the whole command for {LARGE} on
an H100 in bfloat16, batch 1, 512 tokens, wall clock from start to file; the call alone is
`profiler.derive.derive_profile`, imports done. The count on fake tensors is
`profiler.memory.model.memory_model` for {MEDIUM} in the same setup, from its config; imports
of torch and transformers are included in its seconds and in its peak resident set. For the
bare environment a process that refuses to import {", ".join(BLOCKED)} derives the paper-80
fleet, solves it and checks the plan; its figure is how many of these were loaded or missed.
"""


def measure(job: Job) -> list[Figure]:
    """Repeat every measurement, alternating."""
    commands, calls, fakes, busy, memory, missed = [], [], [], [], [], []
    for seed in range(job.seeds):
        job.say(f"repetition {seed}")
        commands.append(_command_s())
        calls.append(in_child(derive, {"model": LARGE}))
        counted = in_child(count_on_fake_tensors, {"model": MEDIUM})
        fakes.append(counted["wall_s"])
        busy.append(counted["cpu_s"])
        memory.append(counted["peak_bytes"] / 1e9)
        missed.append(float(in_child(plan_bare, {})))
    return [
        figure("legend profile --derive", commands, "s", setting=LARGE, target=TARGET_DERIVE_S),
        figure("derive_profile", calls, "s", setting=LARGE, target=TARGET_DERIVE_S),
        figure("count on fake tensors", fakes, "s", setting=MEDIUM, target=TARGET_FAKE_S),
        figure("the same, CPU time", busy, "s", setting=MEDIUM),
        figure("peak resident set of it", memory, "GB", setting=MEDIUM, target=TARGET_FAKE_GB),
        figure(
            "modules missed", missed, "modules", setting="bare environment", target=0,
            judged="worst",
        ),
    ]  # fmt: skip


def _command_s() -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "legend", "profile", LARGE, "--derive",
            "--hardware", "h100", "--dtype", "bfloat16", "--batch-size", "1",
            "--sequence-length", "512", "-o", str(Path(folder) / "profile.json"),
        ]  # fmt: skip
        began = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise InputError(f"legend profile --derive failed: {done.stderr.strip()}")
    return seconds


def derive(model: str) -> float:
    """Seconds of one derivation; runs in a process of its own."""
    from profiler.derive import derive_profile
    from profiler.schema import Training

    training = Training(batch_size=1, sequence_length=512, dtype="bfloat16")
    began = time.perf_counter()
    derive_profile(model, "h100", None, training)
    return time.perf_counter() - began


def count_on_fake_tensors(model: str) -> dict[str, float]:
    """Seconds and peak resident bytes of the count; runs in a process of its own."""
    began = time.perf_counter()
    from profiler.anatomy import examine
    from profiler.checkpoint import open_checkpoint, settle
    from profiler.memory.model import memory_model
    from profiler.schema import Training

    training = Training(
        batch_size=1, sequence_length=512, dtype="bfloat16", task="causal-lm", labels=0
    )
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = open_checkpoint(str(write_config(model, Path(folder))))
        training, _ = settle(checkpoint, training)
        memory_model(checkpoint, examine(checkpoint, training), training)
    return {
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time(),
        "peak_bytes": peak_rss_bytes(),
    }


class _Refusal(MetaPathFinder):
    """Refuses some packages, as if they were not installed."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in BLOCKED:
            self.asked.add(fullname)
            raise ModuleNotFoundError(f"{fullname} is refused here", name=fullname)
        return None


def plan_bare() -> int:
    """Plan where `BLOCKED` cannot be imported; returns how many of it were missed."""
    refusal = _Refusal()
    sys.meta_path.insert(0, refusal)
    instances = importlib.import_module("benchmarks.instances")
    planner = importlib.import_module("solver.planner")
    checker = importlib.import_module("solver.check")
    problem = instances.paper_80(0)
    plan = planner.solve(problem)
    failed = checker.check(plan, problem.fleet).failed
    if failed:
        raise InputError(f"the plan does not hold: {failed[0]}")
    loaded = {name.partition(".")[0] for name in sys.modules} & set(BLOCKED)
    return len(loaded | refusal.asked)


CASE = Case(
    name="derive",
    summary="What does a profile from a config alone cost, and what does it need?",
    protocol=PROTOCOL,
    seeds=5,
    quick_seeds=2,
    measure=measure,
)
