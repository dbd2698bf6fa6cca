"""Fleets: presets of catalogue devices, tables of one's own, and data frames.

- `preset` draws the devices of a preset (`devices`) and what they share (`links`), and gives
  every class its costs.
- `files` makes a fleet of a table and profiles: `table` reads CSV, `formats` what says the same
  in Parquet or Flower's node configurations, and `rows` checks every cell.
- `frame` does so from pandas, and back.
"""

from profiler.fleet.preset import PRESETS, FleetRequest, other_modes, preset_fleet

__all__ = ["PRESETS", "FleetRequest", "other_modes", "preset_fleet"]
