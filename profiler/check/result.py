"""What a check found: predicted beside measured, configuration by configuration."""

import math
from collections.abc import Callable, Sequence

from msgspec import Struct

__all__ = ["QUANTITIES", "Case", "CheckReport", "Quantity", "Summary"]


class Case(Struct, frozen=True, kw_only=True):
    """One held-out configuration.

    Attributes
    ----------
    ranks : list of int, shape (L,)
        Rank by layer, input first.
    predicted_s, rescaled_s, measured_s : float
        A training step: by the profile, by the profile after one scalar that was fitted to
        other configurations, and as run.
    noise_fraction : float
        Relative standard error of ``measured_s``.
    affine_bytes, exact_bytes : float
        Peak of the tensors: by the profile, and counted on fake tensors.
    predicted_bytes, resident_bytes : float
        Peak of the process: by the profile, and as the system saw it.
    libraries_bytes : float
        The same process before it built the model; the rest is its growth.
    """

    ranks: list[int]
    predicted_s: float
    rescaled_s: float
    measured_s: float
    noise_fraction: float
    affine_bytes: float
    exact_bytes: float
    predicted_bytes: float
    resident_bytes: float
    libraries_bytes: float


class Quantity(Struct, frozen=True, kw_only=True):
    """A kind of prediction.

    Attributes
    ----------
    title : str
        For people.
    predicted, measured : callable
        Of a case, in seconds or bytes.
    """

    title: str
    predicted: Callable[[Case], float]
    measured: Callable[[Case], float]

    def error_fraction(self, case: Case) -> float:
        """Relative error; above 0 where too much was predicted."""
        return self.predicted(case) / self.measured(case) - 1


QUANTITIES = {
    "time": Quantity(
        title="step time, as profiled",
        predicted=lambda c: c.predicted_s,
        measured=lambda c: c.measured_s,
    ),
    "time_rescaled": Quantity(
        title="step time, after one scalar",
        predicted=lambda c: c.rescaled_s,
        measured=lambda c: c.measured_s,
    ),
    "tensors": Quantity(
        title="peak of tensors, against the exact count",
        predicted=lambda c: c.affine_bytes,
        measured=lambda c: c.exact_bytes,
    ),
    "growth": Quantity(
        title="growth of the process",
        predicted=lambda c: c.predicted_bytes - c.libraries_bytes,
        measured=lambda c: c.resident_bytes - c.libraries_bytes,
    ),
}


class Summary(Struct, frozen=True, kw_only=True):
    """Errors of one quantity over all cases: mean absolute and worst, relative."""

    mape_fraction: float
    worst_fraction: float


class CheckReport(Struct, frozen=True, kw_only=True):
    """A profile held against held-out configurations.

    Attributes
    ----------
    model, device : str
        What the profile is for.
    cases : list of Case
        Shallow ones first.
    scales : list of float
        Observed over predicted time, by the half of the cases it was fitted to.
    busy_fraction : float
        How much longer than alone the median step took: other work on the machine.
    notes : list of str
        What a person should know.
    """

    model: str
    device: str
    cases: list[Case]
    scales: list[float]
    busy_fraction: float
    notes: list[str]

    def summary(self, quantity: str) -> Summary:
        """Errors of a quantity of `QUANTITIES`."""
        errors = [abs(QUANTITIES[quantity].error_fraction(c)) for c in self.cases]
        return Summary(
            mape_fraction=math.fsum(errors) / len(errors), worst_fraction=max(errors)
        )

    @property
    def noise_fraction(self) -> float:
        """Noise floor of the measured times: no prediction can be seen to be better."""
        return _root_mean_square([c.noise_fraction for c in self.cases])

    def record(self) -> dict[str, object]:
        """All figures, for ``--json``; SI units."""
        return {
            "model": self.model,
            "device": self.device,
            "cases": self.cases,
            "scales": self.scales,
            "noise_fraction": self.noise_fraction,
            "busy_fraction": self.busy_fraction,
            "errors": {name: self.summary(name) for name in QUANTITIES},
            "notes": self.notes,
        }


def _root_mean_square(values: Sequence[float]) -> float:
    return math.hypot(*values) / math.sqrt(len(values))
