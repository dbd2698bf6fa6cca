"""The model: one frozen base, the adapters on it, and what its frozen layers compute."""
