"""One module per format, each with ``read(config, labels, store)``."""
