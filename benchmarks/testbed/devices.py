"""The devices of the testbed: how fast, over what link."""

from dataclasses import dataclass

__all__ = ["DEVICES", "Spec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A device.

    Parameters
    ----------
    name : str
    quota_cores : float
        Processor time of its training a second of wall clock.
    mbit_per_s : float
        Speed of its link, either way.
    """

    name: str
    quota_cores: float
    mbit_per_s: float


# Ten times in speed, eight in bandwidth. The quotas sum to 1.48 of two cores, which leaves
# half a core to the server and to Flower's own processes.
DEVICES = (
    Spec(name="fast", quota_cores=0.8, mbit_per_s=24.0),
    Spec(name="middle", quota_cores=0.4, mbit_per_s=12.0),
    Spec(name="slow", quota_cores=0.2, mbit_per_s=6.0),
    Spec(name="slowest", quota_cores=0.08, mbit_per_s=3.0),
)
