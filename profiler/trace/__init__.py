"""How the devices of a fleet change over time."""
