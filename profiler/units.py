"""Units that people use, in those of the files."""

__all__ = ["BYTES_PER_GB", "BYTES_PER_S_PER_MBIT"]

BYTES_PER_GB = 1e9
# A megabit a second.
BYTES_PER_S_PER_MBIT = 125_000.0
