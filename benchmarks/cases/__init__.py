"""The benchmark cases, one a file; see `benchmarks.registry`."""
