"""Operating points: the promise (``config``), thresholds that keep it (``fit``), and their record (``record``)."""
