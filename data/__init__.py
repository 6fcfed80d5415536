"""Labels and images in."""
