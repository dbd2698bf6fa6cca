"""Ranks that all devices share, of which each may take no more than a cap of its own."""
