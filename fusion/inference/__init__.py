"""Model files, the ONNX session, and fusing cubes of any size."""
