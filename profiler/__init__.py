"""Time and memory of LoRA fine-tuning, per layer and per device: the profile."""
