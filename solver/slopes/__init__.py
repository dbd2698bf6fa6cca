"""Ranks where costs per rank are out of proportion to the layers' sizes."""
