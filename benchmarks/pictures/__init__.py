"""Pictures of the results on file, one small function each, listed in ``catalogue``."""
