"""QONNX files in and out."""
