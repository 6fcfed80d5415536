"""The report: one page without any other file, and the pictures of it that cards show."""
