"""What if devices were others: change a fleet in memory before it is planned for."""

from profiler.schema import changed as changed_fleet
from solver.wording import spoken

__all__ = ["changed"]

changed = spoken(changed_fleet)
