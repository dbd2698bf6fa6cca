"""Random fleets: those that are offered to everybody."""

from solver.instances import random_fleet

__all__ = ["random_fleet"]
