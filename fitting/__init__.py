"""One Lightning fit: the module it optimizes, checkpoints, exact resumption, averaging, processes, tracking.

``fit`` takes one request and gives the best epoch's metrics. Left out on purpose: models, losses and data, which the
stages bring.
"""
