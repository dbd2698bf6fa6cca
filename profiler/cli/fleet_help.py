"""What stands below the help of ``legend fleet``: columns, devices and models."""

import click

__all__ = ["Listing"]

COLUMNS = """\b
Columns of --from, in any order, parted by commas, tabs or semicolons; those in brackets may be
missing (and are then):
  name                 unique
  class                a device of the catalogue below, or of a profile
  uplink_mbit_per_s    upload speed, megabits per second
  downlink_mbit_per_s  download speed
  [latency_s]          fixed network time a round (0)
  [examples]           local training examples (1)
  [local_steps]        training steps a round (--local-steps)
  [memory_gb]          memory it may use, GB of 10^9 bytes, 0: no limit (the device's own)
  [storage_gb]         storage for cached layer outputs, GB (--storage-gb)
  [count]              devices alike (1)
  [time_scale]         observed over planned compute time (1)
  [link]               shared link it is behind (none)
  [upload_mb]          most it sends in a round, MB of 10^6 bytes (no limit)
  [download_mb]        most it receives in a round, MB (no limit)
  [energy_j]           most energy it uses in a round, joules (no limit)
  [time_s]             longest it takes in a round, seconds (no limit)

\b
Columns of --links:
  name  [parent]  uplink_mbit_per_s  downlink_mbit_per_s
"""
DEVICES = "\b\nDevices of the catalogue and their power modes, the first if none is named:"


class Listing(click.Command):
    """Lists below its help what may be planned for, read only when help is asked for."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the columns, the catalogue's devices and the models."""
        from profiler.configs import preset_names

        models = f"Models that need no folder: {', '.join(preset_names())}"
        self.epilog = f"{COLUMNS}\n{DEVICES}\n{_devices()}\n\n{models}"
        super().format_epilog(ctx, formatter)


def _devices() -> str:
    from profiler.hardware import read_catalogue

    modes: dict[str, list[str]] = {}
    for row in read_catalogue():
        modes.setdefault(row.id, []).append(row.mode)
    return "\n".join(
        f"  {name}" if found == ["default"] else f"  {name} (/{', /'.join(found)})"
        for name, found in modes.items()
    )
