"""export: writes networks as ONNX files: float, integer, and integer between Q and DQ."""
