"""Stage 4: metrics, agreement and the certificate, on the test split and nothing else."""
