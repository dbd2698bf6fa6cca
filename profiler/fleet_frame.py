"""`profiler.fleet.frame` by the name that it had before, for who imports it so."""

from profiler.fleet.frame import devices_frame, fleet_from_frame, links_frame

__all__ = ["devices_frame", "fleet_from_frame", "links_frame"]
