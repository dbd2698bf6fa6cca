"""Execute a plan: federated LoRA on simulated or real devices; export it; report it."""
