"""Texts: read from tables, split among devices, cut into batches of tokens."""
