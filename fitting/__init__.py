"""One Lightning fit: checkpoints, resuming, averaging, processes, tracking."""
