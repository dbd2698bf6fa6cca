"""Step times foretold by a profile, against configurations that it never saw."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child import in_child
from benchmarks.fetch import fetch_model
from benchmarks.models import BASE, write_config
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure
from profiler.schema import InputError

REAL = "all-MiniLM-L6-v2"
HELD_OUT = 8
TARGET_PERCENT = {
    ("same session", "mape"): 1.0,
    ("same session", "worst"): 2.5,
    ("fresh process", "mape"): 3.0,
    ("fresh process, one scalar", "mape"): 1.0,
    ("growth of the process", "mape"): 0.5,
    ("growth of the process", "worst"): 1.0,
}
TITLES = {
    "time": "fresh process",
    "time_rescaled": "fresh process, one scalar",
    "growth": "growth of the process",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model to be profiled and how long that may take."""

    name: str
    layers: int
    target_s: float
    quick: bool


SUBJECTS = (
    Subject(name=REAL, layers=6, target_s=30.0, quick=True),
    Subject(name=BASE, layers=12, target_s=60.0, quick=False),
)

PROTOCOL = f"""
Models: the pretrained 6-layer {REAL}, and a 12-layer {BASE} with random weights (full form
only); batch 16, 64 tokens, fp32, AdamW, dropout, sdpa, CPU. Same session: the profiler's probes
and {HELD_OUT} held-out configurations (`profiler.check.held_out`: all depths; rising, mixed,
even and falling ranks) are timed interleaved in one process; the fit sees the probes alone.
Fresh process: `profiler.measure.measure_profile`, then `profiler.check.run` in processes of its
own; raw, and after one scalar fitted on the other half of the configurations. Growth: peak
resident set of a training process above its libraries. Times are those the profiler states
(main thread's CPU seconds as wall seconds when idle), so other load on the machine counts only
as far as it disturbs them. MAPE and worst over the held-out configurations; one value a seed.
"""


def measure(job: Job) -> list[Figure]:
    """Profile and check every model, once a seed."""
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for subject in SUBJECTS:
            if job.quick and not subject.quick:
                continue
            path = _folder(subject, Path(folder), job)
            if path is None:
                continue
            found[subject.name] = [_run(path, seed, job) for seed in range(job.seeds)]
    if not found:
        raise InputError("no model to profile; see the notes above")
    return [one for s in SUBJECTS for one in _figures(s, found.get(s.name, []))]


def _folder(subject: Subject, parent: Path, job: Job) -> str | None:
    if subject.name != REAL:
        return str(write_config(subject.name, parent))
    try:
        return str(fetch_model())
    except InputError as error:
        job.notes.append(f"{REAL} is left out: {error}")
        job.say(job.notes[-1])
        return None


def _run(path: str, seed: int, job: Job) -> dict[str, float]:
    job.say(f"{Path(path).name}, seed {seed}")
    arguments = {"model": path, "seed": seed, "quick": job.quick}
    return {
        **in_child(same_session, arguments, timeout_s=900),
        **in_child(fresh_process, arguments, timeout_s=1800),
    }


def same_session(model: str, seed: int, quick: bool) -> dict[str, float]:
    """Errors where probes and held-out configurations share a process."""
    from profiler.check.held_out import held_out
    from profiler.launch import TimeProcess
    from profiler.listener import Silence
    from profiler.measure import FULL, QUICK, time_request, time_steps
    from profiler.predict import step_s
    from profiler.probes import Setup, choose_probes
    from profiler.schema import Training
    from profiler.survey import survey
    from profiler.timing.fit import fit_time
    from profiler.timing.spans import summarise

    training = Training(batch_size=16, sequence_length=64)
    with TimeProcess(0) as process:
        found = survey(model, training, (), "cpu")
        layers = found.anatomy.model.layers
        setup = Setup(model=model, training=training, targets=[], processor="cpu", seed=seed)
        probes = choose_probes(layers, quick=quick)
        others = held_out(layers, HELD_OUT, seed)
        lists = [p.ranks(layers) for p in probes] + others
        request = time_request(setup, lists, QUICK if quick else FULL)
        _, samples = time_steps(process, request, Silence())
    own = [s for s in samples if s.probe < len(probes)]
    lora = found.anatomy.lora
    fit = fit_time(probes, own, found.anatomy.kinds, lora.parameters_per_rank)
    seen = summarise(samples, len(lists)).seconds[len(probes) :]
    errors = [abs(step_s(fit.time, r) / s - 1) for r, s in zip(others, seen, strict=True)]
    return _summary("same session", errors)


def fresh_process(model: str, seed: int, quick: bool) -> dict[str, float]:
    """Seconds to profile, and errors of the profile in processes that come later."""
    from dataclasses import replace

    from profiler.check.run import FULL_CHECK, QUICK_CHECK, check_profile
    from profiler.measure import FULL, QUICK, measure_profile
    from profiler.schema import Training

    began = time.perf_counter()
    profile = measure_profile(
        model,
        Training(batch_size=16, sequence_length=64),
        effort=QUICK if quick else FULL,
        seed=seed,
    )
    seconds = time.perf_counter() - began
    effort = replace(QUICK_CHECK if quick else FULL_CHECK, cases=HELD_OUT)
    report = check_profile(profile, model, effort=effort, seed=seed)
    found = {"seconds": seconds, "busy": 100 * report.busy_fraction}
    for quantity, title in TITLES.items():
        summary = report.summary(quantity)
        found[f"{title}/mape"] = 100 * summary.mape_fraction
        found[f"{title}/worst"] = 100 * summary.worst_fraction
    return {**found, "noise": 100 * report.noise_fraction}


def _summary(title: str, errors: Sequence[float]) -> dict[str, float]:
    return {
        f"{title}/mape": 100 * sum(errors) / len(errors),
        f"{title}/worst": 100 * max(errors),
    }


def _figures(subject: Subject, runs: Sequence[dict[str, float]]) -> list[Figure]:
    if not runs:
        return []
    columns = {key: [run[key] for run in runs] for key in runs[0]}
    setting = f"{subject.name}, {subject.layers} layers"
    figures = [
        figure(
            "time to profile", columns["seconds"], "s", setting=setting, target=subject.target_s
        )
    ]
    figures += [
        figure(
            f"{title}: {kind if kind == 'worst' else 'MAPE'}",
            columns[f"{title}/{kind}"],
            "%",
            setting=setting,
            target=TARGET_PERCENT.get((title, kind)),
        )
        for title in ("same session", *TITLES.values())
        for kind in ("mape", "worst")
    ]
    figures.append(figure("noise floor of the check", columns["noise"], "%", setting=setting))
    figures.append(figure("busy machine", columns["busy"], "%", setting=setting))
    return figures


CASE = Case(
    name="profiler-time",
    summary="Do step times of configurations that were never run come true?",
    shortfall=(
        "Measured on a machine that others used as well, in the short form with one seed; "
        "timing the same configuration twice differs by 1.4 % there (noise floor of the "
        "check). The full form has not been run."
    ),
    protocol=PROTOCOL,
    seeds=3,
    quick_seeds=1,
    measure=measure,
)
