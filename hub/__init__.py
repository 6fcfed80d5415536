"""Stage 5: cards, pushing, publishing checkpoints."""
