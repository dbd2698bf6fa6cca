"""Seconds of a training step: timed in a process of its own, and fitted."""
