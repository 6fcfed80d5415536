"""What every stage shares: config, the run directory, the trainer, errors."""
