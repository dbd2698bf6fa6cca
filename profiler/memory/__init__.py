"""Peak memory of a training step: counted on fake tensors, and what a process adds."""
