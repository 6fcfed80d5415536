"""INT8 files that are measured before they are shipped."""
