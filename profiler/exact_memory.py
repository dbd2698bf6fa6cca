"""Exact memory of given configurations, as a program: ``python -m profiler.exact_memory``.

A JSON `ExactRequest` comes in on stdin, a JSON `ExactAnswer` goes out on stdout. For those
who must not load a deep learning framework, such as the solver's checker.
"""

import os
import sys
from typing import Literal

import msgspec
from msgspec import Struct

from profiler.schema import InputError, Model, Training

EXTRA = "pip install 'legend-planner[run]'"


class ExactRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configurations to count.

    Attributes
    ----------
    model : str
        A Hugging Face model folder, or a hub id in the local cache; weights are not needed.
    training : Training
        The training step.
    targets : list of str
        Adapted modules, by name below a layer; none for the family's own.
    ranks : list of list of int, shape (C, L)
        Rank by layer, input first, of each configuration.
    """

    model: str
    training: Training
    targets: list[str] = []
    ranks: list[list[int]]


class ExactPeaks(Struct, frozen=True, kw_only=True):
    """Peak bytes of a configuration: frozen weights, and each phase on top of them."""

    weights_bytes: int
    saved_bytes: int
    forward_bytes: int
    backward_bytes: int
    optimizer_bytes: int


class ExactAnswer(Struct, frozen=True, kw_only=True):
    """What was counted.

    Attributes
    ----------
    status : {'counted', 'refused'}
        Whether the request could be met.
    message : str
        Why not.
    model : Model or None
        The model, as its own config describes it.
    peaks : list of ExactPeaks
        One for each configuration.
    """

    status: Literal["counted", "refused"]
    message: str = ""
    model: Model | None = None
    peaks: list[ExactPeaks] = []


def count(request: ExactRequest) -> ExactAnswer:
    """Count every configuration on fake tensors.

    Raises
    ------
    InputError
        If there is no such model, or a configuration does not fit it.
    """
    from profiler.memory.count import Peaks
    from profiler.survey import survey

    found = survey(request.model, request.training, request.targets, "cpu")
    model = found.anatomy.model
    for ranks in request.ranks:
        if len(ranks) != model.layers:
            raise InputError(
                f"a configuration has {len(ranks)} ranks; expected {model.layers}, one for "
                f"each layer of {model.name}"
            )

    def peaks_of(found_peaks: Peaks) -> ExactPeaks:
        return ExactPeaks(
            weights_bytes=found_peaks.frozen_bytes,
            saved_bytes=found_peaks.saved_bytes,
            forward_bytes=found_peaks.forward_bytes,
            backward_bytes=found_peaks.backward_bytes,
            optimizer_bytes=found_peaks.optimizer_bytes,
        )

    peaks = [peaks_of(found.count_peaks(ranks)) for ranks in request.ranks]
    return ExactAnswer(status="counted", model=model, peaks=peaks)


def answer(line: bytes) -> ExactAnswer:
    """Answer a request; what cannot be done is said, never raised."""
    try:
        return count(msgspec.json.decode(line, type=ExactRequest))
    except (InputError, msgspec.DecodeError) as error:
        return ExactAnswer(status="refused", message=str(error))
    except ImportError as error:
        need = f"exact memory needs {error.name}, which is not installed; get it with: {EXTRA}"
        return ExactAnswer(status="refused", message=need)


def main() -> None:
    """Serve one request."""
    # Libraries may print: keep stdout for the answer.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    found = answer(sys.stdin.buffer.read())
    out.write(msgspec.json.encode(found) + b"\n")
    sys.exit(0 if found.status == "counted" else InputError.exit_code)


if __name__ == "__main__":
    main()
