"""Stage 3: ONNX files, the release folders, and the runtime that reads them."""
