"""The view cache: what a frozen model gives for image × view, computed once."""
