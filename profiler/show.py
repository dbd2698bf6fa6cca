"""A profile as people read it, and its key figures for machines."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from profiler.schema import Profile

MIB = 2**20


def show_profile(profile: Profile) -> None:
    """Print a profile: one row per layer, totals below."""
    console = Console()
    model, training = profile.model, profile.training
    console.print(
        f"{model.name} ({model.family}, {model.layers} layers, "
        f"{model.parameters / 1e6:.1f} M parameters) on {profile.device.name}, "
        f"batch {training.batch_size} x {training.sequence_length} tokens, {training.dtype}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(_table(profile))
    for line in _totals(profile):
        console.print(line, highlight=False, soft_wrap=True)


def _table(profile: Profile) -> Table:
    table = Table()
    for title in (
        "layer",
        "forward ms",
        "backward ms",
        "LoRA µs/rank",
        "activations MiB",
        "params per rank",
    ):
        table.add_column(title, justify="right")
    time, memory = profile.time, profile.memory
    columns = (
        time.forward_s,
        time.backward_s,
        time.lora_s_per_rank,
        memory.activation_bytes,
        profile.lora.parameters_per_rank,
    )
    for first, last in _runs(list(zip(*columns, strict=True))):
        forward, backward, lora, saved, parameters = (column[first] for column in columns)
        table.add_row(
            f"{first + 1}" if first == last else f"{first + 1}-{last + 1}, each",
            f"{forward * 1e3:.2f}",
            f"{backward * 1e3:.2f}",
            f"{lora * 1e6:.1f}",
            f"{saved / MIB:.1f}",
            f"{parameters:,}",
        )
    return table


def _runs(rows: Sequence[object]) -> list[tuple[int, int]]:
    """Ranges of equal rows, so that like layers take one line."""
    runs: list[tuple[int, int]] = []
    for index, row in enumerate(rows):
        if runs and rows[runs[-1][0]] == row:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return runs


def _totals(profile: Profile) -> list[str]:
    time, memory, layers = profile.time, profile.memory, profile.model.layers
    return [
        f"a step takes {step_s(profile, 1, 8) * 1e3:.0f} ms at depth 1 and "
        f"{step_s(profile, layers, 8) * 1e3:.0f} ms at depth {layers}, rank 8 "
        f"(± {time.error_fraction:.1%}); embeddings {time.embedding_s * 1e3:.1f} ms, "
        f"head and optimizer {time.head_s * 1e3:.1f} ms",
        f"it needs {peak_bytes(profile, 1, 8) / MIB:.0f} MiB at depth 1 and "
        f"{peak_bytes(profile, layers, 8) / MIB:.0f} MiB at depth {layers}; weights "
        f"{memory.weights_bytes / MIB:.0f} MiB, framework "
        f"{memory.framework_bytes / MIB:.0f} MiB",
    ]


def step_s(profile: Profile, depth: int, rank: int) -> float:
    """Seconds of a step with one rank on the last `depth` layers."""
    time, start = profile.time, profile.model.layers - depth
    adapted = sum(time.backward_s[start:]) + rank * sum(time.lora_s_per_rank[start:])
    return time.embedding_s + sum(time.forward_s) + time.head_s + adapted


def peak_bytes(profile: Profile, depth: int, rank: int) -> float:
    """Peak memory of the process with one rank on the last `depth` layers."""
    memory, start = profile.memory, profile.model.layers - depth
    phases = (memory.forward_bytes, memory.backward_bytes, memory.optimizer_bytes)
    return (
        memory.weights_bytes
        + memory.framework_bytes
        + max(p.by_depth[depth] + rank * sum(p.per_rank[start:]) for p in phases)
    )


def key_figures(profile: Profile, path: str) -> dict[str, object]:
    """Figures for ``--json``, in SI units."""
    layers = profile.model.layers
    return {
        "profile": path,
        "model": profile.model.name,
        "family": profile.model.family,
        "layers": layers,
        "parameters": profile.model.parameters,
        "head_parameters": profile.model.head_parameters,
        "device": profile.device.name,
        "step_s_by_depth": [step_s(profile, k, 8 if k else 0) for k in range(layers + 1)],
        "peak_bytes_by_depth": [
            peak_bytes(profile, k, 8 if k else 0) for k in range(layers + 1)
        ],
        "rank": 8,
        "time_error_fraction": profile.time.error_fraction,
        "memory_error_fraction": profile.memory.error_fraction,
    }
