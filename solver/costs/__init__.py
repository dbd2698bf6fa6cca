"""What devices cost, as a solver sees it, and how much LoRA their limits leave room for."""
