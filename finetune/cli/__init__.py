"""The commands of the engine and of `legend` itself, one file each, loaded when called."""
