"""Decides when to plan anew, and carries it out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from finetune.clock.charge import Charge
from finetune.devices import Participant
from finetune.options import RunOptions
from finetune.replan.ask import Answered, ask
from finetune.replan.observe import Observer, drift
from profiler.schema import Fleet, FleetDevice
from solver.plan import Plan

__all__ = ["Replanner"]


class Replanner:
    """Observes the devices of a run and asks for a plan when it is due.

    Parameters
    ----------
    fleet : Fleet
        As the fleet file says.
    like : Path
        The plan the run began with; its question is asked again.
    out : Path
        Folder of the run.
    options : RunOptions
        Says when.
    believed : sequence of FleetDevice
        Devices as observed before; empty at the start.
    """

    def __init__(
        self,
        fleet: Fleet,
        like: Path,
        out: Path,
        options: RunOptions,
        believed: Sequence[FleetDevice] = (),
    ) -> None:
        self._observer = Observer(fleet, believed)
        self._like, self._out = like, out
        self._every, self._most = options.replan_every, options.replan_on_drift

    @property
    def believed(self) -> list[FleetDevice]:
        """The devices as observed."""
        return self._observer.fleet.devices

    def see(
        self,
        plan: Plan,
        present: Mapping[str, FleetDevice],
        measured: Sequence[tuple[Participant, Charge]],
    ) -> None:
        """Take a round in, see `Observer.see`."""
        self._observer.see(plan, present, measured)

    def drift(self, plan: Plan, devices: Sequence[Participant]) -> float:
        """How far the devices are from a plan."""
        return drift(plan, devices, self._observer.fleet)

    def due(self, rounds: int, off: float | None) -> bool:
        """Whether to plan anew after so many rounds, `off` being the drift after the last."""
        by_count = self._every is not None and rounds > 0 and rounds % self._every == 0
        return by_count or (self._most is not None and off is not None and off > self._most)

    def ask(self, number: int) -> Answered:
        """Ask the solver for plan `number`; raises `InputError` where it fails."""
        return ask(self._observer.fleet, self._like, self._out, number)
