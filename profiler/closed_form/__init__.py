"""Work and memory of a training step from a config alone, written on a symbolic tape."""
