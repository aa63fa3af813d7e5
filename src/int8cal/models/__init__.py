"""ONNX models: reading, calibrating, placing Q/DQ, agreement."""
