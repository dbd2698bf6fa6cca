"""Real federated fine-tuning under one virtual clock, policy beside policy."""
