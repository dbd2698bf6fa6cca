"""Hold a profile against configurations that were never used in its fit."""
