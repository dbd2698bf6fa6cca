"""Measure the gain table of a profile on data; its costs stay as they are."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from profiler.anatomy import Anatomy, examine
from profiler.checkpoint import Checkpoint, open_checkpoint
from profiler.gain.data import Source, Text, load_text
from profiler.gain.energy import gradient_energy
from profiler.gain.fisher import fisher
from profiler.gain.probe import plan_probes, probe
from profiler.gain.training import Bench, open_bench
from profiler.labelled import data_files
from profiler.listener import Listener, Silence
from profiler.probes import Processor
from profiler.schema import (
    Gain,
    InputError,
    InputFile,
    Origin,
    Profile,
    Training,
    provenance,
)

__all__ = ["LEAST_EXAMPLES", "METHODS", "Method", "measure_gain"]

LEAST_EXAMPLES = 16


class Method(NamedTuple):
    """A way to measure gains.

    Attributes
    ----------
    measure : callable
        Makes the table.
    examples : int
        Examples it takes unless told otherwise.
    trains : bool
        Whether it trains adapters, and so goes on by probe rather than by batch.
    """

    measure: Callable[[Bench, Text, Callable[[], None]], Gain]
    examples: int
    trains: bool = False


METHODS = {
    "gradient-energy": Method(gradient_energy, 256),
    "fisher": Method(fisher, 256),
    "probe": Method(probe, 2048, trains=True),
}


def measure_gain(
    profile: Profile,
    model: str,
    source: Source,
    method: str,
    *,
    examples: int | None = None,
    processor: Processor = "cpu",
    seed: int = 0,
    listener: Listener | None = None,
) -> Profile:
    """Replace the gain table of a profile by one measured on data.

    Parameters
    ----------
    profile : Profile
        Its model, targets and training setup are measured; its costs are kept.
    model : str
        Folder of the profile's model, with weights and a tokenizer.
    source : Source
        The text, with labels unless the task is causal-lm.
    method : str
        One of `METHODS`.
    examples : int, optional
        Examples to use; by default as many as the method takes, or there are.
    processor : {'cpu', 'cuda'}
        What computes.
    seed : int
        Seed of the head's and the adapters' start and of the choice of examples.
    listener : Listener, optional
        Told about progress.

    Raises
    ------
    InputError
        If model, data and profile do not fit each other.
    """
    listener, chosen = listener or Silence(), METHODS[method]
    training = _training(profile.training)
    checkpoint = open_checkpoint(model)
    anatomy = _anatomy(profile, checkpoint, training)
    count = examples or chosen.examples
    text = load_text(source, checkpoint, training, count=count, seed=seed)
    if len(text.ids) < LEAST_EXAMPLES:
        raise InputError(
            f"{source.path}: {len(text.ids)} examples; expected {LEAST_EXAMPLES} or more to "
            "measure gains on"
        )
    bench = open_bench(checkpoint, anatomy, training, processor=processor, seed=seed)
    start = time.perf_counter()
    listener.stage(f"measuring gain by {method}", _stage_steps(chosen, bench, text))
    gain = chosen.measure(bench, text, listener.advance)
    options = {
        "gain_method": method,
        "gain_examples": str(len(text.ids)),
        "gain_s": f"{time.perf_counter() - start:.1f}",
        "gain_seed": str(seed),
    }
    return _replaced(profile, gain, options, [checkpoint.config_path, *data_files(source.path)])


def _training(training: Training) -> Training:
    """Training setup to measure in: half precision without a loss scale underflows.

    Gains are those of the base as it is, not in fewer bits.
    """
    dtype = "float32" if training.dtype == "float16" else training.dtype
    return replace(training, dtype=dtype, base_dtype="same")


def _anatomy(profile: Profile, checkpoint: Checkpoint, training: Training) -> Anatomy:
    if checkpoint.digest() != profile.model.config_sha256:
        raise InputError(
            f"{checkpoint.folder}: its config is not the one of '{profile.model.name}' that "
            "the profile was made for; give that model's folder"
        )
    return examine(checkpoint, training, [t.name for t in profile.model.targets])


def _stage_steps(method: Method, bench: Bench, text: Text) -> int:
    if method.trains:
        return 1 + len(plan_probes(bench.anatomy.model.layers))
    return -(-len(text.ids) // bench.training.batch_size)


def _replaced(
    profile: Profile, gain: Gain, options: dict[str, str], inputs: Sequence[Path]
) -> Profile:
    old = profile.provenance
    read = provenance(inputs=inputs).inputs
    return replace(
        profile,
        gain=gain,
        provenance=replace(
            old,
            options={**old.options, **options},
            inputs=_merged(old.inputs, read),
            origins={**old.origins, "gain": Origin(kind="measured", source=gain.method)},
        ),
    )


def _merged(old: Sequence[InputFile], new: Sequence[InputFile]) -> list[InputFile]:
    return [*old, *(file for file in new if file not in old)]
