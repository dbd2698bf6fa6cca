"""Proof: every claim a named, repeatable case; and the demonstration."""
