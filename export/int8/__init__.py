"""INT8: candidates are made (``static``, ``matmul``), measured (``judge``), and the best is recorded (``result``)."""
