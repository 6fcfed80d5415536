"""Stage 2: train students from what the teacher said of each view."""
