"""Units that people use, in those of the files."""

__all__ = ["BYTES_PER_GB", "BYTES_PER_GIB", "BYTES_PER_S_PER_MBIT"]

BYTES_PER_GB = 1e9
BYTES_PER_GIB = 2**30
# A megabit a second.
BYTES_PER_S_PER_MBIT = 125_000.0
