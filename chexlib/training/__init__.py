"""Training: the loop, its objectives and its checkpoints."""
