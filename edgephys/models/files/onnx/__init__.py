"""ONNX files: read the file, fold its constants, and lower its operators to the Graph, one file a concern."""
