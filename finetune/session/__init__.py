"""A run from its setup to its result: round after round, committed, so that it can resume."""
