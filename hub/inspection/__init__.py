"""``pocketeva inspect``: what can be said of a model before it is used: shapes, labels, cost, license, ONNX."""
