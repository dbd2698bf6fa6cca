"""What a run tells while it goes on: metrics, progress on a terminal, TensorBoard."""
