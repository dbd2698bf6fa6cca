"""A profile as people read it, and its key figures for machines."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from profiler.predict import peak_bytes, step_s
from profiler.probes import ranks_at
from profiler.schema import Profile

MB = 1e6


def show_profile(profile: Profile) -> None:
    """Print a profile: one row per layer, totals below."""
    console = Console(markup=False, emoji=False, highlight=False)
    model, training = profile.model, profile.training
    console.print(
        f"{model.name} ({model.family}, {model.layers} layers, "
        f"{model.parameters / 1e6:.1f} M parameters) on {profile.device.name}, "
        f"batch {training.batch_size} x {training.sequence_length} tokens, {training.dtype}"
        + (f", base in {training.base_dtype}" if training.base_dtype != "same" else ""),
        soft_wrap=True,
    )
    console.print(_table(profile))
    for line in _totals(profile):
        console.print(line, soft_wrap=True)


def _table(profile: Profile) -> Table:
    table = Table()
    for title in (
        "layer",
        "forward ms",
        "backward ms",
        "LoRA µs/rank",
        "activations MB",
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
            f"{saved / MB:.1f}",
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
        f"a step takes {_step_s(profile, 1, 8) * 1e3:.0f} ms at depth 1 and "
        f"{_step_s(profile, layers, 8) * 1e3:.0f} ms at depth {layers}, rank 8 "
        f"(± {time.error_fraction:.1%}); embeddings {time.embedding_s * 1e3:.1f} ms, "
        f"head and optimizer {time.head_s * 1e3:.1f} ms",
        f"it needs {_peak_bytes(profile, 1, 8) / MB:.0f} MB at depth 1 and "
        f"{_peak_bytes(profile, layers, 8) / MB:.0f} MB at depth {layers}; weights "
        f"{memory.weights_bytes / MB:.0f} MB, framework "
        f"{memory.framework_bytes / MB:.0f} MB",
    ]


def _step_s(profile: Profile, depth: int, rank: int) -> float:
    return step_s(profile.time, ranks_at(profile.model.layers, depth, rank))


def _peak_bytes(profile: Profile, depth: int, rank: int) -> float:
    return peak_bytes(profile.memory, ranks_at(profile.model.layers, depth, rank))


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
        "step_s_by_depth": [_step_s(profile, k, 8 if k else 0) for k in range(layers + 1)],
        "peak_bytes_by_depth": [
            _peak_bytes(profile, k, 8 if k else 0) for k in range(layers + 1)
        ],
        "rank": 8,
        "time_error_fraction": profile.time.error_fraction,
        "memory_error_fraction": profile.memory.error_fraction,
    }
