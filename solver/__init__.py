"""Plan depth and ranks of federated LoRA, exactly and with a certificate."""
